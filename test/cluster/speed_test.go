//go:build cluster

package cluster_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/test/cluster"
)

// settings are Kyverno's: as it comes, and as the chart of the policies sets it. Its cache counts bytes, and by default
// has room for a thousand: no SBOM fits.
var settings = []struct {
	name string
	args []string
}{
	{"as Kyverno comes", nil},
	{"as hallmark sets it", []string{"--imageVerifyCacheMaxSize=100000000"}},
}

// BenchmarkAdmission creates a hundred Pods of one released image, ten at a time, against the rendered policies under
// each of the settings. The image has been admitted once before: what is measured is every Pod but the first.
func BenchmarkAdmission(b *testing.B) {
	for _, setting := range settings {
		b.Run(setting.name, func(b *testing.B) {
			w := newWorld(b)
			c := startCluster(b, w, setting.args...)
			manifest := pod(w.released(ours()).String())
			if said := admits(b, c, in("shop", manifest)); !said.yes {
				b.Fatal(said.words)
			}
			for b.Loop() {
				before, began := w.asked.Load(), time.Now()
				const pods = 100
				slowest := create(b, c, manifest, pods)
				b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/100pods")
				b.ReportMetric(float64(slowest.Milliseconds()), "ms/slowest")
				b.ReportMetric(float64(w.asked.Load()-before)/pods, "requests/pod")
			}
		})
	}
}

// create creates copies of a Pod, ten at a time, and gives how long the slowest took.
func create(b *testing.B, c *cluster.Cluster, manifest cluster.Object, pods int) time.Duration {
	b.Helper()
	took := make([]time.Duration, pods)
	var group errgroup.Group
	group.SetLimit(10)
	for i := range pods {
		group.Go(func() error {
			o, err := copyOf(manifest, fmt.Sprint("app-", i))
			if err != nil {
				return err
			}
			began := time.Now()
			answer, err := c.Create(b.Context(), o, true)
			took[i] = time.Since(began)
			if err == nil && !answer.Allowed() {
				err = fmt.Errorf("%d: %s", answer.Status, answer.Message())
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	slowest := took[0]
	for _, d := range took {
		slowest = max(slowest, d)
	}
	return slowest
}

func copyOf(o cluster.Object, name string) (cluster.Object, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var copied cluster.Object
	if err := json.Unmarshal(text, &copied); err != nil {
		return nil, err
	}
	copied["metadata"].(map[string]any)["name"] = name
	return copied, nil
}
