package memory

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// EventSchema names the form of a batch of events.
const EventSchema = "hallmark.newly-affected/v1"

// eventsTogether is how many events one batch holds.
const eventsTogether = 100

// Batch is a batch of events as it is delivered.
type Batch struct {
	Schema string `json:"schema"`
	// ID is the batch's; a batch may be delivered more than once.
	ID string `json:"id"`
	// Import and Source say which import of advisories brought them.
	Import int64         `json:"import"`
	Source string        `json:"source"`
	Events []index.Event `json:"events"`
}

// Advise imports advisories; see store.Store's Import. It returns when this
// replica's answers have them and their events are recorded.
func (m *Memory) Advise(ctx context.Context, d store.Dataset, records iter.Seq2[vulnerability.Record, error]) (store.Import, error) {
	if d.At.IsZero() {
		d.At = time.Now().UTC()
	}
	done, err := m.Store.Import(ctx, d, func(yield func(store.Row, error) bool) {
		for r, err := range records {
			row, err := rowOf(r, err)
			if !yield(row, err) || err != nil {
				return
			}
		}
	})
	if err != nil {
		return done, err
	}
	return done, m.wrote(ctx)
}

func rowOf(r vulnerability.Record, err error) (store.Row, error) {
	if err != nil {
		return store.Row{}, err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return store.Row{}, fmt.Errorf("encoding advisory %s: %w", r.Key(), err)
	}
	return store.Row{Provider: r.Provider, Name: r.Key(), Hash: sha256.Sum256(body), Body: body}, nil
}

// advise brings a finished import into the index, and records its events unless
// another replica has.
func (m *Memory) advise(ctx context.Context, i store.Import) error {
	rows, gone, err := m.Store.ImportRows(ctx, i.N)
	if err != nil {
		return err
	}
	change := index.Change{Removed: gone, At: i.At, Import: label(i)}
	for _, row := range rows {
		var r vulnerability.Record
		if err := decode(row.Body, &r); err != nil {
			return fmt.Errorf("advisory %s: %w", row.Name, err)
		}
		if r.Withdrawn {
			change.Removed = append(change.Removed, r.Key())
			continue
		}
		change.Records = append(change.Records, r)
	}
	events, err := m.index.Apply(change)
	if err != nil {
		return fmt.Errorf("applying import %d of %s: %w", i.N, i.Source, err)
	}
	if !i.Announced {
		m.untold = append(m.untold, announcement{i, events})
	}
	return nil
}

// announcement is what is still to be recorded of an import.
type announcement struct {
	of     store.Import
	events []index.Event
}

// announceAll records what is still to be recorded. What could not be stays for
// the next time.
func (m *Memory) announceAll(ctx context.Context) error {
	for len(m.untold) > 0 {
		if err := m.announce(ctx, m.untold[0].of, m.untold[0].events); err != nil {
			return err
		}
		m.untold = m.untold[1:]
	}
	return nil
}

// announce records an import's events; the replica that is first tells them.
func (m *Memory) announce(ctx context.Context, i store.Import, events []index.Event) error {
	var batches []store.Event
	for chunk := range slices.Chunk(events, eventsTogether) {
		b := Batch{Schema: EventSchema, ID: fmt.Sprintf("%d-%d", i.N, len(batches)+1), Import: i.N, Source: i.Source, Events: chunk}
		body, err := json.Marshal(b)
		if err != nil {
			return fmt.Errorf("encoding events of import %d: %w", i.N, err)
		}
		batches = append(batches, store.Event{ID: b.ID, At: i.At, Body: body})
	}
	first, err := m.Store.Announce(ctx, i.N, batches)
	if err != nil || !first {
		return err
	}
	m.tell(i, events)
	m.Announced(events)
	select {
	case m.due <- struct{}{}:
	default:
	}
	return nil
}

// told is how many events of one import get a line of their own in the log.
const told = 50

func (m *Memory) tell(i store.Import, events []index.Event) {
	m.Log.Info("imported advisories", "import", i.N, "source", i.Source, "rows", i.Rows, "added", i.Added, "removed", i.Removed, "events", len(events))
	for _, e := range events[:min(len(events), told)] {
		m.Log.Warn("newly affected", "id", e.ID, "severity", e.Severity.String(), "kev", e.KEV, "images", e.Images, "packages", len(e.Packages))
	}
	if len(events) > told {
		m.Log.Warn("newly affected: more than are shown", "shown", told, "events", len(events))
	}
}

// label says which database a row is from, for explanations.
func label(i store.Import) string {
	text := i.Source
	if i.Digest != "" {
		text += " " + i.Digest
	}
	if !i.Built.IsZero() {
		text += " built " + i.Built.UTC().Format(time.RFC3339)
	}
	return text
}

// Waits between deliveries of one batch, and when it is given up.
const (
	firstWait = 2 * time.Second
	lastWait  = 15 * time.Minute
	lease     = 20 * time.Second // more than one delivery may take, see package notify
	maxTries  = 110              // about a day
)

// deliverEvents brings recorded events to whoever wants them, until ctx is
// done. Replicas share the work by leases.
func (m *Memory) deliverEvents(ctx context.Context) {
	if m.Deliver == nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for ctx.Err() == nil && m.deliverOne(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-m.due:
		case <-tick.C:
		}
	}
}

// deliverOne says that there may be more.
func (m *Memory) deliverOne(ctx context.Context) bool {
	e, err := m.Store.Claim(ctx, time.Now(), lease)
	if err != nil || e == nil {
		if err != nil && ctx.Err() == nil {
			m.Log.Error("claiming an event", "error", err)
		}
		return false
	}
	failed := m.Deliver(ctx, e.ID, e.Body)
	if failed != nil && ctx.Err() != nil {
		return false // the lease ends by itself
	}
	m.Delivered(failed)
	reason, next := "", time.Time{}
	if failed != nil {
		reason = store.Text(failed.Error())
		next = time.Now().Add(min(lastWait, firstWait<<min(e.Tries, 20)))
		if e.Tries+1 >= maxTries {
			m.Log.Error("gave up delivering an event", "id", e.ID, "tries", e.Tries+1, "error", failed)
			reason = ""
		} else {
			m.Log.Warn("delivering an event", "id", e.ID, "tries", e.Tries+1, "again", next, "error", failed)
		}
	}
	if err := m.Store.Delivered(ctx, e.ID, reason, next); err != nil && ctx.Err() == nil {
		m.Log.Error("recording a delivery", "error", err)
		return false
	}
	return true
}

// ReadBatch reads a batch as a store keeps it.
func ReadBatch(body []byte) (Batch, error) {
	var b Batch
	err := decode(body, &b)
	return b, err
}
