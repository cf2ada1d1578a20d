package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// Put takes images in; see store.Store. Packages never seen before get their
// numbers in transactions of their own before that of the images: not every
// engine takes many rows at once, and a package that no image holds does no
// harm.
func (s *Store) Put(ctx context.Context, batch []store.Arrival) ([]store.Outcome, error) {
	if len(batch) > store.MaxBatch {
		return nil, fmt.Errorf("%w: %d images at once", store.ErrTooLarge, len(batch))
	}
	digests := make([]string, len(batch))
	for i, a := range batch {
		if err := a.Check(); err != nil {
			return nil, fmt.Errorf("storing %s: %w", a.Digest, err)
		}
		digests[i] = a.Digest
	}
	known, added, err := s.intern(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("storing packages: %w", err)
	}
	var outcomes []store.Outcome
	err = s.locked(ctx, func(c *change) error {
		heads, err := headsOf(ctx, c, digests...)
		if err != nil {
			return err
		}
		t := taking{change: c, known: known, heads: heads, ended: map[string]bool{}}
		outcomes = outcomes[:0]
		for _, a := range batch {
			o, err := t.take(a)
			if err != nil {
				return err
			}
			outcomes = append(outcomes, o)
		}
		t.queue()
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

// maxNames bounds the names kept of one image; the first ones stay.
const maxNames = 256

// head is what is decided by of a record that stands.
type head struct {
	id       int64
	evidence string
	verified bool
	names    []string
	at       int64
}

// headsOf are the records of digests that stand.
func headsOf(ctx context.Context, tx pgx.Tx, digests ...string) (map[string]*head, error) {
	heads := map[string]*head{}
	err := query(ctx, tx, func(rows pgx.Rows) error {
		var h head
		var digest, names string
		if err := rows.Scan(&h.id, &digest, &h.evidence, &h.verified, &names, &h.at); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(names), &h.names); err != nil {
			return fmt.Errorf("%w: names of image %d: %w", store.ErrCorrupt, h.id, err)
		}
		heads[digest] = &h
		return nil
	}, `SELECT id, digest, evidence, verified, names, at FROM images WHERE id IN (SELECT image FROM heads WHERE digest = ANY($1))`, digests)
	return heads, err
}

// taking is a batch of arrivals being taken in. What it writes goes to the
// server column by column, in as many statements for a batch as for one image:
// every writer waits for the counters, and a statement for each image would
// have them wait for the network once an image.
type taking struct {
	*change
	known map[store.Key]number
	// heads are the records that stand, as the batch leaves them.
	heads map[string]*head
	// ended are digests whose refusals the batch ends.
	ended map[string]bool

	images struct {
		ids, at                  []int64
		digests, evidence, names []string
		verified                 []bool
		bodies, packages         [][]byte
	}
	refusals struct {
		digests []string
		at      []int64
	}
	later pgx.Batch
}

// take decides what becomes of one arrival.
func (t *taking) take(a store.Arrival) (store.Outcome, error) {
	h := t.heads[a.Digest]
	switch {
	case h == nil:
	case h.evidence == a.Evidence && h.verified == a.Verified:
		return store.Outcome{Result: store.Unchanged, ID: uint32(h.id)}, t.rename(h, a.Name)
	case h.verified && !a.Verified:
		return store.Outcome{Result: store.Kept, ID: uint32(h.id)}, nil
	}
	next := &head{evidence: a.Evidence, verified: a.Verified, names: []string{a.Name}, at: micro(a.At)}
	if h != nil {
		if next.names = slices.Clone(h.names); !slices.Contains(next.names, a.Name) && len(next.names) < maxNames {
			next.names = append(next.names, a.Name)
		}
		next.at = max(next.at, h.at) // another replica's clock may be ahead
		t.later.Queue(endImage, next.at, h.id)
	}
	names, err := json.Marshal(next.names)
	if err != nil {
		return store.Outcome{}, err
	}
	ids := make([]uint32, len(a.Packages))
	for i, p := range a.Packages {
		ids[i] = t.known[p.Key].id
	}
	t.image++
	next.id = t.image
	t.heads[a.Digest] = next
	i := &t.images
	i.ids, i.at, i.verified = append(i.ids, next.id), append(i.at, next.at), append(i.verified, a.Verified)
	i.digests, i.evidence, i.names = append(i.digests, a.Digest), append(i.evidence, a.Evidence), append(i.names, string(names))
	i.bodies, i.packages = append(i.bodies, notNil(a.Body)), append(i.packages, store.PackNumbers(store.SortedSet(ids)))
	if !t.ended[a.Digest] {
		t.ended[a.Digest] = true
		t.refusals.digests, t.refusals.at = append(t.refusals.digests, a.Digest), append(t.refusals.at, next.at)
	}
	t.log(store.ImageChange, next.id)
	return store.Outcome{Result: store.Stored, ID: uint32(next.id)}, nil
}

// rename adds a name to a record that stands.
func (t *taking) rename(h *head, name string) error {
	if slices.Contains(h.names, name) || len(h.names) >= maxNames {
		return nil
	}
	h.names = append(h.names, name)
	list, err := json.Marshal(h.names)
	if err != nil {
		return err
	}
	t.later.Queue(`UPDATE images SET names = $1 WHERE id = $2`, string(list), h.id)
	t.log(store.ImageChange, h.id)
	return nil
}

const endImage = `UPDATE images SET until = $1 WHERE id = $2`

// queue puts what is to be written into the transaction: new records first,
// then what changes older ones, or those just written when an image comes twice.
func (t *taking) queue() {
	if i := &t.images; len(i.ids) > 0 {
		t.writes.Queue(`INSERT INTO images (id, digest, evidence, verified, names, at, until, body, packages)
			SELECT n.id, n.digest, n.evidence, n.verified, n.names, n.at, 0, n.body, n.packages
			FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[], $5::text[], $6::bigint[], $7::bytea[], $8::bytea[])
			AS n (id, digest, evidence, verified, names, at, body, packages)`,
			i.ids, i.digests, i.evidence, i.verified, i.names, i.at, i.bodies, i.packages)
		// The last record of a digest stands; a statement may touch a row once.
		var digests []string
		var ids []int64
		for _, digest := range t.refusals.digests {
			digests, ids = append(digests, digest), append(ids, t.heads[digest].id)
		}
		t.writes.Queue(`INSERT INTO heads (digest, image) SELECT * FROM unnest($1::text[], $2::bigint[])
			ON CONFLICT (digest) DO UPDATE SET image = excluded.image`, digests, ids)
		t.writes.Queue(`UPDATE refusals SET ended = n.at FROM unnest($1::text[], $2::bigint[]) AS n (digest, at)
			WHERE refusals.digest = n.digest AND refusals.ended = 0`, t.refusals.digests, t.refusals.at)
	}
	t.writes.QueuedQueries = append(t.writes.QueuedQueries, t.later.QueuedQueries...)
}

// Retire ends the record of an image; see store.Store.
func (s *Store) Retire(ctx context.Context, digest string, at time.Time) error {
	err := s.locked(ctx, func(c *change) error {
		heads, err := headsOf(ctx, c, digest)
		if err != nil {
			return err
		}
		h := heads[digest]
		if h == nil {
			return store.ErrUnknown
		}
		c.writes.Queue(endImage, max(micro(at), h.at), h.id)
		c.writes.Queue(`DELETE FROM heads WHERE digest = $1`, digest)
		c.log(store.ImageChange, h.id)
		return nil
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
	err := s.locked(ctx, func(c *change) error {
		c.writes.Queue(`INSERT INTO refusals (id, name, digest, code, reason, first, last, times, ended)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 0) ON CONFLICT (id) DO UPDATE SET
			last = excluded.last, times = refusals.times + 1, reason = excluded.reason, ended = 0`,
			id[:], r.Name, r.Digest, r.Code, r.Reason, micro(r.Last), micro(r.Last))
		c.log(store.RefusalChange, fmt.Sprintf("%x", id))
		return nil
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
