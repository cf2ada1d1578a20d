package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// atOnce is how many packages are written in one transaction, and askedAtOnce
// how many are asked for.
const (
	atOnce      = 500
	askedAtOnce = 10_000
)

// intern gives the numbers of all packages of a batch, and adds those that were
// never seen.
func (s *Store) intern(ctx context.Context, batch []store.Arrival) (known map[store.Key]number, added map[store.Key]bool, err error) {
	known, added = map[store.Key]number{}, map[store.Key]bool{}
	unsure := s.recall(batch, known)
	for chunk := range slices.Chunk(unsure, askedAtOnce) {
		// Not read, which does not try again what fails half-way.
		err := s.write(ctx, func(tx pgx.Tx) error { return lookUp(ctx, tx, chunk, known) })
		if err != nil {
			return nil, nil, err
		}
	}
	missing := slices.DeleteFunc(slices.Clone(unsure), func(p store.Package) bool { return complete(p, known) })
	for chunk := range slices.Chunk(missing, atOnce) {
		var found map[store.Key]number
		var fresh []store.Key
		err := s.locked(ctx, func(c *change) (err error) {
			found, fresh, err = c.add(ctx, chunk)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		for _, key := range fresh {
			added[key] = true
		}
		maps.Copy(known, found)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.numbers)+len(unsure) > cached {
		clear(s.numbers)
	}
	for _, p := range unsure {
		s.numbers[p.Key] = known[p.Key]
	}
	return known, added, nil
}

// recall puts what is remembered of a batch's packages into known, and gives
// the others, each once: images of a batch have much in common.
func (s *Store) recall(batch []store.Arrival, known map[store.Key]number) (unsure []store.Package) {
	asked := map[store.Key]bool{} // and whether with notes
	s.mu.Lock()
	defer s.mu.Unlock()
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
	return unsure
}

// complete says that nothing of a package has to be written.
func complete(p store.Package, known map[store.Key]number) bool {
	n, ok := known[p.Key]
	return ok && (n.noted || len(p.Notes) == 0)
}

// add adds those packages that nobody else has added meanwhile, and the notes of
// those that have none.
func (c *change) add(ctx context.Context, packages []store.Package) (found map[store.Key]number, fresh []store.Key, err error) {
	found = map[store.Key]number{}
	if err := lookUp(ctx, c, packages, found); err != nil {
		return nil, nil, err
	}
	var ids, noted []int64
	var keys, bodies, notes, added [][]byte
	for _, p := range packages {
		n, ok := found[p.Key]
		switch {
		case !ok:
			c.pkg++
			n = number{uint32(c.pkg), len(p.Notes) > 0}
			ids, keys = append(ids, c.pkg), append(keys, p.Key[:])
			bodies, notes = append(bodies, notNil(p.Body)), append(notes, notNil(p.Notes))
			fresh = append(fresh, p.Key)
		case !n.noted && len(p.Notes) > 0:
			n.noted = true
			noted, added = append(noted, int64(n.id)), append(added, p.Notes)
			c.log(store.PackageChange, n.id)
		}
		found[p.Key] = n
	}
	if len(ids) > 0 {
		c.writes.Queue(`INSERT INTO packages (id, key, body, notes)
			SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[])`, ids, keys, bodies, notes)
	}
	if len(noted) > 0 {
		c.writes.Queue(`UPDATE packages SET notes = n.notes FROM unnest($1::bigint[], $2::bytea[]) AS n (id, notes) WHERE packages.id = n.id`, noted, added)
	}
	return found, fresh, nil
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
