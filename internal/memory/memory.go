// Package memory keeps an index in step with a store: what is taken in is
// written to the store first, and the index follows the store's change log, its
// own writes and those of other replicas alike. So every replica comes to the
// same answers, and one that dies loses nothing it acknowledged.
//
// Open loads everything; Run follows the log and delivers events until it is
// told to end. A write returns when it is durable and this replica's answers
// have it; other replicas have it a poll later.
//
// It knows no HTTP, no registry and no signature: whoever calls Take says
// whether the evidence was verified.
package memory

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// Config says what to keep in step, and whom to tell.
type Config struct {
	Store store.Store
	// Log gets what an operator should know; nil for silence.
	Log *slog.Logger
	// Poll is how often the log is looked at for what other replicas wrote;
	// default 200 ms.
	Poll time.Duration
	// Announced is told the events of an import that this replica was the
	// first to record; nil for nobody.
	Announced func([]index.Event)
	// Deliver brings a batch of events to whoever wants them, such as a
	// webhook; nil when nobody does. It is called again, later and later, until
	// it returns nil, for a day.
	Deliver func(ctx context.Context, id string, body []byte) error
	// Delivered is told how a delivery went; nil for nobody.
	Delivered func(error)
}

// Memory is a store and its index. Its methods may be called from many
// goroutines.
type Memory struct {
	Config
	index   *index.Index
	batcher *store.Batcher

	// following guards the index's place in the log.
	following sync.Mutex
	seq       int64
	packages  uint32
	images    uint32
	reached   int64
	untold    []announcement
	// writes counts what this replica wrote, to know which run of the
	// follower has seen a write.
	writes  atomic.Int64
	loaded  time.Duration
	due     chan struct{}
	lastErr atomic.Pointer[error]
}

// logged is how many entries of the change log are read at once.
const logged = 500

// Open loads the store into a new index. Close it when done.
func Open(ctx context.Context, c Config) (*Memory, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Poll <= 0 {
		c.Poll = 200 * time.Millisecond
	}
	if c.Announced == nil {
		c.Announced = func([]index.Event) {}
	}
	if c.Delivered == nil {
		c.Delivered = func(error) {}
	}
	m := &Memory{Config: c, index: index.New(), due: make(chan struct{}, 1)}
	start := time.Now()
	if err := m.load(ctx); err != nil {
		return nil, err
	}
	m.loaded = time.Since(start)
	m.batcher = store.NewBatcher(c.Store, nil)
	stats := m.index.Stats()
	c.Log.Info("loaded the store", "seconds", m.loaded.Seconds(), "images", stats.Images, "packages", stats.Packages,
		"advisories", stats.Advisories, "findings", stats.Findings, "sequence", stats.Epoch)
	return m, nil
}

// Index answers questions.
func (m *Memory) Index() *index.Index { return m.index }

// Run follows the change log and delivers events until ctx is done.
func (m *Memory) Run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { m.deliverEvents(ctx) })
	defer group.Wait()
	tick := time.NewTicker(m.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.writes.Add(1)
		err := m.follow(ctx)
		m.note(ctx, err)
	}
}

// note keeps how following went, and tells it when that changes.
func (m *Memory) note(ctx context.Context, err error) {
	was := m.lastErr.Swap(&err)
	failed := was != nil && *was != nil
	switch {
	case ctx.Err() != nil:
	case err != nil && !failed:
		m.Log.Error("following the store", "error", err)
	case err == nil && failed:
		m.Log.Info("following the store again", "sequence", m.index.Stats().Epoch)
	}
}

// Ready says whether answers are those of the store: nil, or why not.
func (m *Memory) Ready(ctx context.Context) error {
	if err := m.lastErr.Load(); err != nil && *err != nil {
		return *err
	}
	return m.Store.Ping(ctx)
}

// Close ends what Open began. The store stays open.
func (m *Memory) Close() { m.batcher.Close() }

// follow brings the index to where the log was when follow was called, or
// further. Those who call it at once share one run.
func (m *Memory) follow(ctx context.Context) error {
	want := m.writes.Load()
	m.following.Lock()
	defer m.following.Unlock()
	if m.reached >= want {
		return nil
	}
	at := m.writes.Load()
	for {
		delta, err := m.Store.Changes(ctx, m.seq, m.packages, logged)
		if err != nil {
			return err
		}
		if err := m.apply(ctx, delta); err != nil {
			return err
		}
		if err := m.announceAll(ctx); err != nil {
			return err
		}
		if len(delta.Changes) < logged {
			m.reached = at
			return nil
		}
	}
}

// apply brings a piece of the log into the index.
func (m *Memory) apply(ctx context.Context, d store.Delta) error {
	rows := make([]index.PackageRow, 0, len(d.Packages))
	for _, p := range d.Packages {
		row, err := packageRow(p)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if err := m.index.AddPackages(rows); err != nil {
		return err
	}
	for _, p := range d.Packages {
		m.packages = max(m.packages, p.ID)
	}
	for _, c := range d.Changes {
		if err := m.change(ctx, c); err != nil {
			return fmt.Errorf("following change %d of the store: %w", c.Seq, err)
		}
		m.seq = c.Seq
		m.index.SetEpoch(uint64(c.Seq))
	}
	return nil
}

func (m *Memory) change(ctx context.Context, c store.Change) error {
	switch c.Kind {
	case store.PackageChange:
		row, err := packageRow(*c.Package)
		if err != nil {
			return err
		}
		return m.index.AddPackages([]index.PackageRow{row})
	case store.ImageChange:
		return m.image(*c.Image)
	case store.RefusalChange:
		m.refusal(*c.Refusal)
		return nil
	case store.ImportChange:
		return m.advise(ctx, *c.Import)
	case store.VEXChange:
		return m.vex(*c.VEX)
	}
	return fmt.Errorf("a change of the unknown kind %q", c.Kind)
}

// image adds a record, or changes what is not its content.
func (m *Memory) image(i store.Image) error {
	made, err := imageOf(i)
	if err != nil {
		return err
	}
	if i.ID > m.images {
		if err := m.index.AddImage(made); err != nil {
			return err
		}
		m.images = i.ID
	} else if i.Until.IsZero() {
		return m.index.Rename(i.ID, made.Repository, made.Tags)
	}
	if i.Until.IsZero() {
		return nil
	}
	return m.index.RemoveImage(i.ID, i.Until)
}

func packageRow(p store.Package) (index.PackageRow, error) {
	c, err := component.ParseKey(string(p.Body))
	if err != nil {
		return index.PackageRow{}, fmt.Errorf("package %d: %w: %w", p.ID, store.ErrCorrupt, err)
	}
	row := index.PackageRow{ID: p.ID, Package: c}
	if len(p.Notes) > 0 {
		var n packageNotes
		if err := decode(p.Notes, &n); err != nil {
			return row, fmt.Errorf("package %d: %w", p.ID, err)
		}
		row.Licences, row.Supplier = n.Licences, n.Supplier
	}
	return row, nil
}

// Freshness gives the store's newest change and each source's last import.
func (m *Memory) Freshness() (seq int64, sources map[string]store.Import, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if seq, err = m.Store.Sequence(ctx); err != nil {
		return 0, nil, err
	}
	imports, err := m.Store.Imports(ctx)
	sources = map[string]store.Import{}
	for _, i := range imports {
		sources[i.Source] = i
	}
	return seq, sources, err
}
