package storetest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// A batch has the effect of its images put one after another, however often one
// image is in it: with other evidence, with another name, unverified.
func testOneBatch(t *testing.T, open Open) {
	together, alone := open(t, "a"), open(t, "b")
	r := rand.New(rand.NewPCG(7, 11))
	const digests = 6
	for round := range 20 {
		// One of the images was refused before.
		for _, s := range []store.Store{together, alone} {
			refusal := store.Refusal{Name: "x", Digest: Digest(round % digests), Code: "no-sbom", Reason: "r", Last: start}
			if err := s.Refuse(t.Context(), refusal); err != nil {
				t.Fatal(err)
			}
		}
		var batch []store.Arrival
		for n := range 1 + r.IntN(25) {
			a := Arrival(r.IntN(digests), r.IntN(40), 40+round)
			a.Evidence = Digest(2_000_000 + r.IntN(2))
			a.Verified = r.IntN(3) > 0
			a.Name += ":" + string(rune('a'+r.IntN(6)))
			a.At = start.Add(time.Duration(round*100+n-r.IntN(50)) * time.Second)
			if r.IntN(4) == 0 {
				a.Packages[0].Notes = []byte("MIT")
			}
			batch = append(batch, a)
		}
		got := put(t, together, batch...)
		var want []store.Outcome
		for _, a := range batch {
			want = append(want, put(t, alone, a)...)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("round %d, outcomes: %s", round, d)
		}
		c := Load(t, together)
		c.Check(t)
		if d := cmp.Diff(Load(t, alone), c, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("round %d: %s", round, d)
		}
	}
}
