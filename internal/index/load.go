package index

import (
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// together is how many places of packages in images EndLoad sorts at once in
// one run: 24 MiB of them. Two runs go side by side.
const together = 6 << 20

// StartLoad says that the images of a whole store follow, by AddImage: the
// sets of images are then made all at once by EndLoad, several times faster
// and without slack. Until then no question must be asked. It must be called
// before the first image.
func (ix *Index) StartLoad() {
	ix.writing.Lock()
	defer ix.writing.Unlock()
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.loading = len(ix.images) == 1
}

// EndLoad makes the sets of images of what was added since StartLoad.
func (ix *Index) EndLoad() {
	ix.writing.Lock()
	defer ix.writing.Unlock()
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if !ix.loading {
		return
	}
	ix.loading = false
	counts := make([]uint32, len(ix.packages))
	var buffer []uint32
	for image := range ix.images {
		buffer = ix.packagesOf(uint32(image), buffer[:0])
		for _, id := range buffer {
			counts[id]++
		}
		ix.markEcos(uint32(image), buffer)
	}
	// Runs of packages have nothing in common, and go side by side.
	var group errgroup.Group
	group.SetLimit(min(2, runtime.GOMAXPROCS(0)))
	for from := 0; from < len(counts); {
		to, sum := from, 0
		for to < len(counts) && (to == from || sum+int(counts[to]) <= together) {
			sum += int(counts[to])
			to++
		}
		first, last, places := from, to, sum
		group.Go(func() error { ix.fill(first, last, places, counts); return nil })
		from = to
	}
	_ = group.Wait() // none of them gives an error
	// Growing left room for a quarter more.
	ix.packages, ix.images = slices.Clone(ix.packages), slices.Clone(ix.images)
	ix.doubts.Store(nil)
}

// fill makes the sets of the packages in a run of identifiers, which are in
// sum places.
func (ix *Index) fill(from, to, sum int, counts []uint32) {
	places := make([]uint32, sum)
	next := make([]uint32, to-from)
	at := uint32(0)
	for n := range next {
		next[n] = at
		at += counts[from+n]
	}
	for image := range ix.images {
		// A list begins with its least package: what follows the run is not
		// decoded.
		list, id := ix.lists.get(ix.images[image].packages), uint64(0)
		for len(list) > 0 {
			step, n := uvarint(list)
			if id += step; n <= 0 || id >= uint64(to) {
				break
			}
			if list = list[n:]; id >= uint64(from) {
				at := &next[int(id)-from]
				places[*at] = uint32(image)
				*at++
			}
		}
	}
	for n := range next {
		ix.packages[from+n].images = postingOf(places[next[n]-counts[from+n] : next[n]])
	}
}

// markEcos adds an image to the ecosystems of its packages.
func (ix *Index) markEcos(image uint32, ids []uint32) {
	var last uint32
	for n, id := range ids {
		e := ix.packages[id].eco
		if n > 0 && e == last {
			continue
		}
		last = e
		ix.ecos[e].images.add(image)
	}
}
