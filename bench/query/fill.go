package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/bench/estate"
	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// fill takes the estate into a store, as verified images come in, and imports
// the advisories. It gives how many images went in a second; none when all were
// there already.
func (b *bench) fill(ctx context.Context, where string) (perSecond float64, err error) {
	s, err := openStore(ctx, where)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	m, err := memory.Open(ctx, memory.Config{Store: s})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	if m.Index().Stats().Images == b.images {
		progress("the store is there already")
		return 0, nil
	}
	if perSecond, err = b.takeAllIn(ctx, m); err != nil {
		return 0, err
	}
	progress("importing %d advisories", len(b.grown.Advisories))
	began := time.Now()
	if _, err := m.Advise(ctx, store.Dataset{Source: "estate"}, func(yield func(vulnerability.Record, error) bool) {
		for _, r := range b.grown.Advisories {
			if !yield(r, nil) {
				return
			}
		}
	}); err != nil {
		return 0, err
	}
	progress("imported in %v", time.Since(began).Round(time.Millisecond))
	return perSecond, nil
}

func (b *bench) takeAllIn(ctx context.Context, m *memory.Memory) (perSecond float64, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	began, n := time.Now(), 0
	if err := b.grown.Each(func(i estate.Image) error {
		if n++; n%10000 == 0 {
			progress("%d images, %.0f a second", n, float64(n)/time.Since(began).Seconds())
		}
		group.Go(func() error { return b.takeIn(ctx, m, i) })
		return ctx.Err()
	}); err != nil {
		return 0, errors.Join(err, group.Wait())
	}
	err = group.Wait()
	return float64(n) / time.Since(began).Seconds(), err
}

func (b *bench) takeIn(ctx context.Context, m *memory.Memory, i estate.Image) error {
	made := memory.Image{Digest: i.Digest, Name: i.Repository + ":" + i.Tag, Evidence: evidence(i.Digest), Verified: true, Signed: i.Built}
	for _, place := range i.Packages {
		p := b.grown.Packages[place]
		made.Packages = append(made.Packages, component.Listed{Package: p, PURL: p.PURL(), Licences: []string{"Apache-2.0"}})
	}
	_, err := m.Take(ctx, made)
	return err
}
