package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// maxNames bounds the names kept of one image; the first ones stay.
const maxNames = 256

// counters are the numbers allotted last.
type counters struct{ seq, pkg, image, imports int64 }

func readCounters(ctx context.Context, tx pgx.Tx) (c counters, err error) {
	err = tx.QueryRow(ctx, `SELECT seq, package, image, import FROM counters WHERE id = 1 FOR UPDATE`).Scan(&c.seq, &c.pkg, &c.image, &c.imports)
	return c, err
}

func (c counters) save(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE counters SET seq = $1, package = $2, image = $3, import = $4 WHERE id = 1`, c.seq, c.pkg, c.image, c.imports)
	return err
}

// log adds an entry to the change log.
func (c *counters) log(ctx context.Context, tx pgx.Tx, kind store.Kind, ref any) error {
	c.seq++
	_, err := tx.Exec(ctx, logged, c.seq, string(kind), fmt.Sprint(ref))
	return err
}

// logged writes one entry of the change log.
const logged = `INSERT INTO changes (seq, kind, ref) VALUES ($1, $2, $3)`

// Put takes images in; see store.Store. Packages never seen before get their
// numbers in transactions of their own before that of the images: not every
// engine takes many rows at once, and a package that no image holds does no
// harm.
func (s *Store) Put(ctx context.Context, batch []store.Arrival) ([]store.Outcome, error) {
	if len(batch) > store.MaxBatch {
		return nil, fmt.Errorf("%w: %d images at once", store.ErrTooLarge, len(batch))
	}
	for _, a := range batch {
		if err := a.Check(); err != nil {
			return nil, fmt.Errorf("storing %s: %w", a.Digest, err)
		}
	}
	known, added, err := s.intern(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("storing packages: %w", err)
	}
	var outcomes []store.Outcome
	err = s.locked(ctx, func(tx pgx.Tx, c *counters) error {
		outcomes = outcomes[:0]
		for _, a := range batch {
			o, err := take(ctx, tx, c, a, known)
			if err != nil {
				return err
			}
			outcomes = append(outcomes, o)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("storing images: %w", err)
	}
	for i, a := range batch {
		for _, p := range a.Packages {
			if added[p.Key] {
				delete(added, p.Key)
				outcomes[i].NewPackages++
			}
		}
	}
	return outcomes, nil
}

// atOnce is how many packages are looked up or written in one transaction.
const atOnce = 500

// intern gives the numbers of all packages of a batch, and adds those that were
// never seen.
func (s *Store) intern(ctx context.Context, batch []store.Arrival) (known map[store.Key]number, added map[store.Key]bool, err error) {
	known, added = map[store.Key]number{}, map[store.Key]bool{}
	var unsure []store.Package
	asked := map[store.Key]bool{} // and whether with notes: images of a batch have much in common
	s.mu.Lock()
	for _, a := range batch {
		for _, p := range a.Packages {
			n, ok := s.numbers[p.Key]
			noted, again := asked[p.Key]
			switch {
			case ok && (n.noted || len(p.Notes) == 0):
				known[p.Key] = n
			case !again || !noted && len(p.Notes) > 0:
				asked[p.Key] = len(p.Notes) > 0
				unsure = append(unsure, p)
			}
		}
	}
	s.mu.Unlock()
	for chunk := range slices.Chunk(unsure, atOnce) {
		var found map[store.Key]number
		var fresh []store.Key
		err := s.write(ctx, func(tx pgx.Tx) (err error) {
			found, fresh, err = s.internSome(ctx, tx, chunk)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		maps.Copy(known, found)
		for _, key := range fresh {
			added[key] = true
		}
		s.mu.Lock()
		if len(s.numbers)+len(found) > cached {
			clear(s.numbers)
		}
		maps.Copy(s.numbers, found)
		s.mu.Unlock()
	}
	return known, added, nil
}

// internSome does not take the counters when all packages are known.
func (s *Store) internSome(ctx context.Context, tx pgx.Tx, packages []store.Package) (found map[store.Key]number, fresh []store.Key, err error) {
	found = map[store.Key]number{}
	if err := lookUp(ctx, tx, packages, found); err != nil {
		return nil, nil, err
	}
	complete := func(p store.Package) bool {
		n, ok := found[p.Key]
		return ok && (n.noted || len(p.Notes) == 0)
	}
	if !slices.ContainsFunc(packages, func(p store.Package) bool { return !complete(p) }) {
		return found, nil, nil
	}
	c, err := readCounters(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	// Again, now that nobody else can add any.
	if err := lookUp(ctx, tx, packages, found); err != nil {
		return nil, nil, err
	}
	writes := &pgx.Batch{}
	var added packageRows
	for _, p := range packages {
		n, ok := found[p.Key]
		switch {
		case !ok:
			c.pkg++
			n = number{uint32(c.pkg), len(p.Notes) > 0}
			added.add(c.pkg, p)
			fresh = append(fresh, p.Key)
		case !n.noted && len(p.Notes) > 0:
			n.noted = true
			c.seq++
			writes.Queue(`UPDATE packages SET notes = $1 WHERE id = $2`, p.Notes, n.id)
			writes.Queue(logged, c.seq, string(store.PackageChange), fmt.Sprint(n.id))
		}
		found[p.Key] = n
	}
	if err := added.write(ctx, tx); err != nil {
		return nil, nil, err
	}
	if err := tx.SendBatch(ctx, writes).Close(); err != nil {
		return nil, nil, err
	}
	return found, fresh, c.save(ctx, tx)
}

// packageRows are rows of packages, column by column: one statement for all
// takes a quarter of the time of one for each.
type packageRows struct {
	ids               []int64
	keys, body, notes [][]byte
}

func (r *packageRows) add(id int64, p store.Package) {
	r.ids, r.keys = append(r.ids, id), append(r.keys, p.Key[:])
	r.body, r.notes = append(r.body, notNil(p.Body)), append(r.notes, notNil(p.Notes))
}

func (r *packageRows) write(ctx context.Context, tx pgx.Tx) error {
	if len(r.ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO packages (id, key, body, notes)
		SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[])`, r.ids, r.keys, r.body, r.notes)
	return err
}

func lookUp(ctx context.Context, tx pgx.Tx, packages []store.Package, known map[store.Key]number) error {
	keys := make([][]byte, len(packages))
	for i, p := range packages {
		keys[i] = p.Key[:]
	}
	return query(ctx, tx, func(rows pgx.Rows) error {
		var key []byte
		var n number
		if err := rows.Scan(&n.id, &key, &n.noted); err != nil {
			return err
		}
		known[store.Key(key)] = n
		return nil
	}, `SELECT id, key, length(notes) > 0 FROM packages WHERE key = ANY($1)`, keys)
}

// take decides what becomes of one arrival and writes it.
func take(ctx context.Context, tx pgx.Tx, c *counters, a store.Arrival, known map[store.Key]number) (store.Outcome, error) {
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
		if _, err := tx.Exec(ctx, `UPDATE images SET until = $1 WHERE id = $2`, at, head.ID); err != nil {
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
	writes := &pgx.Batch{}
	for _, step := range []struct {
		statement string
		args      []any
	}{
		{`INSERT INTO images (id, digest, evidence, verified, names, at, until, body, packages) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)`,
			[]any{c.image, a.Digest, a.Evidence, a.Verified, string(list), at, notNil(a.Body), store.PackNumbers(store.SortedSet(ids))}},
		{`INSERT INTO heads (digest, image) VALUES ($1, $2) ON CONFLICT (digest) DO UPDATE SET image = excluded.image`, []any{a.Digest, c.image}},
		{`UPDATE refusals SET ended = $1 WHERE digest = $2 AND ended = 0`, []any{at, a.Digest}},
	} {
		writes.Queue(step.statement, step.args...)
	}
	c.seq++
	writes.Queue(logged, c.seq, string(store.ImageChange), fmt.Sprint(c.image))
	return store.Outcome{Result: store.Stored, ID: uint32(c.image)}, tx.SendBatch(ctx, writes).Close()
}

// rename adds a name to a record that stands.
func rename(ctx context.Context, tx pgx.Tx, c *counters, head *store.Image, name string) error {
	if slices.Contains(head.Names, name) || len(head.Names) >= maxNames {
		return nil
	}
	list, err := json.Marshal(append(head.Names, name))
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE images SET names = $1 WHERE id = $2`, string(list), head.ID); err != nil {
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
func headOf(ctx context.Context, tx pgx.Tx, digest string) (*store.Image, error) {
	i, err := scanImage(tx.QueryRow(ctx, `SELECT `+imageColumns+` FROM images WHERE id = (SELECT image FROM heads WHERE digest = $1)`, digest))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &i, err
}

// Retire ends the record of an image; see store.Store.
func (s *Store) Retire(ctx context.Context, digest string, at time.Time) error {
	err := s.locked(ctx, func(tx pgx.Tx, c *counters) error {
		head, err := headOf(ctx, tx, digest)
		if err != nil {
			return err
		}
		if head == nil {
			return store.ErrUnknown
		}
		if _, err := tx.Exec(ctx, `UPDATE images SET until = $1 WHERE id = $2`, max(micro(at), micro(head.At)), head.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM heads WHERE digest = $1`, digest); err != nil {
			return err
		}
		return c.log(ctx, tx, store.ImageChange, head.ID)
	})
	if err != nil {
		return fmt.Errorf("retiring %s: %w", digest, err)
	}
	return nil
}

// Refuse records a refusal; see store.Store.
func (s *Store) Refuse(ctx context.Context, r store.Refusal) error {
	r.Name, r.Digest, r.Code, r.Reason = store.Text(r.Name), store.Text(r.Digest), store.Text(r.Code), store.Text(r.Reason)
	id := r.ID()
	err := s.locked(ctx, func(tx pgx.Tx, c *counters) error {
		if _, err := tx.Exec(ctx, `INSERT INTO refusals (id, name, digest, code, reason, first, last, times, ended)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 0) ON CONFLICT (id) DO UPDATE SET
			last = excluded.last, times = refusals.times + 1, reason = excluded.reason, ended = 0`,
			id[:], r.Name, r.Digest, r.Code, r.Reason, micro(r.Last), micro(r.Last)); err != nil {
			return err
		}
		return c.log(ctx, tx, store.RefusalChange, fmt.Sprintf("%x", id))
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
	err := s.read(ctx, func(tx pgx.Tx) error {
		return query(ctx, tx, func(rows pgx.Rows) error {
			r, err := scanRefusal(rows)
			list = append(list, r)
			return err
		}, `SELECT `+refusalColumns+` FROM refusals WHERE ended = 0 ORDER BY last DESC, id LIMIT $1`, limit)
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
