package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// atOnce is how many rows go into the index together.
const atOnce = 2000

// loading gathers a store's rows into an index.
type loading struct {
	*Memory
	packages  []index.PackageRow
	revisions []index.Revision
	imports   map[int64]store.Import
	// replay are the imports whose events nobody has recorded: a replica died
	// between the two. Rows are loaded as they stood before the first of them.
	replay []store.Import
}

func (m *Memory) load(ctx context.Context) error {
	l := &loading{Memory: m, imports: map[int64]store.Import{}}
	m.index.StartLoad()
	q := startQueue()
	seq, err := m.Store.Load(ctx, store.Sink{
		Package: queued(q, l.takePackage),
		Image:   queued(q, func(i store.Image) error { return l.flushThen(func() error { return m.image(i) }) }),
		Refusal: queued(q, func(r store.Refusal) error { m.refusal(r); return nil }),
		Import:  queued(q, l.takeImport),
		Row:     queued(q, l.takeRow),
		VEX:     queued(q, m.vex),
	})
	if ended := q.end(); ended != nil {
		err = ended
	}
	if err == nil {
		err = l.flushPackages()
	}
	m.index.EndLoad()
	if err == nil {
		err = l.flushRevisions()
	}
	if err != nil {
		return fmt.Errorf("filling the index: %w", err)
	}
	m.seq = seq
	m.index.SetEpoch(uint64(seq))
	for _, i := range l.replay {
		if err := m.advise(ctx, i); err != nil {
			return err
		}
	}
	return m.announceAll(ctx)
}

func (l *loading) takePackage(p store.Package) error {
	row, err := packageRow(p)
	if err != nil {
		return err
	}
	l.Memory.packages = p.ID
	if l.packages = append(l.packages, row); len(l.packages) < atOnce {
		return nil
	}
	return l.flushPackages()
}

func (l *loading) flushPackages() error {
	err := l.index.AddPackages(l.packages)
	l.packages = l.packages[:0]
	return err
}

func (l *loading) flushThen(f func() error) error {
	if err := l.flushPackages(); err != nil {
		return err
	}
	return f()
}

func (l *loading) takeImport(i store.Import) error {
	l.imports[i.N] = i
	if !i.Announced || len(l.replay) > 0 {
		l.replay = append(l.replay, i)
	}
	return nil
}

// replayed says that an import is brought in after loading.
func (l *loading) replayed(n int64) bool { return len(l.replay) > 0 && n >= l.replay[0].N }

func (l *loading) takeRow(row store.Row) error {
	if l.replayed(row.Added) {
		return nil
	}
	r := index.Revision{From: l.imports[row.Added].At, Import: label(l.imports[row.Added])}
	if row.Removed != 0 && !l.replayed(row.Removed) {
		r.To = l.imports[row.Removed].At
	}
	var record vulnerability.Record
	if err := decode(row.Body, &record); err != nil {
		return fmt.Errorf("advisory %s: %w", row.Name, err)
	}
	if record.Withdrawn {
		return nil
	}
	r.Record = record
	if l.revisions = append(l.revisions, r); len(l.revisions) < 10*atOnce {
		return nil
	}
	return l.flushRevisions()
}

func (l *loading) flushRevisions() error {
	err := l.index.LoadAdvisories(l.revisions)
	l.revisions = nil
	return err
}

// Loaded is how long loading took.
func (m *Memory) Loaded() time.Duration { return m.loaded }
