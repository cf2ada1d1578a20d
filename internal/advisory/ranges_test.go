package advisory

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/version"
	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/advisory/osv"
)

// satisfied asks grype's constraints whether v is affected, a range at a time
// as its database reader does.
func satisfied(t testing.TB, ranges []v6.Range, f version.Format, v string) bool {
	t.Helper()
	for _, r := range ranges {
		c, err := version.GetConstraint(r.Version.Constraint, version.ParseFormat(r.Version.Type))
		if err != nil {
			t.Fatalf("constraint %q: %v", r.Version.Constraint, err)
		}
		if in, err := c.Satisfied(version.New(v, f)); err == nil && in {
			return true
		}
	}
	return false
}

// evaluate is the OSV schema's evaluation algorithm on one affected entry.
func evaluate(a osv.Affected, v string, cmp osv.Compare) (affected bool, err error) {
	if slices.Contains(a.Versions, v) {
		return true, nil
	}
	for _, r := range a.Ranges {
		if r.Type == "GIT" {
			continue
		}
		// Each event is judged by how many events lie at or below the version:
		// the last of those, in the order of versions, decides.
		best, state := "", false
		for _, e := range r.Events {
			at, on := e.Introduced, true
			if at == "" {
				at, on = e.Fixed, false
			}
			if e.LastAffected != "" {
				at = e.LastAffected
				if c, err := cmp(v, at); err != nil || c <= 0 {
					if err != nil {
						return false, err
					}
					continue
				}
			}
			if at != "0" {
				if c, err := cmp(v, at); err != nil {
					return false, err
				} else if c < 0 {
					continue
				}
			}
			if best != "" {
				if c, err := compareZero(at, best, cmp); err != nil {
					return false, err
				} else if c < 0 {
					continue
				}
			}
			best, state = at, on
		}
		if state {
			return true, nil
		}
	}
	return false, nil
}

func compareZero(a, b string, cmp osv.Compare) (int, error) {
	switch {
	case a == b:
		return 0, nil
	case a == "0":
		return -1, nil
	case b == "0":
		return 1, nil
	}
	return cmp(a, b)
}

// TestRealRangesAgainstBruteForce judges each version that a range of a package
// names, and a choice of those that its records list, by the schema's algorithm
// and by grype's constraints, on all real records.
func TestRealRangesAgainstBruteForce(t *testing.T) {
	versions, bounds, entries := map[string][]string{}, map[string][]string{}, map[string][]osv.Affected{}
	for _, dir := range []string{"testdata/osv", "testdata/facts"} {
		err := Source{Kind: OSV, Path: dir}.walk(context.Background(), func(name string, r io.Reader) error {
			data, _ := io.ReadAll(r)
			rec, err := osv.Decode(name, data)
			if err != nil {
				return err
			}
			for _, a := range rec.Affected {
				// Custom ranges and GitHub's bound change what the ranges say.
				if _, bound := a.Specific["last_known_affected_version_range"]; bound || len(a.Eco.Custom) > 0 {
					continue
				}
				key := a.Package.Ecosystem + " " + strings.ToLower(a.Package.Name)
				entries[key] = append(entries[key], a)
				versions[key] = append(versions[key], a.Versions...)
				for _, r := range a.Ranges {
					for _, e := range r.Events {
						if v := e.Introduced + e.Fixed + e.LastAffected; r.Type != "GIT" && v != "0" {
							bounds[key] = append(bounds[key], v)
						}
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	judged := 0
	for key, list := range entries {
		slices.Sort(versions[key])
		all := slices.Clone(bounds[key])
		for i, v := range slices.Compact(versions[key]) {
			if i%25 == 0 {
				all = append(all, v)
			}
		}
		slices.Sort(all)
		all = slices.Compact(all)
		for _, a := range list {
			target, err := locate(a.Package.Ecosystem)
			if err != nil {
				continue
			}
			ranges, _, err := rangesOf(a, target)
			if err != nil && err != errNoVersion {
				t.Fatalf("%s: %v", key, err)
			}
			for _, v := range all {
				want, err := evaluate(a, v, target.compare)
				if err != nil {
					continue // not comparable; loose matching is grype's
				}
				judged++
				if got := satisfied(t, ranges, version.ParseFormat(target.format), v); got != want {
					t.Errorf("%s %s: affected %v, want %v\n%+v", key, v, got, want, ranges)
				}
			}
		}
	}
	if judged < 5_000 {
		t.Errorf("only %d judged", judged)
	}
}

// FuzzRanges makes events and lists at random and holds grype's constraints
// against the schema's algorithm, in three version formats.
func FuzzRanges(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed)
	}
	ecosystems := []string{"PyPI", "npm", "Debian:12", "Go", "Maven", "RubyGems", "Alpine:v3.18"}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		target, err := locate(ecosystems[r.IntN(len(ecosystems))])
		if err != nil {
			t.Fatal(err)
		}
		draw := func() string { return fmt.Sprintf("%d.%d.%d", r.IntN(3), r.IntN(3), r.IntN(3)) }
		var a osv.Affected
		for range 1 + r.IntN(2) {
			var events []osv.Event
			for range 1 + r.IntN(3) {
				if r.IntN(4) == 0 {
					events = append(events, osv.Event{Introduced: "0"})
				} else {
					events = append(events, osv.Event{Introduced: draw()})
				}
				switch r.IntN(5) {
				case 0:
				case 1:
					events = append(events, osv.Event{LastAffected: draw()})
				default:
					events = append(events, osv.Event{Fixed: draw()})
				}
			}
			a.Ranges = append(a.Ranges, osv.Range{Type: "ECOSYSTEM", Events: distinct(events)})
		}
		for range r.IntN(4) {
			a.Versions = append(a.Versions, draw())
		}
		ranges, notes, err := rangesOf(a, target)
		if err != nil && err != errNoVersion || len(notes) > 0 {
			t.Fatalf("%+v: %v, %v", a, notes, err)
		}
		for i := range 27 {
			v := fmt.Sprintf("%d.%d.%d", i/9, i/3%3, i%3)
			want, err := evaluate(a, v, target.compare)
			if err != nil {
				t.Fatal(err)
			}
			if got := satisfied(t, ranges, version.ParseFormat(target.format), v); got != want {
				t.Errorf("%s %s: affected %v, want %v\n%+v\n%+v", target.format, v, got, want, a, ranges)
			}
		}
	})
}

// distinct keeps one event a version: at the same version the schema leaves the
// order of events open.
func distinct(events []osv.Event) (out []osv.Event) {
	seen := map[string]bool{}
	for _, e := range events {
		v := e.Introduced + e.Fixed + e.LastAffected
		if v == "0" || !seen[v] {
			out = append(out, e)
		}
		seen[v] = true
	}
	return out
}

func TestRangesOf(t *testing.T) {
	fixed := func(v string) *v6.Fix { return &v6.Fix{Version: v, State: v6.FixedStatus} }
	rng := func(format, constraint string, fix *v6.Fix) v6.Range {
		return v6.Range{Version: v6.Version{Type: format, Constraint: constraint}, Fix: fix}
	}
	events := func(kind string, e ...osv.Event) osv.Range { return osv.Range{Type: kind, Events: e} }
	in := func(v string) osv.Event { return osv.Event{Introduced: v} }
	fix := func(v string) osv.Event { return osv.Event{Fixed: v} }
	for _, tt := range []struct {
		name, ecosystem string
		affected        osv.Affected
		want            []v6.Range
		notes           int
	}{
		{"all versions", "npm", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("0"))}},
			[]v6.Range{rng("npm", "", &v6.Fix{State: v6.NotFixedStatus})}, 0},
		{"two fixes", "PyPI", osv.Affected{Ranges: []osv.Range{events("ECOSYSTEM", in("0"), fix("1.2"), in("2"), fix("2.3"))}},
			[]v6.Range{rng("python", "<1.2", fixed("1.2")), rng("python", ">=2,<2.3", fixed("2.3"))}, 0},
		{"open end", "PyPI", osv.Affected{Ranges: []osv.Range{events("ECOSYSTEM", in("2"))}},
			[]v6.Range{rng("python", ">=2", &v6.Fix{State: v6.NotFixedStatus})}, 0},
		{"listed outside the range", "PyPI", osv.Affected{Versions: []string{"1.1", "3.0", "2004b"}, Ranges: []osv.Range{events("ECOSYSTEM", in("0"), fix("2"))}},
			[]v6.Range{rng("python", "<2", fixed("2")), rng("python", "=2004b||=3.0", nil)}, 0},
		{"listed beyond the format", "PyPI", osv.Affected{Versions: []string{"1-banana"}},
			[]v6.Range{rng("unknown", "=1-banana", nil)}, 0},
		{"bound beyond the format", "Go", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("0"), fix("edge-24.6.2"))}},
			[]v6.Range{rng("unknown", "<edge-24.6.2", fixed("edge-24.6.2"))}, 1},
		{"bound that cannot be written", "npm", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("1.0.0"), fix("2 || 3"))}},
			[]v6.Range{rng("npm", ">=1.0.0", fixed("2 || 3"))}, 2},
		{"GitHub's last known version", "npm", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("1.0.0"))}, Specific: map[string]any{"last_known_affected_version_range": "<= 1.4.2"}},
			[]v6.Range{rng("npm", ">=1.0.0,<=1.4.2", nil)}, 0},
		{"GitHub's last known version, excluded", "npm", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("0"))}, Specific: map[string]any{"last_known_affected_version_range": "< 1.4.2"}},
			[]v6.Range{rng("npm", "<1.4.2", nil)}, 0},
		{"GitHub's bound in other words", "npm", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("0"))}, Specific: map[string]any{"last_known_affected_version_range": "all"}},
			[]v6.Range{rng("npm", "", &v6.Fix{State: v6.NotFixedStatus})}, 0},
		{"Go: custom for the standard's anything", "Go", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("0"))},
			Eco: osv.EcoSpecific{Custom: []osv.Range{events("ECOSYSTEM", in("1.0.0"), fix("1.5.0"))}}},
			[]v6.Range{rng("go", ">=1.0.0,<1.5.0", fixed("1.5.0"))}, 0},
		{"Go: custom above the standard's first", "Go", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("5.0.0-beta1"))},
			Eco: osv.EcoSpecific{Custom: []osv.Range{events("ECOSYSTEM", in("0"), fix("8.5.14"), in("9.0.0"), fix("9.1.8"))}}},
			[]v6.Range{rng("go", ">=5.0.0-beta1,<8.5.14", fixed("8.5.14")), rng("go", ">=9.0.0,<9.1.8", fixed("9.1.8"))}, 0},
		{"Go: the standard's ends above custom's first", "Go", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("0"), fix("2.0.0"))},
			Eco: osv.EcoSpecific{Custom: []osv.Range{events("ECOSYSTEM", in("1.0.0"))}}},
			[]v6.Range{rng("go", ">=1.0.0,<2.0.0", fixed("2.0.0"))}, 0},
		{"Go: both have ends", "Go", osv.Affected{Ranges: []osv.Range{events("SEMVER", in("0"), fix("1.2.0"))},
			Eco: osv.EcoSpecific{Custom: []osv.Range{events("ECOSYSTEM", in("3.0.0"), fix("3.1.0"))}}},
			[]v6.Range{rng("go", "<1.2.0", fixed("1.2.0")), rng("go", ">=3.0.0,<3.1.0", fixed("3.1.0"))}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target, err := locate(tt.ecosystem)
			if err != nil {
				t.Fatal(err)
			}
			got, notes, err := rangesOf(tt.affected, target)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
			if len(notes) != tt.notes {
				t.Errorf("notes %q, want %d", notes, tt.notes)
			}
		})
	}
}
