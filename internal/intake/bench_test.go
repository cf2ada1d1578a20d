package intake_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

// BenchmarkIntake takes images of 400 packages in from a registry on loopback,
// sixteen side by side as the service does: evidence fetched, signatures,
// certificates and log entries verified, document read, stored durably and
// indexed. The registry's own work is on the same processors.
func BenchmarkIntake(b *testing.B) {
	const images, packages = 64, 400
	s := newScene(b, nil)
	var all []name.Digest
	for n := range images {
		var list []string
		for p := range packages {
			version := 0
			if p%20 == n%20 { // A build differs from the next in a few.
				version = n
			}
			list = append(list, fmt.Sprintf("pkg:npm/package-%d@1.%d.0", p, version))
		}
		all = append(all, s.release(fmt.Sprintf("v%d", n), list...))
	}
	for b.Loop() {
		b.StopTimer()
		opened, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "memory.db"))
		if err != nil {
			b.Fatal(err)
		}
		m, err := memory.Open(b.Context(), memory.Config{Store: opened})
		if err != nil {
			b.Fatal(err)
		}
		in := intake.New(intake.Config{Registry: s.Client, Memory: m, Judge: s.Judge})
		b.StartTimer()
		var group errgroup.Group
		group.SetLimit(16)
		for _, image := range all {
			group.Go(func() error {
				r, err := in.Image(b.Context(), image)
				if err == nil && (r.Result != store.Stored || !r.Verified || r.Packages != packages) {
					err = fmt.Errorf("%s: %+v", image, r)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		m.Close()
		if err := opened.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(images*b.N)/b.Elapsed().Seconds(), "images/s")
}
