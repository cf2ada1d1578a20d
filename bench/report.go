package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// setting is what a run was given.
type setting struct {
	Source    string        `json:"source"`
	RoundTrip time.Duration `json:"round_trip_ns"`
}

func (s setting) String() string {
	if s.RoundTrip == 0 {
		return s.Source
	}
	return fmt.Sprintf("%s, servers %d ms away", s.Source, s.RoundTrip.Milliseconds())
}

// measured is one contender's run.
type measured struct {
	setting
	Contender       string `json:"contender"`
	Release         []step `json:"release"`
	Verify          []step `json:"verify"`
	ReleaseRequests int    `json:"release_requests"`
	VerifyRequests  int    `json:"verify_requests"`
}

// results are all runs.
type results struct {
	Machine string     `json:"machine"`
	Image   imageFacts `json:"image"`
	Rounds  int        `json:"rounds"`
	// RoundTrips are the distances to the servers, the first nought.
	RoundTrips []time.Duration `json:"round_trips_ns"`
	Runs       []measured      `json:"runs"`
	Start      []step          `json:"start_up"`
}

// spread is the middle of some measurements with the ends.
type spread[T cmp.Ordered] struct{ median, least, most T }

func spreadOf[T cmp.Ordered](all []T) spread[T] {
	s := slices.Sorted(slices.Values(all))
	return spread[T]{s[len(s)/2], s[0], s[len(s)-1]}
}

// figures are one contender's, in one setting and one phase, over all rounds.
type figures struct {
	wall, cpu spread[time.Duration]
	peak      spread[int64]
	requests  spread[int]
	steps     []step // medians
}

func (r *results) figures(contender string, at setting, phase func(measured) ([]step, int)) figures {
	var wall, cpu []time.Duration
	var peak []int64
	var requests []int
	var runs [][]step
	for _, run := range r.Runs {
		if run.Contender != contender || run.setting != at {
			continue
		}
		steps, n := phase(run)
		sum := total(steps)
		wall, cpu, peak, requests = append(wall, sum.Wall), append(cpu, sum.CPU), append(peak, sum.Peak), append(requests, n)
		runs = append(runs, steps)
	}
	f := figures{wall: spreadOf(wall), cpu: spreadOf(cpu), peak: spreadOf(peak), requests: spreadOf(requests)}
	for i, s := range runs[0] {
		var wall, cpu []time.Duration
		var peak []int64
		for _, steps := range runs {
			wall, cpu, peak = append(wall, steps[i].Wall), append(cpu, steps[i].CPU), append(peak, steps[i].Peak)
		}
		f.steps = append(f.steps, step{s.Name, cost{spreadOf(wall).median, spreadOf(cpu).median, spreadOf(peak).median}})
	}
	return f
}

func releasing(m measured) ([]step, int) { return m.Release, m.ReleaseRequests }
func verifying(m measured) ([]step, int) { return m.Verify, m.VerifyRequests }

// whole is everything the chain must do to end where hallmark release ends: hallmark has verified before it tags.
func whole(m measured) ([]step, int) {
	if m.Contender == (hallmark{}).name() {
		return releasing(m)
	}
	return append(slices.Clone(m.Release), m.Verify...), m.ReleaseRequests + m.VerifyRequests
}

var phases = []struct {
	title string
	of    func(measured) ([]step, int)
}{
	{"Release, verified from the registry", whole},
	{"Verify once more", verifying},
}

func (r *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. Image: Debian %s, %d system and %d Python packages, %d layers, %s as archive, %s compressed. Database: %d advisories. Medians of %d rounds (least to most).\n",
		r.Machine, "12", r.Image.Debian, r.Image.Python, r.Image.Layers, mega(r.Image.Archive), mega(r.Image.Layout), r.Image.Advisories, r.Rounds)
	for _, phase := range phases {
		for _, roundTrip := range r.RoundTrips {
			for _, source := range []string{fromLayout, fromArchive} {
				at := setting{source, roundTrip}
				fmt.Fprintf(&b, "\n### %s: %s\n\n", phase.title, at)
				r.compare(&b, at, phase.of)
			}
		}
	}
	fmt.Fprintf(&b, "\n### Step by step\n\n| from | step | wall | CPU | peak memory |\n|---|---|--:|--:|--:|\n")
	for _, source := range []string{fromLayout, fromArchive} {
		for _, contender := range []string{chain{}.name(), hallmark{}.name()} {
			f := r.figures(contender, setting{Source: source}, func(m measured) ([]step, int) { return append(slices.Clone(m.Release), m.Verify...), 0 })
			for _, s := range f.steps {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", source, s.Name, seconds(s.Wall), seconds(s.CPU), mega(s.Peak))
			}
		}
	}
	var start []time.Duration
	for _, s := range r.Start {
		start = append(start, s.Wall)
	}
	s := spreadOf(start)
	fmt.Fprintf(&b, "\nStart-up, `hallmark verify --help`: %d ms (%d to %d).\n", s.median.Milliseconds(), s.least.Milliseconds(), s.most.Milliseconds())
	return b.String()
}

// compare writes one table: a row per contender, and how much less hallmark takes than it.
func (r *results) compare(b *strings.Builder, at setting, phase func(measured) ([]step, int)) {
	fmt.Fprintf(b, "| | wall | | CPU | | peak memory | | registry requests |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	ours := r.figures((hallmark{}).name(), at, phase)
	for _, contender := range r.contenders() {
		f := r.figures(contender, at, phase)
		fmt.Fprintf(b, "| %s | %s (%s to %s) | %.1f× | %s | %.1f× | %s | %.2f× | %d |\n", contender,
			seconds(f.wall.median), seconds(f.wall.least), seconds(f.wall.most), ratio(f.wall.median, ours.wall.median),
			seconds(f.cpu.median), ratio(f.cpu.median, ours.cpu.median),
			mega(f.peak.median), ratio(f.peak.median, ours.peak.median), f.requests.median)
	}
}

func (r *results) contenders() []string {
	var names []string
	for _, run := range r.Runs {
		if !slices.Contains(names, run.Contender) {
			names = append(names, run.Contender)
		}
	}
	slices.Sort(names)
	return names
}

func ratio[T ~int64](theirs, ours T) float64 { return float64(theirs) / float64(ours) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func mega(bytes int64) string { return fmt.Sprintf("%.0f MB", float64(bytes)/1e6) }

func describeMachine(ctx context.Context) string {
	kernel, err := exec.CommandContext(ctx, "uname", "-sr").Output()
	if err != nil {
		kernel = []byte(runtime.GOOS)
	}
	return fmt.Sprintf("%d cores, %s, %s, %s", runtime.NumCPU(), strings.TrimSpace(string(kernel)), runtime.GOARCH, time.Now().UTC().Format(time.DateOnly))
}

// The figures stand between these two lines of the document; the method around them is written by people.
const (
	figuresBegin = "<!-- figures: written by make bench -->\n"
	figuresEnd   = "<!-- end of figures -->\n"
)

// replaceFigures puts text between the two marks of the file at path.
func replaceFigures(path, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), figuresBegin)
	_, after, ok2 := strings.Cut(rest, figuresEnd)
	if !ok || !ok2 {
		return fmt.Errorf("replacing the figures in %s: no lines %q and %q", path, figuresBegin, figuresEnd)
	}
	return os.WriteFile(path, []byte(before+figuresBegin+"\n"+text+"\n"+figuresEnd+after), 0o644)
}
