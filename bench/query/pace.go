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

// paced is how many documents the pace of intake is measured with.
const paced = 3000

// pace takes documents, fetched and verified already, into a new store at where:
// read, interned, stored and indexed. It gives how many a second, and how many
// packages one has.
func (b *bench) pace(ctx context.Context, where string) (perSecond, packages float64, err error) {
	type fetched struct {
		image estate.Image
		raw   []byte
	}
	var all []fetched
	listed := 0
	b.grown.Each(func(i estate.Image) error {
		if len(all) == paced {
			return errStop
		}
		var raw []byte
		if raw, err = b.document(i); err != nil {
			return err
		}
		all, listed = append(all, fetched{i, raw}), listed+len(i.Packages)
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	s, err := openStore(ctx, where)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	m, err := memory.Open(ctx, memory.Config{Store: s})
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	progress("taking in %d documents", len(all))
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for _, f := range all {
		group.Go(func() error {
			inventory, err := sbom.Read(bytes.NewReader(f.raw), sbom.Limits{})
			if err != nil {
				return fmt.Errorf("reading a document: %w", err)
			}
			_, err = m.Take(ctx, memory.Image{
				Digest: f.image.Digest, Name: f.image.Repository, Evidence: evidence(f.image.Digest), Verified: true, Signed: f.image.Built,
				Packages: inventory.Packages, Unidentified: inventory.Unidentified,
			})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	took := time.Since(began)
	if got := m.Index().Stats().Images; got != len(all) {
		return 0, 0, fmt.Errorf("%d images are answered about, of %d", got, len(all))
	}
	return float64(len(all)) / took.Seconds(), float64(listed) / float64(len(all)), nil
}
