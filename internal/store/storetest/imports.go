package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/store"
)

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

// leased is a store whose lease a test can make short.
type leased interface {
	store.Store
	SetLease(time.Duration)
}

// An import whose rows come slowly is not taken for dead.
func testSlowImport(t *testing.T, open Open) {
	s, other := open(t, "a").(leased), open(t, "a")
	const lease = 200 * time.Millisecond
	s.SetLease(lease)
	_, err := s.Import(t.Context(), store.Dataset{Source: "slow", At: start}, func(yield func(store.Row, error) bool) {
		if !yield(Row("x", 1, "a"), nil) {
			return
		}
		enough := time.After(4 * lease)
		for waiting := true; waiting; {
			if _, err := other.Import(t.Context(), store.Dataset{Source: "other", At: start}, rowsOf(Row("y", 1, "a"))); !errors.Is(err, store.ErrBusy) {
				t.Errorf("another import while a slow one runs: %v", err)
				return
			}
			select {
			case <-enough:
				waiting = false
			case <-time.After(lease / 10):
			}
		}
		yield(Row("x", 2, "a"), nil)
	})
	if err != nil {
		t.Error(err)
	}
	if rows := Load(t, other).Rows; len(rows) != 2 {
		t.Errorf("rows are %+v", rows)
	}
}

// An import whose process is gone holds off another for the time of its lease,
// and leaves nothing behind.
func testDeadImport(t *testing.T, open Open) {
	s, other := open(t, "a").(leased), open(t, "a")
	doImport(t, other, false, Row("x", 1, "old"))
	s.SetLease(500 * time.Millisecond)
	_, err := s.Import(t.Context(), store.Dataset{Source: "dying", At: start}, func(yield func(store.Row, error) bool) {
		for n := range 700 { // more than are staged at once
			if !yield(Row("x", n, "dying"), nil) {
				return
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		yield(Row("x", 700, "dying"), nil)
	})
	if err == nil {
		t.Fatal("an import without a store went well")
	}
	busy := 0
	for {
		_, err = other.Import(t.Context(), store.Dataset{Source: "next", At: start}, rowsOf(Row("x", 2, "new")))
		if !errors.Is(err, store.ErrBusy) {
			break
		}
		busy++
		<-time.After(20 * time.Millisecond)
	}
	if err != nil || busy == 0 {
		t.Errorf("the next import was held off %d times, then %v", busy, err)
	}
	c := Load(t, other)
	c.Check(t)
	live := 0
	for _, r := range c.Rows {
		if string(r.Body) == "dying" {
			t.Fatalf("a row of the dead import stands: %+v", r)
		}
		if r.Removed == 0 {
			live++
		}
	}
	if len(c.Imports) != 2 || live != 1 {
		t.Errorf("%d imports, %d standing rows", len(c.Imports), live)
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
