package osv

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// byNumber orders versions that are whole numbers.
func byNumber(a, b string) (int, error) {
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return x - y, errors.Join(err1, err2)
}

func TestWalk(t *testing.T) {
	in := func(v string) Event { return Event{Introduced: v} }
	fix := func(v string) Event { return Event{Fixed: v} }
	last := func(v string) Event { return Event{LastAffected: v} }
	limit := func(v string) Event { return Event{Limit: v} }
	for _, tt := range []struct {
		name   string
		events []Event
		want   []Interval
		loose  bool
	}{
		{"nothing", nil, nil, false},
		{"from the beginning", []Event{in("0")}, []Interval{{}}, false},
		{"fixed", []Event{in("0"), fix("3")}, []Interval{{High: "3", Fixed: true}}, false},
		{"last affected", []Event{in("2"), last("3")}, []Interval{{Low: "2", High: "3", Closed: true}}, false},
		{"two intervals in one range", []Event{in("0"), fix("3"), in("5"), fix("7")},
			[]Interval{{High: "3", Fixed: true}, {Low: "5", High: "7", Fixed: true}}, false},
		{"written out of order", []Event{in("5"), fix("7"), in("0"), fix("3")},
			[]Interval{{High: "3", Fixed: true}, {Low: "5", High: "7", Fixed: true}}, false},
		{"the first fix counts", []Event{in("0"), fix("3"), fix("5")}, []Interval{{High: "3", Fixed: true}}, false},
		{"open end", []Event{in("0"), fix("3"), in("5")}, []Interval{{High: "3", Fixed: true}, {Low: "5"}}, false},
		{"fixed where introduced", []Event{in("3"), fix("3")}, nil, false},
		{"one version", []Event{last("3"), in("3")}, []Interval{{Low: "3", High: "3", Closed: true}}, false},
		{"limit", []Event{in("0"), limit("4")}, []Interval{{High: "4"}}, false},
		{"limit within", []Event{in("0"), fix("9"), limit("4"), limit("6")}, []Interval{{High: "6"}}, false},
		{"limit of all", []Event{in("0"), limit("*")}, []Interval{{}}, false},
		{"limit before", []Event{in("7"), limit("4")}, nil, false},
		{"no order", []Event{in("2"), fix("x")}, []Interval{{Low: "2", High: "x", Fixed: true}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, exact := Walk(tt.events, byNumber)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("intervals (-want +got):\n%s", diff)
			}
			if exact == tt.loose {
				t.Errorf("exact = %v", exact)
			}
		})
	}
}

// affected is the schema's evaluation algorithm, word for word.
func affected(v int, events []Event) bool {
	limited, before := false, false
	type at struct {
		n    int
		last bool
		in   bool
	}
	var sorted []at
	for _, e := range events {
		switch {
		case e.Introduced != "":
			n, _ := strconv.Atoi(e.Introduced)
			sorted = append(sorted, at{n: n, in: true})
		case e.Fixed != "":
			n, _ := strconv.Atoi(e.Fixed)
			sorted = append(sorted, at{n: n})
		case e.LastAffected != "":
			n, _ := strconv.Atoi(e.LastAffected)
			sorted = append(sorted, at{n: n, last: true})
		case e.Limit != "":
			n, _ := strconv.Atoi(e.Limit)
			limited, before = true, before || v < n
		}
	}
	if limited && !before {
		return false
	}
	slices.SortStableFunc(sorted, func(a, b at) int {
		if a.n == b.n && a.last != b.last {
			return map[bool]int{true: 1, false: -1}[a.last]
		}
		return a.n - b.n
	})
	vulnerable := false
	for _, e := range sorted {
		switch {
		case e.in && v >= e.n:
			vulnerable = true
		case e.last && v > e.n, !e.in && !e.last && v >= e.n:
			vulnerable = false
		}
	}
	return vulnerable
}

// FuzzWalk holds the intervals against the evaluation algorithm on every
// version.
func FuzzWalk(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed, uint8(seed%8))
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		var events []Event
		for range n % 12 {
			v := strconv.Itoa(r.IntN(9))
			switch r.IntN(7) {
			case 0, 1, 2:
				events = append(events, Event{Introduced: v})
			case 3, 4:
				events = append(events, Event{Fixed: v})
			case 5:
				events = append(events, Event{LastAffected: v})
			case 6:
				events = append(events, Event{Limit: strconv.Itoa(1 + r.IntN(9))})
			}
		}
		intervals, exact := Walk(events, byNumber)
		if !exact {
			t.Fatalf("%+v: not exact", events)
		}
		for v := range 11 {
			got := slices.ContainsFunc(intervals, func(i Interval) bool {
				in, err := i.Contains(strconv.Itoa(v), byNumber)
				return err == nil && in
			})
			if want := affected(v, events); got != want {
				t.Errorf("%+v\n%+v\nversion %d: affected %v, want %v", events, intervals, v, got, want)
			}
		}
	})
}
