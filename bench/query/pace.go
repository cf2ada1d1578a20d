package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/bench/estate"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/sbom"
)

// most is how many documents the pace of intake is measured with.
const most = 3000

// pace is how fast documents go in.
type pace struct {
	perSecond float64
	packages  float64       // in one document
	behind    time.Duration // from the last acknowledgement until every replica answers about all
}

// fetched is a document that was fetched and verified.
type fetched struct {
	image estate.Image
	raw   []byte
}

// pace takes documents, fetched and verified already, into a new store at where:
// read, interned, stored and indexed; by several replicas of the memory side by
// side, the documents dealt out among them.
func (b *bench) pace(ctx context.Context, where string, replicas int) (pace, error) {
	all, listed, err := b.fetch()
	if err != nil {
		return pace{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var memories []*memory.Memory
	for range replicas {
		s, err := openStore(ctx, where)
		if err != nil {
			return pace{}, err
		}
		defer s.Close()
		m, err := memory.Open(ctx, memory.Config{Store: s})
		if err != nil {
			return pace{}, err
		}
		defer m.Close()
		memories = append(memories, m)
	}
	following, _ := errgroup.WithContext(ctx)
	for _, m := range memories {
		following.Go(func() error { m.Run(ctx); return nil })
	}
	defer following.Wait()
	defer stop()
	progress("taking in %d documents by %d", len(all), replicas)
	began := time.Now()
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for n, f := range all {
		group.Go(func() error { return f.takeIn(working, memories[n%replicas]) })
	}
	if err := group.Wait(); err != nil {
		return pace{}, err
	}
	took := time.Since(began)
	for _, m := range memories {
		for m.Index().Stats().Images < len(all) {
			if time.Since(began) > took+time.Minute {
				return pace{}, fmt.Errorf("a replica answers about %d images of %d a minute later", m.Index().Stats().Images, len(all))
			}
			time.Sleep(time.Millisecond)
		}
	}
	p := pace{perSecond: float64(len(all)) / took.Seconds(), packages: float64(listed) / float64(len(all)), behind: time.Since(began) - took}
	for _, m := range memories {
		if got := m.Index().Stats().Images; got != len(all) {
			return pace{}, fmt.Errorf("a replica answers about %d images of %d", got, len(all))
		}
	}
	return p, nil
}

// fetch makes the documents, and counts the packages in them.
func (b *bench) fetch() (all []fetched, listed int, err error) {
	b.grown.Each(func(i estate.Image) error {
		if len(all) == most {
			return errStop
		}
		var raw []byte
		if raw, err = b.document(i); err != nil {
			return err
		}
		all, listed = append(all, fetched{i, raw}), listed+len(i.Packages)
		return nil
	})
	return all, listed, err
}

func (f fetched) takeIn(ctx context.Context, m *memory.Memory) error {
	inventory, err := sbom.Read(bytes.NewReader(f.raw), sbom.Limits{})
	if err != nil {
		return fmt.Errorf("reading a document: %w", err)
	}
	_, err = m.Take(ctx, memory.Image{
		Digest: f.image.Digest, Name: f.image.Repository, Evidence: evidence(f.image.Digest), Verified: true, Signed: f.image.Built,
		Packages: inventory.Packages, Unidentified: inventory.Unidentified,
	})
	return err
}
