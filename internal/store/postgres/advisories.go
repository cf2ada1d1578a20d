package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// leaseTime is how long after its process was last heard of an import holds off
// another. An import renews its lease all the time, unless its rows stop coming
// for as long as silence.
const (
	leaseTime = 15 * time.Second
	silence   = 2 * time.Minute
)

// staged is how many rows of an import go into one transaction.
const staged = 500

const importColumns = `n, source, digest, built, partial, at, row_count, added, removed, announced`

func scanImport(row scannable) (store.Import, error) {
	var i store.Import
	var built, at int64
	err := row.Scan(&i.N, &i.Source, &i.Digest, &built, &i.Partial, &at, &i.Rows, &i.Added, &i.Removed, &i.Announced)
	i.Built, i.At = moment(built), moment(at)
	return i, err
}

// importing is an import under way.
type importing struct {
	*Store
	store.Import
	// live are the standing rows of the providers seen so far.
	live  map[string]liveRow
	whole map[string]bool
	added map[string]bool
	// moved is when the last row came, in microseconds.
	moved atomic.Int64
}

type liveRow struct {
	hash  store.Key
	added int64
	seen  bool
}

// Import takes advisory rows in; see store.Store.
func (s *Store) Import(ctx context.Context, d store.Dataset, rows iter.Seq2[store.Row, error]) (store.Import, error) {
	if !s.importing.TryLock() {
		return store.Import{}, fmt.Errorf("importing advisories of %s: %w", d.Source, errRunning())
	}
	defer s.importing.Unlock()
	m := &importing{Store: s, Import: store.Import{Dataset: d}, live: map[string]liveRow{}, whole: map[string]bool{}, added: map[string]bool{}}
	err := m.begin(ctx)
	if err == nil {
		stop := m.heartbeat(ctx)
		err = m.run(ctx, rows)
		stop()
		if err != nil {
			err = errors.Join(err, m.abandon(context.WithoutCancel(ctx)))
		}
	}
	if err != nil {
		return store.Import{}, fmt.Errorf("importing advisories of %s: %w", d.Source, err)
	}
	return m.Import, nil
}

func errRunning() error {
	return hint.Add(fmt.Errorf("another import is running: %w", store.ErrBusy), "try again when it has ended; a dead one gives way after %s", leaseTime)
}

// heartbeat renews the lease until stop is called.
func (m *importing) heartbeat(ctx context.Context) (stop func()) {
	m.moved.Store(micro(time.Now()))
	alive := func() bool { return time.Since(moment(m.moved.Load())) < silence }
	return store.Heartbeat(ctx, m.lease/4, alive, func(ctx context.Context) error {
		return m.send(ctx, m.renew)
	})
}

func (m *importing) run(ctx context.Context, rows iter.Seq2[store.Row, error]) error {
	var pending []store.Row
	for row, err := range rows {
		m.moved.Store(micro(time.Now()))
		if err == nil {
			err = row.Check()
		}
		if err != nil {
			return err
		}
		fresh, err := m.isNew(ctx, row)
		if err != nil {
			return err
		}
		if m.Rows++; !fresh {
			continue
		}
		if pending = append(pending, row); len(pending) == staged {
			if err := m.stage(ctx, pending); err != nil {
				return err
			}
			pending = pending[:0]
		}
	}
	if err := m.stage(ctx, pending); err != nil {
		return err
	}
	if !m.Partial {
		if err := m.end(ctx); err != nil {
			return err
		}
	}
	return m.finish(ctx)
}

// begin takes the lease, clears away what a dead import left, and allots the
// number.
func (m *importing) begin(ctx context.Context) error {
	var left bool
	err := m.write(ctx, func(tx pgx.Tx) error {
		now := time.Now()
		taken, err := tx.Exec(ctx, `INSERT INTO leases (name, holder, until) VALUES ('import', $1, $2)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE leases.until < $3 OR leases.holder = excluded.holder`, m.holder, micro(now.Add(m.lease)), micro(now))
		if err != nil {
			return err
		}
		if taken.RowsAffected() == 0 {
			return errRunning()
		}
		return tx.QueryRow(ctx, `SELECT count(*) > 0 FROM imports WHERE NOT done`).Scan(&left)
	})
	if err != nil {
		return err
	}
	if left {
		if err := m.clearStaged(ctx); err != nil {
			return err
		}
	}
	return m.locked(ctx, func(c *change) error {
		c.imports++
		m.N = c.imports
		c.writes.Queue(`INSERT INTO imports (n, source, digest, built, partial, at, row_count, added, removed, done, announced)
			VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0, false, false)`, m.N, store.Text(m.Source), store.Text(m.Digest), micro(m.Built), m.Dataset.Partial, micro(m.At))
		return nil
	})
}

// clearStaged takes back what imports that never finished have left, piece by
// piece, and at last their entries.
func (m *importing) clearStaged(ctx context.Context) error {
	for _, statement := range []string{
		`DELETE FROM advisories WHERE (name, added) IN (SELECT a.name, a.added FROM advisories a JOIN imports i ON i.n = a.added WHERE NOT i.done LIMIT 1000)`,
		`UPDATE advisories SET removed = 0 WHERE (name, added) IN (SELECT a.name, a.added FROM advisories a JOIN imports i ON i.n = a.removed WHERE NOT i.done LIMIT 1000)`,
		`DELETE FROM imports WHERE NOT done`,
	} {
		for left := int64(1); left > 0; {
			err := m.send(ctx, func(b *pgx.Batch) {
				m.renew(b)
				b.Queue(statement).Exec(func(changed pgconn.CommandTag) error { left = changed.RowsAffected(); return nil })
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// isNew says that a row is not among the standing ones, and marks those that
// stay.
func (m *importing) isNew(ctx context.Context, r store.Row) (bool, error) {
	if !m.whole[r.Provider] {
		m.whole[r.Provider] = true
		err := m.read(ctx, func(tx pgx.Tx) error {
			return query(ctx, tx, func(rows pgx.Rows) error {
				var name string
				var hash []byte
				var l liveRow
				if err := rows.Scan(&name, &hash, &l.added); err != nil {
					return err
				}
				l.hash = store.Key(hash)
				m.live[name] = l
				return nil
			}, `SELECT name, hash, added FROM advisories WHERE provider = $1 AND removed = 0 AND added <> $2`, r.Provider, m.N)
		})
		if err != nil {
			return false, err
		}
	}
	if m.added[r.Name] {
		return false, fmt.Errorf("advisory %q comes twice", r.Name)
	}
	l, ok := m.live[r.Name]
	if ok && l.hash == r.Hash {
		l.seen = true
		m.live[r.Name] = l
		return false, nil
	}
	m.added[r.Name] = true
	return true, nil
}

// stage writes new rows, and ends the versions they replace.
func (m *importing) stage(ctx context.Context, rows []store.Row) error {
	err := m.send(ctx, func(batch *pgx.Batch) {
		m.renew(batch)
		for _, r := range rows {
			batch.Queue(`INSERT INTO advisories (name, added, provider, hash, removed, body) VALUES ($1, $2, $3, $4, 0, $5)
				ON CONFLICT (name, added) DO NOTHING`, r.Name, m.N, r.Provider, r.Hash[:], notNil(r.Body))
			if l, ok := m.live[r.Name]; ok {
				batch.Queue(endRow, m.N, r.Name, l.added)
			}
		}
	})
	if err == nil {
		m.Added += len(rows)
	}
	return err
}

const endRow = `UPDATE advisories SET removed = $1 WHERE name = $2 AND added = $3`

// end ends the rows that the import does not have.
func (m *importing) end(ctx context.Context) error {
	var gone []string
	for name, l := range m.live {
		if !l.seen && !m.added[name] {
			gone = append(gone, name)
		}
	}
	for chunk := range slices.Chunk(gone, staged) {
		err := m.send(ctx, func(batch *pgx.Batch) {
			m.renew(batch)
			for _, name := range chunk {
				batch.Queue(endRow, m.N, name, m.live[name].added)
			}
		})
		if err != nil {
			return err
		}
	}
	m.Removed = len(gone)
	return nil
}

// finish makes all of it visible. When it is tried again because its outcome
// was lost with the connection, it finds its own work and is content.
func (m *importing) finish(ctx context.Context) error {
	return m.locked(ctx, func(c *change) error {
		var done bool
		if err := c.QueryRow(ctx, `SELECT count(*) > 0 FROM imports WHERE n = $1 AND done`, m.N).Scan(&done); err != nil || done {
			return err
		}
		m.renew(&c.writes)
		c.writes.Queue(`UPDATE imports SET done = true, row_count = $1, added = $2, removed = $3 WHERE n = $4`, m.Rows, m.Added, m.Removed, m.N)
		m.release(&c.writes)
		c.log(store.ImportChange, m.N)
		return nil
	})
}

// abandon clears away an import that failed.
func (m *importing) abandon(ctx context.Context) error {
	if err := m.clearStaged(ctx); err != nil {
		return err
	}
	return m.send(ctx, m.release)
}

// send writes what is queued, in one transaction.
func (m *importing) send(ctx context.Context, queue func(*pgx.Batch)) error {
	return m.write(ctx, func(tx pgx.Tx) error {
		var b pgx.Batch
		queue(&b)
		return tx.SendBatch(ctx, &b).Close()
	})
}

func (m *importing) release(b *pgx.Batch) {
	b.Queue(`DELETE FROM leases WHERE name = 'import' AND holder = $1`, m.holder)
}

// renew holds the lease for longer, and fails when another has taken it.
func (m *importing) renew(b *pgx.Batch) {
	b.Queue(`UPDATE leases SET until = $1 WHERE name = 'import' AND holder = $2`, micro(time.Now().Add(m.lease)), m.holder).Exec(func(held pgconn.CommandTag) error {
		if held.RowsAffected() == 0 {
			return fmt.Errorf("another import has taken over: %w", store.ErrBusy)
		}
		return nil
	})
}

// Imports lists the finished imports.
func (s *Store) Imports(ctx context.Context) ([]store.Import, error) {
	var list []store.Import
	err := s.read(ctx, func(tx pgx.Tx) error {
		return each(ctx, tx, func(i store.Import) error { list = append(list, i); return nil }, scanImport,
			`SELECT `+importColumns+` FROM imports WHERE done ORDER BY n`)
	})
	if err != nil {
		return nil, fmt.Errorf("listing imports: %w", err)
	}
	return list, nil
}

// ImportRows gives what an import changed; see store.Store.
func (s *Store) ImportRows(ctx context.Context, n int64) (added []store.Row, gone []string, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		keep := func(r store.Row) error { added = append(added, r); return nil }
		if err := each(ctx, tx, keep, scanRow, liveRows+` WHERE a.added = $1 ORDER BY a.name`, n); err != nil {
			return err
		}
		return query(ctx, tx, func(rows pgx.Rows) error {
			var name string
			err := rows.Scan(&name)
			gone = append(gone, name)
			return err
		}, `SELECT a.name FROM advisories a JOIN imports i ON i.n = a.removed AND i.done WHERE a.removed = $1
			AND NOT EXISTS (SELECT 1 FROM advisories b WHERE b.name = a.name AND b.added = a.removed) ORDER BY a.name`, n)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading import %d: %w", n, err)
	}
	return added, gone, nil
}

// PutVEX keeps a VEX document; see store.Store.
func (s *Store) PutVEX(ctx context.Context, v store.VEX) (fresh bool, err error) {
	if v.Key == "" || len(v.Key) > 1<<10 || len(v.Body) > store.MaxBody {
		return false, fmt.Errorf("storing VEX document: %w: %d bytes", store.ErrTooLarge, len(v.Body))
	}
	err = s.locked(ctx, func(c *change) error {
		last, err := one(c.QueryRow(ctx, `SELECT key, at, until, verified, body FROM vex WHERE key = $1 AND until = 0`, v.Key), scanVEX)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		at := micro(v.At)
		if fresh = last == nil || string(last.Body) != string(v.Body) || last.Verified != v.Verified; !fresh {
			return nil
		}
		if last != nil {
			at = max(at, micro(last.At)+1)
			c.writes.Queue(`UPDATE vex SET until = $1 WHERE key = $2 AND until = 0`, at, v.Key)
		}
		c.writes.Queue(`INSERT INTO vex (key, at, until, verified, body) VALUES ($1, $2, 0, $3, $4)`, v.Key, at, v.Verified, v.Body)
		c.log(store.VEXChange, v.Key)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("storing VEX document %q: %w", v.Key, err)
	}
	return fresh, nil
}
