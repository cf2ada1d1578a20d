package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// maxNames bounds the names kept of one image; the first ones stay.
const maxNames = 256

// counters are the numbers allotted last.
type counters struct{ seq, pkg, image, imports int64 }

func readCounters(ctx context.Context, tx *sql.Tx) (c counters, err error) {
	err = tx.QueryRowContext(ctx, `SELECT seq, package, image, import FROM counters`).Scan(&c.seq, &c.pkg, &c.image, &c.imports)
	return c, err
}

func (c counters) save(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `UPDATE counters SET seq = ?, package = ?, image = ?, import = ?`, c.seq, c.pkg, c.image, c.imports)
	return err
}

// log adds an entry to the change log.
func (c *counters) log(ctx context.Context, tx *sql.Tx, kind store.Kind, ref any) error {
	c.seq++
	_, err := tx.ExecContext(ctx, `INSERT INTO changes (seq, kind, ref) VALUES (?, ?, ?)`, c.seq, string(kind), fmt.Sprint(ref))
	return err
}

// Put takes images in; see store.Store.
func (s *Store) Put(ctx context.Context, batch []store.Arrival) ([]store.Outcome, error) {
	if len(batch) > store.MaxBatch {
		return nil, fmt.Errorf("%w: %d images at once", store.ErrTooLarge, len(batch))
	}
	for _, a := range batch {
		if err := a.Check(); err != nil {
			return nil, fmt.Errorf("storing %s: %w", a.Digest, err)
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	var outcomes []store.Outcome
	var fresh map[store.Key]number
	err := s.write(ctx, func(tx *sql.Tx) error {
		outcomes = outcomes[:0]
		c, err := readCounters(ctx, tx)
		if err != nil {
			return err
		}
		known, added, err := s.intern(ctx, tx, &c, batch)
		if err != nil {
			return err
		}
		fresh = known
		for _, a := range batch {
			o, err := take(ctx, tx, &c, a, known)
			if err != nil {
				return err
			}
			for _, p := range a.Packages {
				if added[p.Key] {
					delete(added, p.Key)
					o.NewPackages++
				}
			}
			outcomes = append(outcomes, o)
		}
		return c.save(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("storing images: %w", err)
	}
	if len(s.numbers)+len(fresh) > cached {
		clear(s.numbers)
	}
	maps.Copy(s.numbers, fresh)
	return outcomes, nil
}

// intern gives the numbers of all packages of a batch, and adds those that were
// never seen.
func (s *Store) intern(ctx context.Context, tx *sql.Tx, c *counters, batch []store.Arrival) (known map[store.Key]number, added map[store.Key]bool, err error) {
	known, added = map[store.Key]number{}, map[store.Key]bool{}
	var unsure []store.Package
	for _, a := range batch {
		for _, p := range a.Packages {
			if n, ok := s.numbers[p.Key]; ok && (n.noted || len(p.Notes) == 0) {
				known[p.Key] = n
			} else {
				unsure = append(unsure, p)
			}
		}
	}
	for chunk := range slices.Chunk(unsure, 500) {
		if err := lookUp(ctx, tx, chunk, known); err != nil {
			return nil, nil, err
		}
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO packages (id, key, body, notes) VALUES (?, ?, ?, ?)`)
	if err != nil {
		return nil, nil, err
	}
	defer insert.Close()
	for _, p := range unsure {
		n, ok := known[p.Key]
		switch {
		case !ok:
			c.pkg++
			n = number{uint32(c.pkg), len(p.Notes) > 0}
			if _, err := insert.ExecContext(ctx, n.id, p.Key[:], notNil(p.Body), notNil(p.Notes)); err != nil {
				return nil, nil, err
			}
			added[p.Key] = true
		case !n.noted && len(p.Notes) > 0:
			n.noted = true
			if _, err := tx.ExecContext(ctx, `UPDATE packages SET notes = ? WHERE id = ?`, p.Notes, n.id); err != nil {
				return nil, nil, err
			}
			if err := c.log(ctx, tx, store.PackageChange, n.id); err != nil {
				return nil, nil, err
			}
		}
		known[p.Key] = n
	}
	return known, added, nil
}

func lookUp(ctx context.Context, tx *sql.Tx, packages []store.Package, known map[store.Key]number) error {
	keys := make([]any, len(packages))
	for i, p := range packages {
		keys[i] = p.Key[:]
	}
	return query(ctx, tx, func(rows *sql.Rows) error {
		var key []byte
		var n number
		if err := rows.Scan(&n.id, &key, &n.noted); err != nil {
			return err
		}
		known[store.Key(key)] = n
		return nil
	}, `SELECT id, key, length(notes) > 0 FROM packages WHERE key IN (?`+strings.Repeat(",?", len(keys)-1)+`)`, keys...)
}

// take decides what becomes of one arrival and writes it.
func take(ctx context.Context, tx *sql.Tx, c *counters, a store.Arrival, known map[store.Key]number) (store.Outcome, error) {
	head, err := headOf(ctx, tx, a.Digest)
	if err != nil {
		return store.Outcome{}, err
	}
	switch {
	case head == nil:
	case head.Evidence == a.Evidence && head.Verified == a.Verified:
		return store.Outcome{Result: store.Unchanged, ID: head.ID}, rename(ctx, tx, c, head, a.Name)
	case head.Verified && !a.Verified:
		return store.Outcome{Result: store.Kept, ID: head.ID}, nil
	}
	names := []string{a.Name}
	at := micro(a.At)
	if head != nil {
		if names = head.Names; !slices.Contains(names, a.Name) && len(names) < maxNames {
			names = append(names, a.Name)
		}
		at = max(at, micro(head.At)) // another replica's clock may be ahead
		if _, err := tx.ExecContext(ctx, `UPDATE images SET until = ? WHERE id = ?`, at, head.ID); err != nil {
			return store.Outcome{}, err
		}
	}
	ids := make([]uint32, len(a.Packages))
	for i, p := range a.Packages {
		ids[i] = known[p.Key].id
	}
	list, err := json.Marshal(names)
	if err != nil {
		return store.Outcome{}, err
	}
	c.image++
	for _, step := range []struct {
		statement string
		args      []any
	}{
		{`INSERT INTO images (id, digest, evidence, verified, names, at, until, body, packages) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)`,
			[]any{c.image, a.Digest, a.Evidence, a.Verified, string(list), at, notNil(a.Body), store.PackNumbers(store.SortedSet(ids))}},
		{`INSERT INTO heads (digest, image) VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET image = excluded.image`, []any{a.Digest, c.image}},
		{`UPDATE refusals SET ended = ? WHERE digest = ? AND ended = 0`, []any{at, a.Digest}},
	} {
		if _, err := tx.ExecContext(ctx, step.statement, step.args...); err != nil {
			return store.Outcome{}, err
		}
	}
	return store.Outcome{Result: store.Stored, ID: uint32(c.image)}, c.log(ctx, tx, store.ImageChange, c.image)
}

// rename adds a name to a record that stands.
func rename(ctx context.Context, tx *sql.Tx, c *counters, head *store.Image, name string) error {
	if slices.Contains(head.Names, name) || len(head.Names) >= maxNames {
		return nil
	}
	list, err := json.Marshal(append(head.Names, name))
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE images SET names = ? WHERE id = ?`, string(list), head.ID); err != nil {
		return err
	}
	return c.log(ctx, tx, store.ImageChange, head.ID)
}

const imageColumns = `id, digest, evidence, verified, names, at, until, body, packages`

func scanImage(row scannable) (store.Image, error) {
	var i store.Image
	var at, until int64
	var names string
	var packages []byte
	err := row.Scan(&i.ID, &i.Digest, &i.Evidence, &i.Verified, &names, &at, &until, &i.Body, &packages)
	if err != nil {
		return i, err
	}
	i.At, i.Until = moment(at), moment(until)
	if err := json.Unmarshal([]byte(names), &i.Names); err != nil {
		return i, fmt.Errorf("%w: names of image %d: %w", store.ErrCorrupt, i.ID, err)
	}
	i.Packages, err = store.UnpackNumbers(packages)
	return i, err
}

// headOf is the record of a digest that stands, or nil.
func headOf(ctx context.Context, tx *sql.Tx, digest string) (*store.Image, error) {
	i, err := scanImage(tx.QueryRowContext(ctx, `SELECT `+imageColumns+` FROM images WHERE id = (SELECT image FROM heads WHERE digest = ?)`, digest))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &i, err
}

// Retire ends the record of an image; see store.Store.
func (s *Store) Retire(ctx context.Context, digest string, at time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.write(ctx, func(tx *sql.Tx) error {
		c, err := readCounters(ctx, tx)
		if err != nil {
			return err
		}
		head, err := headOf(ctx, tx, digest)
		if err != nil {
			return err
		}
		if head == nil {
			return store.ErrUnknown
		}
		if _, err := tx.ExecContext(ctx, `UPDATE images SET until = ? WHERE id = ?`, max(micro(at), micro(head.At)), head.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM heads WHERE digest = ?`, digest); err != nil {
			return err
		}
		if err := c.log(ctx, tx, store.ImageChange, head.ID); err != nil {
			return err
		}
		return c.save(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("retiring %s: %w", digest, err)
	}
	return nil
}

// Refuse records a refusal; see store.Store.
func (s *Store) Refuse(ctx context.Context, r store.Refusal) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	r.Name, r.Digest, r.Code, r.Reason = store.Text(r.Name), store.Text(r.Digest), store.Text(r.Code), store.Text(r.Reason)
	id := r.ID()
	err := s.write(ctx, func(tx *sql.Tx) error {
		c, err := readCounters(ctx, tx)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO refusals (id, name, digest, code, reason, first, last, times, ended)
			VALUES (?, ?, ?, ?, ?, ?, ?, 1, 0) ON CONFLICT (id) DO UPDATE SET
			last = excluded.last, times = times + 1, reason = excluded.reason, ended = 0`,
			id[:], r.Name, r.Digest, r.Code, r.Reason, micro(r.Last), micro(r.Last)); err != nil {
			return err
		}
		if err := c.log(ctx, tx, store.RefusalChange, fmt.Sprintf("%x", id)); err != nil {
			return err
		}
		return c.save(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("recording the refusal of %s: %w", r.Name, err)
	}
	return nil
}

const refusalColumns = `name, digest, code, reason, first, last, times, ended`

func scanRefusal(row scannable) (store.Refusal, error) {
	var r store.Refusal
	var first, last, ended int64
	err := row.Scan(&r.Name, &r.Digest, &r.Code, &r.Reason, &first, &last, &r.Times, &ended)
	r.First, r.Last, r.Ended = moment(first), moment(last), moment(ended)
	return r, err
}

// Refusals lists refusals; see store.Store.
func (s *Store) Refusals(ctx context.Context, limit int) ([]store.Refusal, error) {
	var list []store.Refusal
	err := s.read(ctx, func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			r, err := scanRefusal(rows)
			list = append(list, r)
			return err
		}, `SELECT `+refusalColumns+` FROM refusals WHERE ended = 0 ORDER BY last DESC, id LIMIT ?`, limit)
	})
	if err != nil {
		return nil, fmt.Errorf("listing refusals: %w", err)
	}
	return list, nil
}

// notNil is a value that is empty and not NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
