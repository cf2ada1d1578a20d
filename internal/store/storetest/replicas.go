package storetest

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

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
