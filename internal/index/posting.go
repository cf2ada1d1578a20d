package index

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
)

// most is how many images a posting keeps as gaps. A bitmap holds more in less,
// and says of one image whether it is there without reading all before it; but
// nearly all packages of an estate are in few images, and each bitmap costs 200
// bytes and two for an image.
const most = 2048

// posting is the set of images that hold a package: ascending, each as its
// distance to the one before, a varint; or a bitmap, once there are many.
type posting struct {
	gaps    []byte
	last, n uint32 // of gaps
	many    *roaring.Bitmap
}

// postingOf makes a posting, without slack, of ascending images.
func postingOf(images []uint32) (p posting) {
	if len(images) > most {
		grown := roaring.New()
		grown.AddMany(images)
		grown.RunOptimize()
		p.many = grown.Clone() // A copy has no slack.
		return p
	}
	room := make([]byte, 0, 2*len(images))
	for _, image := range images {
		room = binary.AppendUvarint(room, uint64(image-p.last))
		p.last = image
	}
	p.gaps, p.n = slices.Clone(room), uint32(len(images))
	return p
}

func (p *posting) add(image uint32) {
	switch {
	case p.many != nil:
		p.many.Add(image)
	case p.n > 0 && image <= p.last: // Never in a store's log, whose images ascend.
		var images []uint32
		p.each(func(run []uint32) { images = append(images, run...) })
		if at, found := slices.BinarySearch(images, image); !found {
			*p = postingOf(slices.Insert(images, at, image))
		}
	case p.n == most:
		grown := roaring.New()
		p.each(grown.AddMany)
		grown.Add(image)
		*p = posting{many: grown}
	default:
		p.gaps = binary.AppendUvarint(p.gaps, uint64(image-p.last))
		p.last = image
		p.n++
	}
}

// size counts all images, also those that are gone.
func (p *posting) size() int {
	if p.many != nil {
		return int(p.many.GetCardinality())
	}
	return int(p.n)
}

// walk is what going over a posting takes. A question goes over thousands, and
// the service's memory is bounded: what it needs is used again.
type walk struct {
	over   roaring.ManyIntIterator
	images [512]uint32
}

var walks = sync.Pool{New: func() any { return new(walk) }}

// each calls visit with all images, in runs that are valid until it returns.
func (p *posting) each(visit func([]uint32)) {
	w := walks.Get().(*walk)
	defer walks.Put(w)
	if p.many != nil {
		w.over.Initialize(p.many)
		for n := w.over.NextMany(w.images[:]); n > 0; n = w.over.NextMany(w.images[:]) {
			visit(w.images[:n])
		}
		w.over = roaring.ManyIntIterator{} // It holds on to the bitmap.
		return
	}
	n, last := 0, uint32(0)
	for gaps := p.gaps; len(gaps) > 0; {
		gap, length := uvarint(gaps)
		last, gaps = last+uint32(gap), gaps[length:]
		if w.images[n] = last; n == len(w.images)-1 {
			visit(w.images[:])
			n = 0
			continue
		}
		n++
	}
	if n > 0 {
		visit(w.images[:n])
	}
}

// set is a set of images as plain bits: at 100,000 images it is 12 KiB, and
// joining postings into it is the fastest there is. Sets are compared with those
// of the same length, which is that of Index.live.
type set []uint64

func (s set) add(image uint32)      { s[image>>6] |= 1 << (image & 63) }
func (s set) remove(image uint32)   { s[image>>6] &^= 1 << (image & 63) }
func (s set) has(image uint32) bool { return s[image>>6]&(1<<(image&63)) != 0 }

func (s set) join(p *posting) {
	p.each(func(images []uint32) {
		for _, image := range images {
			s.add(image)
		}
	})
}

func (s set) intersect(o set) {
	for i := range s {
		s[i] &= o[i]
	}
}

func (s set) count() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// countBoth counts what s and o share.
func (s set) countBoth(o set) int {
	n := 0
	for i, word := range s {
		n += bits.OnesCount64(word & o[i])
	}
	return n
}

// newest gives up to n members below the given one, the greatest first.
func (s set) newest(below uint32, n int) []uint32 {
	var out []uint32
	for i := min(len(s)-1, int(below>>6)); i >= 0 && len(out) < n; i-- {
		word := s[i]
		if uint32(i) == below>>6 {
			word &= 1<<(below&63) - 1
		}
		for word != 0 && len(out) < n {
			top := 63 - bits.LeadingZeros64(word)
			out = append(out, uint32(i<<6+top))
			word &^= 1 << top
		}
	}
	return out
}

// all gives the members in order.
func (s set) all(visit func(uint32)) {
	for i, word := range s {
		for word != 0 {
			visit(uint32(i<<6 + bits.TrailingZeros64(word)))
			word &= word - 1
		}
	}
}

var errList = errors.New("the package list is damaged")

// EncodeList writes ascending package identifiers as the differences between
// them, each a varint: about 1.2 bytes a package. It sorts ids in place and
// drops repetitions.
func EncodeList(ids []uint32) []byte {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	out := make([]byte, 0, len(ids)*2)
	last := uint32(0)
	for _, id := range ids {
		out = binary.AppendUvarint(out, uint64(id-last))
		last = id
	}
	return out
}

// DecodeList reads what EncodeList writes and appends it to ids.
func DecodeList(list []byte, ids []uint32) ([]uint32, error) {
	last := uint64(0)
	for len(list) > 0 {
		step, n := uvarint(list)
		if last += step; n <= 0 || step == 0 || last > 1<<32-1 {
			return ids, errList
		}
		list = list[n:]
		ids = append(ids, uint32(last))
	}
	return ids, nil
}

// uvarint is binary.Uvarint, faster for the many steps of one byte.
func uvarint(list []byte) (uint64, int) {
	if list[0] < 0x80 {
		return uint64(list[0]), 1
	}
	return binary.Uvarint(list)
}
