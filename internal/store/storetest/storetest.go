// Package storetest is the one suite that every store must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

// Open opens a store: the same one for the same name, within a test.
type Open func(t testing.TB, name string) store.Store

// Run holds a store to the contract of store.Store.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Open)
	}{
		{"Intake", testIntake}, {"Superseding", testSuperseding}, {"UnverifiedNeverWins", testUnverified},
		{"Bounds", testBounds}, {"Retire", testRetire}, {"Refusals", testRefusals}, {"Notes", testNotes},
		{"Import", testImport}, {"ImportThatFails", testImportFails}, {"OneImportAtATime", testOneImport},
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

func doImport(t testing.TB, s store.Store, partial bool, rows ...store.Row) store.Import {
	t.Helper()
	return must(s.Import(t.Context(), store.Dataset{Source: "test", Partial: partial, At: start}, rowsOf(rows...)))(t)
}

func testImport(t *testing.T, open Open) {
	s := open(t, "a")
	doImport(t, s, false, Row("debian", 1, "a"), Row("debian", 2, "b"), Row("github", 1, "g"))
	second := doImport(t, s, false, Row("debian", 1, "a"), Row("debian", 2, "B"), Row("debian", 3, "c"))
	if second.Rows != 3 || second.Added != 2 || second.Removed != 0 {
		t.Errorf("the second import is %+v", second)
	}
	third := doImport(t, s, false, Row("debian", 3, "c"))
	if third.Added != 0 || third.Removed != 2 {
		t.Errorf("the third import is %+v", third)
	}
	doImport(t, s, true, Row("debian", 9, "z"))
	got := map[string][2]int64{}
	for _, r := range Load(t, s).Rows {
		got[r.Name+" "+string(r.Body)] = [2]int64{r.Added, r.Removed}
	}
	want := map[string][2]int64{
		"debian/ADV-1 a": {1, 3}, "debian/ADV-2 b": {1, 2}, "debian/ADV-2 B": {2, 3},
		"debian/ADV-3 c": {2, 0}, "github/ADV-1 g": {1, 0}, "debian/ADV-9 z": {4, 0},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	added, gone, err := s.ImportRows(t.Context(), 2)
	if err != nil || len(added) != 2 || len(gone) != 0 || string(added[0].Body) != "B" {
		t.Errorf("the second import changed %+v and %q, %v", added, gone, err)
	}
	if _, gone, err = s.ImportRows(t.Context(), 3); err != nil || !slices.Equal(gone, []string{"debian/ADV-1", "debian/ADV-2"}) {
		t.Errorf("the third import ended %q, %v", gone, err)
	}
	if n := len(must(s.Imports(t.Context()))(t)); n != 4 {
		t.Errorf("%d imports", n)
	}
}

func testImportFails(t *testing.T, open Open) {
	s := open(t, "a")
	doImport(t, s, false, Row("debian", 1, "a"))
	before := Load(t, s)
	broken := errors.New("the source broke off")
	_, err := s.Import(t.Context(), store.Dataset{Source: "test", At: start}, func(yield func(store.Row, error) bool) {
		for n := range 1200 {
			if !yield(Row("debian", n, "new"), nil) {
				return
			}
		}
		yield(store.Row{}, broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("the error is %v", err)
	}
	if d := cmp.Diff(before, Load(t, s)); d != "" {
		t.Errorf("a failed import left something: %s", d)
	}
	if _, err := s.Import(t.Context(), store.Dataset{Source: "test", At: start}, rowsOf(Row("x", 1, "a"), Row("x", 1, "b"))); err == nil {
		t.Error("a row came twice and was taken")
	}
	if n := doImport(t, s, false, Row("debian", 1, "b")); n.Added != 1 {
		t.Errorf("an import after a failed one: %+v", n)
	}
}

func testOneImport(t *testing.T, open Open) {
	s := open(t, "a")
	var second error
	_, err := s.Import(t.Context(), store.Dataset{Source: "one", At: start}, func(yield func(store.Row, error) bool) {
		_, second = s.Import(t.Context(), store.Dataset{Source: "two", At: start}, rowsOf(Row("x", 2, "a")))
		yield(Row("x", 1, "a"), nil)
	})
	if err != nil || !errors.Is(second, store.ErrBusy) {
		t.Errorf("the first gave %v, the second %v", err, second)
	}
}

// What documents say must come back as it was, whatever it is.
func testHostile(t *testing.T, open Open) {
	s := open(t, "a")
	texts := []string{"'; DROP TABLE packages; --", "<script>alert(1)</script>", "\x1b[2Jx\r\nforged", "\"\\u0000", "π𝄞\u202e", "%s%n$1?"}
	for i, text := range texts {
		a := Arrival(i)
		a.Name, a.Body = "registry.example/"+text, []byte(text+"\x00\xff")
		a.Packages = []store.Package{{Key: store.KeyOf([]byte(text)), Body: []byte(text + "\x00\xff"), Notes: []byte(text)}}
		put(t, s, a)
		if err := s.Refuse(t.Context(), store.Refusal{Name: text, Code: text, Reason: text, Last: start}); err != nil {
			t.Fatal(err)
		}
	}
	c := Load(t, s)
	for i, text := range texts {
		if string(c.Packages[i].Body) != text+"\x00\xff" || c.Images[i].Names[0] != "registry.example/"+text || string(c.Images[i].Body) != text+"\x00\xff" {
			t.Errorf("%q came back as %q, %q", text, c.Packages[i].Body, c.Images[i].Names)
		}
	}
	if len(c.Refusals) != len(texts) {
		t.Errorf("%d refusals", len(c.Refusals))
	}
}

func testVEX(t *testing.T, open Open) {
	s := open(t, "a")
	v := store.VEX{Key: "doc-1", Body: []byte(`{"a":1}`), At: start}
	if !must(s.PutVEX(t.Context(), v))(t) || must(s.PutVEX(t.Context(), v))(t) {
		t.Error("a document is new once")
	}
	v.Body = []byte(`{"a":2}`)
	if !must(s.PutVEX(t.Context(), v))(t) {
		t.Error("a changed document is new")
	}
	if got := Load(t, s).VEX; len(got) != 2 || got[0].Until.IsZero() || !got[1].Until.IsZero() || string(got[1].Body) != `{"a":2}` {
		t.Errorf("documents are %+v", got)
	}
}

func testEvents(t *testing.T, open Open) {
	s := open(t, "a")
	n := doImport(t, s, false, Row("debian", 1, "a")).N
	events := []store.Event{{ID: "one", At: start, Body: []byte("1")}, {ID: "two", At: start.Add(time.Second), Body: []byte("2")}}
	if !must(s.Announce(t.Context(), n, events))(t) || must(s.Announce(t.Context(), n, events))(t) {
		t.Fatal("an import is announced once")
	}
	now := start.Add(time.Hour)
	one, two := must(s.Claim(t.Context(), now, time.Minute))(t), must(s.Claim(t.Context(), now, time.Minute))(t)
	if one == nil || two == nil || one.ID != "one" || two.ID != "two" {
		t.Fatalf("claimed %+v and %+v", one, two)
	}
	if more := must(s.Claim(t.Context(), now, time.Minute))(t); more != nil {
		t.Fatalf("claimed %+v while it is lent", more)
	}
	if again := must(s.Claim(t.Context(), now.Add(2*time.Minute), time.Minute))(t); again == nil {
		t.Fatal("a lease never ended")
	}
	if err := s.Delivered(t.Context(), "one", "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delivered(t.Context(), "two", "it is down", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if none := must(s.Claim(t.Context(), now.Add(30*time.Minute), time.Minute))(t); none != nil {
		t.Errorf("claimed %+v before it is due", none)
	}
	later := must(s.Claim(t.Context(), now.Add(2*time.Hour), time.Minute))(t)
	if later == nil || later.ID != "two" || later.Tries != 1 || later.Reason != "it is down" {
		t.Errorf("claimed %+v", later)
	}
	if all := must(s.Events(t.Context(), 10))(t); len(all) != 2 || all[0].ID != "two" || !all[1].Delivered {
		t.Errorf("events are %+v", all)
	}
}

func testChangeLog(t *testing.T, open Open) {
	s := open(t, "a")
	put(t, s, Arrival(1, 10, 11))
	seen := Load(t, s)
	put(t, s, Arrival(2, 11, 12))
	if err := s.Refuse(t.Context(), store.Refusal{Name: "x", Digest: Digest(9), Code: "no-sbom", Reason: "r", Last: start}); err != nil {
		t.Fatal(err)
	}
	doImport(t, s, false, Row("debian", 1, "a"))
	must(s.PutVEX(t.Context(), store.VEX{Key: "v", Body: []byte("{}"), At: start}))(t)
	if err := s.Retire(t.Context(), Digest(1), start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	d := must(s.Changes(t.Context(), seen.Seq, 2, 100))(t)
	var kinds []store.Kind
	for i, c := range d.Changes {
		if c.Seq != seen.Seq+int64(i)+1 {
			t.Errorf("entry %d has the number %d", i, c.Seq)
		}
		kinds = append(kinds, c.Kind)
	}
	want := []store.Kind{store.ImageChange, store.RefusalChange, store.ImportChange, store.VEXChange, store.ImageChange}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Fatal(diff)
	}
	if len(d.Packages) != 1 || d.Packages[0].ID != 3 {
		t.Errorf("new packages are %+v", d.Packages)
	}
	if got := d.Changes[4].Image; got.ID != 1 || got.Until.IsZero() {
		t.Errorf("the retired record is %+v", got)
	}
	if first := must(s.Changes(t.Context(), 0, 0, 2))(t); len(first.Changes) != 2 {
		t.Errorf("limit 2 gave %d entries", len(first.Changes))
	}
	if none := must(s.Changes(t.Context(), d.Changes[4].Seq, 3, 10))(t); len(none.Changes)+len(none.Packages) != 0 {
		t.Errorf("at the end: %+v", none)
	}
}

// Two users of one store write at once; a third follows the log. Nothing is
// lost, doubled, or out of order.
func testReplicas(t *testing.T, open Open) {
	a, b := open(t, "a"), open(t, "a")
	const each, images = 60, 90
	var group sync.WaitGroup
	for w, s := range []store.Store{a, b, a, b} {
		group.Go(func() {
			for n := range each {
				image := n + (w/2)*(images-each) // the two halves overlap
				if _, err := s.Put(context.WithoutCancel(t.Context()), []store.Arrival{Arrival(image, image, image+1, image+2, n%7+1000)}); err != nil {
					t.Errorf("storing image %d: %v", image, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	follower := open(t, "a")
	var seq int64
	var top uint32
	seen := map[uint32]bool{}
	for ended := false; ; {
		d, err := follower.Changes(t.Context(), seq, top, 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Packages {
			if p.ID != top+1 {
				t.Fatalf("package %d follows %d", p.ID, top)
			}
			top = p.ID
		}
		for _, c := range d.Changes {
			if c.Seq != seq+1 {
				t.Fatalf("entry %d follows %d", c.Seq, seq)
			}
			seq = c.Seq
			for _, p := range c.Image.Packages {
				if p > top {
					t.Fatalf("image record %d holds package %d before it is known", c.Image.ID, p)
				}
			}
			seen[c.Image.ID] = true
		}
		if ended && len(d.Changes) == 0 {
			break
		}
		select {
		case <-done:
			ended = true
		default:
		}
	}
	c := Load(t, follower)
	c.Check(t)
	if len(c.Images) != images || len(seen) != images {
		t.Errorf("%d records, %d followed, of %d images", len(c.Images), len(seen), images)
	}
}

func testBatcher(t *testing.T, open Open) {
	s := open(t, "a")
	b := store.NewBatcher(s, nil)
	var group sync.WaitGroup
	for n := range 100 {
		group.Go(func() {
			if o, err := b.Put(context.WithoutCancel(t.Context()), Arrival(n, n, n+1)); err != nil || o.Result != store.Stored {
				t.Errorf("image %d: %+v, %v", n, o, err)
			}
		})
	}
	group.Wait()
	b.Close()
	if _, err := b.Put(t.Context(), Arrival(1000, 1)); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after closing: %v", err)
	}
	c := Load(t, s)
	c.Check(t)
	if len(c.Images) != 100 || len(c.Packages) != 101 {
		t.Errorf("%d images, %d packages", len(c.Images), len(c.Packages))
	}
}

func fillEverything(t *testing.T, s store.Store) {
	put(t, s, Arrival(1, 10, 11), Arrival(2, 11))
	noted := Arrival(3, 12)
	noted.Packages[0].Notes = []byte("MIT")
	put(t, s, noted)
	doImport(t, s, false, Row("debian", 1, "a"), Row("debian", 2, "b"))
	n := doImport(t, s, false, Row("debian", 1, "A")).N
	must(s.Announce(t.Context(), n, []store.Event{{ID: "e", At: start, Body: []byte("x")}}))(t)
	must(s.PutVEX(t.Context(), store.VEX{Key: "v", Body: []byte("{}"), At: start, Verified: true}))(t)
	if err := s.Refuse(t.Context(), store.Refusal{Name: "x", Code: "no-sbom", Reason: "r", Last: start}); err != nil {
		t.Fatal(err)
	}
}

// A store moves to SQLite and back, whatever it is.
func testCopy(t *testing.T, open Open) {
	s := open(t, "a")
	fillEverything(t, s)
	want := Load(t, s)
	file := must(sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "copy.db")))(t)
	defer file.Close()
	back := open(t, "b")
	for _, step := range []struct{ from, to store.Store }{{s, file}, {file, back}} {
		if _, err := store.Copy(t.Context(), step.to, step.from); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, Load(t, step.to), cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	}
	if _, err := store.Copy(t.Context(), back, s); err == nil {
		t.Error("a store that is not empty was filled")
	}
	if got := put(t, back, Arrival(50, 10, 99)); got[0].ID != 4 || got[0].NewPackages != 1 {
		t.Errorf("the copy goes on with %+v", got)
	}
	if d := must(back.Changes(t.Context(), want.Seq, uint32(len(want.Packages)), 10))(t); len(d.Changes) != 1 {
		t.Errorf("the copy's log goes on with %+v", d)
	}
}

func testReopen(t *testing.T, open Open) {
	s := open(t, "a")
	fillEverything(t, s)
	want := Load(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, "a")
	if d := cmp.Diff(want, Load(t, again)); d != "" {
		t.Error(d)
	}
	if got := put(t, again, Arrival(1, 10, 11)); got[0].Result != store.Unchanged {
		t.Errorf("known evidence after a restart: %+v", got)
	}
}
