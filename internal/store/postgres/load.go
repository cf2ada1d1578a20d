package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// Load reads everything; see store.Store.
func (s *Store) Load(ctx context.Context, into store.Sink) (seq int64, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT seq FROM counters WHERE id = 1`).Scan(&seq); err != nil {
			return err
		}
		if err := each(ctx, tx, into.Package, scanPackage, `SELECT id, key, body, notes FROM packages ORDER BY id`); err != nil {
			return err
		}
		if err := each(ctx, tx, into.Image, scanImage, `SELECT `+imageColumns+` FROM images ORDER BY id`); err != nil {
			return err
		}
		if err := each(ctx, tx, into.Refusal, scanRefusal, `SELECT `+refusalColumns+` FROM refusals ORDER BY last, id`); err != nil {
			return err
		}
		if err := each(ctx, tx, into.Import, scanImport, `SELECT `+importColumns+` FROM imports WHERE done ORDER BY n`); err != nil {
			return err
		}
		if err := each(ctx, tx, into.Row, scanRow, liveRows+` ORDER BY a.added, a.name`); err != nil {
			return err
		}
		return each(ctx, tx, into.VEX, scanVEX, `SELECT key, at, until, verified, body FROM vex ORDER BY at, key`)
	})
	if err != nil {
		return 0, fmt.Errorf("loading the store: %w", err)
	}
	return seq, nil
}

// liveRows are the rows of finished imports; an end that is only staged is
// none.
const liveRows = `SELECT a.provider, a.name, a.hash, a.body, a.added,
	CASE WHEN EXISTS (SELECT 1 FROM imports r WHERE r.n = a.removed AND r.done) THEN a.removed ELSE 0 END
	FROM advisories a JOIN imports i ON i.n = a.added AND i.done`

func each[T any](ctx context.Context, tx pgx.Tx, give func(T) error, scan func(scannable) (T, error), statement string, args ...any) error {
	if give == nil {
		return nil
	}
	return query(ctx, tx, func(rows pgx.Rows) error {
		v, err := scan(rows)
		if err != nil {
			return err
		}
		return give(v)
	}, statement, args...)
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

func scanPackage(row scannable) (store.Package, error) {
	var p store.Package
	var key []byte
	if err := row.Scan(&p.ID, &key, &p.Body, &p.Notes); err != nil {
		return p, err
	}
	if len(key) != len(p.Key) {
		return p, fmt.Errorf("%w: the key of package %d", store.ErrCorrupt, p.ID)
	}
	p.Key = store.Key(key)
	return p, nil
}

func scanRow(row scannable) (store.Row, error) {
	var r store.Row
	var hash []byte
	if err := row.Scan(&r.Provider, &r.Name, &hash, &r.Body, &r.Added, &r.Removed); err != nil {
		return r, err
	}
	if len(hash) != len(r.Hash) {
		return r, fmt.Errorf("%w: the hash of advisory %q", store.ErrCorrupt, r.Name)
	}
	r.Hash = store.Key(hash)
	return r, nil
}

func scanVEX(row scannable) (store.VEX, error) {
	var v store.VEX
	var at, until int64
	err := row.Scan(&v.Key, &at, &until, &v.Verified, &v.Body)
	v.At, v.Until = moment(at), moment(until)
	return v, err
}

// Sequence is the number of the newest change.
func (s *Store) Sequence(ctx context.Context) (seq int64, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT seq FROM counters WHERE id = 1`).Scan(&seq)
	})
	if err != nil {
		return 0, fmt.Errorf("reading the store's sequence: %w", err)
	}
	return seq, nil
}

type entry struct {
	seq  int64
	kind store.Kind
	ref  string
}

// Changes reads a piece of the change log; see store.Store.
func (s *Store) Changes(ctx context.Context, after int64, above uint32, limit int) (d store.Delta, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		var entries []entry
		err := query(ctx, tx, func(rows pgx.Rows) error {
			var e entry
			err := rows.Scan(&e.seq, &e.kind, &e.ref)
			entries = append(entries, e)
			return err
		}, `SELECT seq, kind, ref FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2`, after, limit)
		if err != nil || len(entries) == 0 {
			return err
		}
		keep := func(p store.Package) error { d.Packages = append(d.Packages, p); return nil }
		if err := each(ctx, tx, keep, scanPackage, `SELECT id, key, body, notes FROM packages WHERE id > $1 ORDER BY id`, above); err != nil {
			return err
		}
		d.Changes, err = resolve(ctx, tx, entries)
		return err
	})
	if err != nil {
		return store.Delta{}, fmt.Errorf("reading the change log: %w", err)
	}
	return d, nil
}

// resolve reads what entries of the log refer to: what there is much of in one
// statement for all, the rest one by one.
func resolve(ctx context.Context, tx pgx.Tx, entries []entry) ([]store.Change, error) {
	numbers := map[store.Kind][]int64{}
	for _, e := range entries {
		n, _ := strconv.ParseInt(e.ref, 10, 64) // zero finds nothing
		numbers[e.kind] = append(numbers[e.kind], n)
	}
	images, packages := map[string]*store.Image{}, map[string]*store.Package{}
	if asked := numbers[store.ImageChange]; len(asked) > 0 {
		keep := func(i store.Image) error { images[fmt.Sprint(i.ID)] = &i; return nil }
		if err := each(ctx, tx, keep, scanImage, `SELECT `+imageColumns+` FROM images WHERE id = ANY($1)`, asked); err != nil {
			return nil, err
		}
	}
	if asked := numbers[store.PackageChange]; len(asked) > 0 {
		keep := func(p store.Package) error { packages[fmt.Sprint(p.ID)] = &p; return nil }
		if err := each(ctx, tx, keep, scanPackage, `SELECT id, key, body, notes FROM packages WHERE id = ANY($1)`, asked); err != nil {
			return nil, err
		}
	}
	changes := make([]store.Change, len(entries))
	for n, e := range entries {
		c := &changes[n]
		c.Seq, c.Kind = e.seq, e.kind
		var err error
		switch e.kind {
		case store.ImageChange:
			c.Image = images[e.ref]
		case store.PackageChange:
			c.Package = packages[e.ref]
		default:
			err = follow(ctx, tx, e, c)
		}
		if errors.Is(err, pgx.ErrNoRows) || err == nil && c.Image == nil && c.Package == nil && c.Refusal == nil && c.Import == nil && c.VEX == nil {
			err = fmt.Errorf("%w: what it names is missing", store.ErrCorrupt)
		}
		if err != nil {
			return nil, fmt.Errorf("change %d: %w", e.seq, err)
		}
	}
	return changes, nil
}

// follow reads what one entry refers to.
func follow(ctx context.Context, tx pgx.Tx, e entry, c *store.Change) (err error) {
	switch e.kind {
	case store.RefusalChange:
		id, _ := hex.DecodeString(e.ref)
		c.Refusal, err = one(tx.QueryRow(ctx, `SELECT `+refusalColumns+` FROM refusals WHERE id = $1`, id), scanRefusal)
	case store.ImportChange:
		n, _ := strconv.ParseInt(e.ref, 10, 64)
		c.Import, err = one(tx.QueryRow(ctx, `SELECT `+importColumns+` FROM imports WHERE n = $1`, n), scanImport)
	case store.VEXChange:
		c.VEX, err = one(tx.QueryRow(ctx, `SELECT key, at, until, verified, body FROM vex WHERE key = $1 ORDER BY at DESC LIMIT 1`, e.ref), scanVEX)
	default:
		err = fmt.Errorf("%w: it is of the unknown kind %q", store.ErrCorrupt, e.kind)
	}
	return err
}

func one[T any](row pgx.Row, scan func(scannable) (T, error)) (*T, error) {
	v, err := scan(row)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// scannable is a row under the cursor, or the only one.
type scannable interface{ Scan(...any) error }
