package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample is three rounds in which the chain takes 3, 1 and 2 seconds a step and hallmark a quarter of the chain.
func sample() *results {
	r := &results{Rounds: 3, RoundTrips: []time.Duration{0}}
	for _, n := range []time.Duration{3, 1, 2} {
		steps := func(name string, wall time.Duration, peak int64) step {
			return step{name, cost{Wall: wall, CPU: 2 * wall, Peak: peak}}
		}
		for _, source := range []string{fromLayout, fromArchive} {
			r.Runs = append(r.Runs,
				measured{setting{Source: source}, "chain",
					[]step{steps("syft", n*time.Second, 300e6), steps("cosign sign", n*time.Second, 100e6)},
					[]step{steps("cosign verify", 2*n*time.Second, 120e6)}, 20, 8},
				measured{setting{Source: source}, "hallmark",
					[]step{steps("hallmark release", n*time.Second, 200e6)},
					[]step{steps("hallmark verify", n*100*time.Millisecond, 50e6)}, 12, 5},
			)
		}
	}
	return r
}

func TestFigures(t *testing.T) {
	for _, test := range []struct {
		name, contender string
		phase           func(measured) ([]step, int)
		want            figures
	}{
		{"the chain's release counts its verification", "chain", whole, figures{
			wall:     spread[time.Duration]{8 * time.Second, 4 * time.Second, 12 * time.Second},
			cpu:      spread[time.Duration]{16 * time.Second, 8 * time.Second, 24 * time.Second},
			peak:     spread[int64]{300e6, 300e6, 300e6},
			requests: spread[int]{28, 28, 28},
			steps: []step{
				{"syft", cost{2 * time.Second, 4 * time.Second, 300e6}},
				{"cosign sign", cost{2 * time.Second, 4 * time.Second, 100e6}},
				{"cosign verify", cost{4 * time.Second, 8 * time.Second, 120e6}},
			},
		}},
		{"hallmark's release has verified already", "hallmark", whole, figures{
			wall:     spread[time.Duration]{2 * time.Second, 1 * time.Second, 3 * time.Second},
			cpu:      spread[time.Duration]{4 * time.Second, 2 * time.Second, 6 * time.Second},
			peak:     spread[int64]{200e6, 200e6, 200e6},
			requests: spread[int]{12, 12, 12},
			steps:    []step{{"hallmark release", cost{2 * time.Second, 4 * time.Second, 200e6}}},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := sample().figures(test.contender, setting{Source: fromLayout}, test.phase)
			exported := cmp.AllowUnexported(figures{}, spread[time.Duration]{}, spread[int64]{}, spread[int]{}, step{})
			if diff := cmp.Diff(test.want, got, exported); diff != "" {
				t.Errorf("figures (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMarkdownSaysTheRatio(t *testing.T) {
	r := sample()
	r.Start = []step{{"hallmark verify --help", cost{Wall: 30 * time.Millisecond}}}
	text := r.markdown()
	for _, want := range []string{
		"| chain | 8.00 s (4.00 s to 12.00 s) | 4.0× | 16.00 s | 4.0× | 300 MB | 1.50× | 28 |",
		"| chain | 4.00 s (2.00 s to 6.00 s) | 20.0× | 8.00 s | 20.0× | 120 MB | 2.40× | 8 |",
		"`hallmark verify --help`: 30 ms (30 to 30)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in:\n%s", want, text)
		}
	}
}

func TestReplaceFigures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("method\n" + figuresBegin + "old\n" + figuresEnd + "how to read it\n")
	if err := replaceFigures(path, "new"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "method\n" + figuresBegin + "\nnew\n" + figuresEnd + "how to read it\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	write("no marks")
	if err := replaceFigures(path, "new"); err == nil {
		t.Error("a document without marks was written to")
	}
}
