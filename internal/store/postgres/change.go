package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// counters are the numbers allotted last.
type counters struct{ seq, pkg, image, imports int64 }

// change is a transaction that writes, and holds the counters for as long as it
// goes on. What is queued goes to the server at its end, all at once: no other
// writer has to wait while one statement after another crosses the network.
type change struct {
	pgx.Tx
	counters
	writes pgx.Batch
	logged struct {
		seqs        []int64
		kinds, refs []string
	}
}

// locked runs f in a transaction that holds the counters, and writes what it
// queued.
func (s *Store) locked(ctx context.Context, f func(*change) error) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		c := &change{Tx: tx}
		if err := c.lock(ctx); err != nil {
			return err
		}
		return c.run(ctx, f)
	})
}

func (c *change) lock(ctx context.Context) error {
	return c.QueryRow(ctx, `SELECT seq, package, image, import FROM counters WHERE id = 1 FOR UPDATE`).Scan(&c.seq, &c.pkg, &c.image, &c.imports)
}

func (c *change) run(ctx context.Context, f func(*change) error) error {
	before := c.counters
	if err := f(c); err != nil {
		return err
	}
	if l := &c.logged; len(l.seqs) > 0 {
		c.writes.Queue(`INSERT INTO changes (seq, kind, ref) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])`, l.seqs, l.kinds, l.refs)
	}
	if c.counters != before {
		c.writes.Queue(`UPDATE counters SET seq = $1, package = $2, image = $3, import = $4 WHERE id = 1`, c.seq, c.pkg, c.image, c.imports)
	}
	if c.writes.Len() == 0 {
		return nil
	}
	return c.SendBatch(ctx, &c.writes).Close()
}

// log adds an entry to the change log.
func (c *change) log(kind store.Kind, ref any) {
	c.seq++
	l := &c.logged
	l.seqs, l.kinds, l.refs = append(l.seqs, c.seq), append(l.kinds, string(kind)), append(l.refs, fmt.Sprint(ref))
}
