package index

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// FuzzPosting adds images, in order and out of it, on both sides of where a
// posting becomes a bitmap, and asks for them again; made at once it is the same.
func FuzzPosting(f *testing.F) {
	f.Add(uint64(1), uint16(5), uint32(10), false)
	f.Add(uint64(2), uint16(3000), uint32(100_000), false)
	f.Add(uint64(3), uint16(2049), uint32(1<<31), true)
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, below uint32, shuffled bool) {
		r := rand.New(rand.NewPCG(seed, 3))
		var images []uint32
		for range n % 5000 {
			images = append(images, r.Uint32N(max(below, 1)))
		}
		want := slices.Clone(images)
		slices.Sort(want)
		want = slices.Compact(want)
		if !shuffled {
			images = want
		}
		var grown posting
		for _, image := range images {
			grown.add(image)
		}
		made := postingOf(want)
		for name, p := range map[string]*posting{"grown": &grown, "made": &made} {
			var got []uint32
			p.each(func(run []uint32) { got = append(got, run...) })
			if !slices.Equal(got, want) || p.size() != len(want) {
				t.Fatalf("%s: %d images, size %d, not %d", name, len(got), p.size(), len(want))
			}
			if (p.many != nil) != (len(want) > most) {
				t.Fatalf("%s: %d images are kept in the wrong way", name, len(want))
			}
		}
	})
}
