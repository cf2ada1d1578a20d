package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Batcher puts arrivals into a store in groups: what arrives while one
// transaction is being written goes into the next together. One image alone
// waits for nobody, and many at once share the price of making it durable.
type Batcher struct {
	store Store
	queue chan waiting
	done  chan struct{}
	once  sync.Once
	wrote func()
}

type waiting struct {
	arrival Arrival
	answer  chan answer
}

type answer struct {
	outcome Outcome
	err     error
}

// ErrClosed says that the batcher takes no more.
var ErrClosed = errors.New("the store is closing")

// NewBatcher starts a batcher. wrote is called after every transaction; nil for
// nothing. Close it before the store.
func NewBatcher(s Store, wrote func()) *Batcher {
	if wrote == nil {
		wrote = func() {}
	}
	b := &Batcher{store: s, queue: make(chan waiting, MaxBatch), done: make(chan struct{}), wrote: wrote}
	go b.run()
	return b
}

// Put takes in one image and returns when it is durable. When ctx ends first
// the image may be stored all the same.
func (b *Batcher) Put(ctx context.Context, a Arrival) (o Outcome, err error) {
	if err := a.Check(); err != nil {
		return Outcome{}, err
	}
	w := waiting{a, make(chan answer, 1)}
	defer func() {
		if recover() != nil { // the queue was closed
			err = ErrClosed
		}
	}()
	select {
	case b.queue <- w:
	case <-ctx.Done():
		return Outcome{}, context.Cause(ctx)
	}
	select {
	case got := <-w.answer:
		return got.outcome, got.err
	case <-ctx.Done():
		return Outcome{}, context.Cause(ctx)
	}
}

// Close writes what was accepted and ends the batcher.
func (b *Batcher) Close() {
	b.once.Do(func() { close(b.queue) })
	<-b.done
}

func (b *Batcher) run() {
	defer close(b.done)
	for first := range b.queue {
		batch := []waiting{first}
		packages := len(first.arrival.Packages)
	gather:
		for len(batch) < MaxBatch && packages < MaxPackages {
			select {
			case next, open := <-b.queue:
				if !open {
					break gather
				}
				batch = append(batch, next)
				packages += len(next.arrival.Packages)
			default:
				break gather
			}
		}
		b.write(batch)
	}
}

// write puts a batch, and when that fails each image by itself, so that one
// that cannot be stored does not take others with it.
func (b *Batcher) write(batch []waiting) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	arrivals := make([]Arrival, len(batch))
	for i, w := range batch {
		arrivals[i] = w.arrival
	}
	outcomes, err := b.store.Put(ctx, arrivals)
	for i, w := range batch {
		switch {
		case err == nil:
			w.answer <- answer{outcome: outcomes[i]}
		case len(batch) == 1 || errors.Is(err, ErrFull):
			w.answer <- answer{err: err}
		default:
			one, err := b.store.Put(ctx, arrivals[i:i+1])
			if err != nil {
				w.answer <- answer{err: err}
				continue
			}
			w.answer <- answer{outcome: one[0]}
		}
	}
	b.wrote()
}
