package index

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// fewest is how many images a posting keeps as a plain list. Half of all
// packages of an estate occur once, and a bitmap of one costs 250 bytes.
const fewest = 32

// posting is the set of images that hold a package.
type posting struct {
	few  []uint32 // ascending; nil once many is set
	many *roaring.Bitmap
}

func (p *posting) add(image uint32) {
	if p.many != nil {
		p.many.Add(image)
		return
	}
	at, found := slices.BinarySearch(p.few, image)
	switch {
	case found:
	case len(p.few) < fewest:
		p.few = slices.Insert(p.few, at, image)
	default:
		p.many = roaring.BitmapOf(p.few...)
		p.many.Add(image)
		p.few = nil
	}
}

func (p *posting) contains(image uint32) bool {
	if p.many != nil {
		return p.many.Contains(image)
	}
	_, found := slices.BinarySearch(p.few, image)
	return found
}

// size counts all images, also those that are gone.
func (p *posting) size() int {
	if p.many != nil {
		return int(p.many.GetCardinality())
	}
	return len(p.few)
}

// each calls visit with all images, in runs.
func (p *posting) each(visit func([]uint32)) {
	if p.many == nil {
		visit(p.few)
		return
	}
	var buffer [512]uint32
	for it := p.many.ManyIterator(); ; {
		n := it.NextMany(buffer[:])
		if n == 0 {
			return
		}
		visit(buffer[:n])
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
