// Package storetest is the one suite that every store must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// Open opens a store: the same one for the same name, within a test.
type Open func(t testing.TB, name string) store.Store

// Run holds a store to the contract of store.Store.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Open)
	}{
		{"Intake", testIntake}, {"Superseding", testSuperseding}, {"OneBatch", testOneBatch}, {"UnverifiedNeverWins", testUnverified},
		{"Bounds", testBounds}, {"Retire", testRetire}, {"Refusals", testRefusals}, {"Notes", testNotes},
		{"Import", testImport}, {"ImportThatFails", testImportFails}, {"OneImportAtATime", testOneImport}, {"SlowImport", testSlowImport}, {"DeadImport", testDeadImport},
		{"HostileText", testHostile}, {"VEX", testVEX}, {"Events", testEvents}, {"ChangeLog", testChangeLog},
		{"Replicas", testReplicas}, {"Batcher", testBatcher}, {"Copy", testCopy}, {"Reopen", testReopen},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Digest is a digest made of a number.
func Digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// Package is a package made of a number.
func Package(n int) store.Package {
	body := fmt.Appendf(nil, "package %d", n)
	return store.Package{Key: store.KeyOf(body), Body: body}
}

// Arrival is an image of the given packages.
func Arrival(n int, packages ...int) store.Arrival {
	a := store.Arrival{Name: "registry.example/app", Digest: Digest(n), Evidence: Digest(n + 1_000_000), Verified: true,
		At: start.Add(time.Duration(n) * time.Second), Body: fmt.Appendf(nil, `{"image":%d}`, n)}
	for _, p := range packages {
		a.Packages = append(a.Packages, Package(p))
	}
	return a
}

// Row is an advisory row.
func Row(provider string, n int, text string) store.Row {
	body := []byte(text)
	return store.Row{Provider: provider, Name: fmt.Sprintf("%s/ADV-%d", provider, n), Hash: store.KeyOf(body), Body: body}
}

func rowsOf(rows ...store.Row) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func put(t testing.TB, s store.Store, batch ...store.Arrival) []store.Outcome {
	t.Helper()
	return must(s.Put(t.Context(), batch))(t)
}

// Content is everything a store holds, as Load gives it.
type Content struct {
	Seq      int64
	Packages []store.Package
	Images   []store.Image
	Refusals []store.Refusal
	Imports  []store.Import
	Rows     []store.Row
	VEX      []store.VEX
}

// Load reads a store whole.
func Load(t testing.TB, s store.Store) Content {
	t.Helper()
	var c Content
	seq, err := s.Load(context.WithoutCancel(t.Context()), store.Sink{
		Package: func(p store.Package) error { c.Packages = append(c.Packages, p); return nil },
		Image:   func(i store.Image) error { c.Images = append(c.Images, i); return nil },
		Refusal: func(r store.Refusal) error { c.Refusals = append(c.Refusals, r); return nil },
		Import:  func(i store.Import) error { c.Imports = append(c.Imports, i); return nil },
		Row:     func(r store.Row) error { c.Rows = append(c.Rows, r); return nil },
		VEX:     func(v store.VEX) error { c.VEX = append(c.VEX, v); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Seq = seq
	return c
}

// Check fails unless the content agrees with itself: numbers without gaps or
// repeats, one standing record per digest, and no package that is not there.
func (c Content) Check(t testing.TB) {
	t.Helper()
	keys := map[store.Key]bool{}
	for i, p := range c.Packages {
		if int(p.ID) != i+1 {
			t.Fatalf("package %d has the number %d", i+1, p.ID)
		}
		if keys[p.Key] {
			t.Fatalf("package %d is there twice", p.ID)
		}
		keys[p.Key] = true
	}
	standing := map[string]bool{}
	for i, image := range c.Images {
		if int(image.ID) != i+1 {
			t.Fatalf("image record %d has the number %d", i+1, image.ID)
		}
		if image.Until.IsZero() {
			if standing[image.Digest] {
				t.Fatalf("%s has two standing records", image.Digest)
			}
			standing[image.Digest] = true
		}
		for _, p := range image.Packages {
			if p == 0 || int(p) > len(c.Packages) {
				t.Fatalf("image record %d holds package %d of %d", image.ID, p, len(c.Packages))
			}
		}
	}
}

func testIntake(t *testing.T, open Open) {
	s := open(t, "a")
	got := put(t, s, Arrival(1, 10, 11, 12), Arrival(2, 11, 12, 13, 13))
	want := []store.Outcome{{Result: store.Stored, ID: 1, NewPackages: 3}, {Result: store.Stored, ID: 2, NewPackages: 1}}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	c := Load(t, s)
	c.Check(t)
	if d := cmp.Diff([][]uint32{{1, 2, 3}, {2, 3, 4}}, [][]uint32{c.Images[0].Packages, c.Images[1].Packages}); d != "" {
		t.Error(d)
	}
	if c.Seq != 2 || len(c.Packages) != 4 || string(c.Packages[3].Body) != "package 13" {
		t.Errorf("loaded %+v", c)
	}
	again := put(t, s, Arrival(1, 10, 11, 12))
	if again[0].Result != store.Unchanged || again[0].ID != 1 {
		t.Errorf("the same evidence again: %+v", again)
	}
	if seq := must(s.Sequence(t.Context()))(t); seq != 2 {
		t.Errorf("the same evidence again moved the log to %d", seq)
	}
	tagged := Arrival(1, 10, 11, 12)
	tagged.Name = "registry.example/app:v1"
	put(t, s, tagged)
	if i := Load(t, s).Images[0]; !slices.Equal(i.Names, []string{"registry.example/app", "registry.example/app:v1"}) {
		t.Errorf("names are %q", i.Names)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func testSuperseding(t *testing.T, open Open) {
	s := open(t, "a")
	first, second := Arrival(1, 10), Arrival(1, 10, 11)
	second.Evidence, second.At = Digest(77), start.Add(time.Hour)
	put(t, s, first)
	put(t, s, second)
	images := Load(t, s).Images
	if len(images) != 2 || !images[0].Until.Equal(second.At) || !images[1].Until.IsZero() {
		t.Fatalf("records are %+v", images)
	}
	// A replica whose clock is behind never ends a record before it began.
	third := Arrival(1, 12)
	third.Evidence, third.At = Digest(78), start.Add(-time.Hour)
	put(t, s, third)
	images = Load(t, s).Images
	if images[2].At.Before(images[1].At) || images[1].Until.Before(images[1].At) {
		t.Errorf("records are %+v", images)
	}
}

func testUnverified(t *testing.T, open Open) {
	s := open(t, "a")
	loose := Arrival(1, 10)
	loose.Verified, loose.Evidence = false, Digest(5)
	put(t, s, loose)
	if got := put(t, s, Arrival(1, 10, 11)); got[0].Result != store.Stored {
		t.Fatalf("verified evidence after unverified: %+v", got)
	}
	loose.Evidence = Digest(6)
	if got := put(t, s, loose); got[0].Result != store.Kept || got[0].ID != 2 {
		t.Fatalf("unverified evidence after verified: %+v", got)
	}
	if images := Load(t, s).Images; len(images) != 2 || !images[1].Verified {
		t.Errorf("records are %+v", images)
	}
}

func testBounds(t *testing.T, open Open) {
	s := open(t, "a")
	big := Arrival(1, 10)
	big.Body = make([]byte, store.MaxBody+1)
	if _, err := s.Put(t.Context(), []store.Arrival{Arrival(2, 3), big}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a body beyond the bound: %v", err)
	}
	if c := Load(t, s); len(c.Images)+len(c.Packages) > 0 {
		t.Errorf("something of a refused batch stayed: %+v", c)
	}
	if _, err := s.Put(t.Context(), []store.Arrival{{}}); err == nil {
		t.Error("an image without a digest was stored")
	}
	if _, err := s.Put(t.Context(), make([]store.Arrival, store.MaxBatch+1)); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a batch beyond the bound: %v", err)
	}
}

func testRetire(t *testing.T, open Open) {
	s := open(t, "a")
	if err := s.Retire(t.Context(), Digest(1), start); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("retiring what is not there: %v", err)
	}
	put(t, s, Arrival(1, 10))
	if err := s.Retire(t.Context(), Digest(1), start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if i := Load(t, s).Images[0]; !i.Until.Equal(start.Add(time.Hour)) {
		t.Errorf("the record is %+v", i)
	}
	if got := put(t, s, Arrival(1, 10)); got[0].Result != store.Stored || got[0].ID != 2 {
		t.Errorf("taken in after it was retired: %+v", got)
	}
}

func testRefusals(t *testing.T, open Open) {
	s := open(t, "a")
	r := store.Refusal{Name: "registry.example/app", Digest: Digest(1), Code: "no-sbom", Reason: "none is attached", Last: start}
	for i := range 3 {
		r.Last = start.Add(time.Duration(i) * time.Minute)
		if err := s.Refuse(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	want := r
	want.First, want.Times = start, 3
	if d := cmp.Diff([]store.Refusal{want}, must(s.Refusals(t.Context(), 10))(t)); d != "" {
		t.Error(d)
	}
	put(t, s, Arrival(1, 10))
	if left := must(s.Refusals(t.Context(), 10))(t); len(left) > 0 {
		t.Errorf("refusals stand after the image was taken in: %+v", left)
	}
	if all := Load(t, s).Refusals; len(all) != 1 || all[0].Ended.IsZero() {
		t.Errorf("refusals are %+v", all)
	}
}

func testNotes(t *testing.T, open Open) {
	s := open(t, "a")
	put(t, s, Arrival(1, 10))
	noted := Arrival(2, 10)
	noted.Packages[0].Notes = []byte("MIT")
	put(t, s, noted)
	other := Arrival(3, 10)
	other.Packages[0].Notes = []byte("Apache-2.0")
	put(t, s, other)
	if p := Load(t, s).Packages; len(p) != 1 || string(p[0].Notes) != "MIT" {
		t.Errorf("packages are %+v", p)
	}
	d := must(s.Changes(t.Context(), 1, 0, 10))(t)
	if len(d.Changes) != 3 || d.Changes[0].Kind != store.PackageChange || string(d.Changes[0].Package.Notes) != "MIT" {
		t.Errorf("changes are %+v", d.Changes)
	}
}
