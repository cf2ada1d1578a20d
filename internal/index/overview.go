package index

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// Licences answers which licences packages carry, the most spread first. With
// a licence, it also names the packages that carry it.
func (ix *Index) Licences(licence string, o Options) (Licences, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p, err := ix.page(o)
	if err != nil {
		return Licences{}, err
	}
	l := Licences{Licences: []LicenceCount{}, Doubts: ix.doubtsAt(p)}
	l.Doubts.Unverified = p.there.countBoth(ix.unverified)
	carriers := map[string][]uint32{}
	for id := range ix.packages {
		k := &ix.packages[id]
		if k.name == 0 || k.images.size() == 0 {
			continue
		}
		if k.licences == 0 {
			l.Undeclared++
			continue
		}
		for _, one := range strings.Split(ix.texts.list[k.licences], licenceSeparator) {
			if licence == "" || strings.EqualFold(one, licence) {
				carriers[one] = append(carriers[one], uint32(id))
			}
		}
	}
	for one, ids := range carriers {
		if n := ix.holders(ids, p.there).count(); n > 0 {
			l.Licences = append(l.Licences, LicenceCount{one, len(ids), n})
		}
		if licence != "" {
			more, _ := ix.versions(ids, p.there)
			l.Packages = append(l.Packages, more...)
		}
	}
	slices.SortFunc(l.Licences, func(a, b LicenceCount) int {
		return cmp.Or(cmp.Compare(b.Images, a.Images), cmp.Compare(b.Packages, a.Packages), strings.Compare(a.Licence, b.Licence))
	})
	l.Total = len(l.Licences)
	// A page here is a run of the list, and the cursor its place.
	from := 0
	if o.Cursor != "" {
		from = min(int(p.below), l.Total)
	}
	to := min(from+p.limit, l.Total)
	if to < l.Total {
		l.Next = strconv.FormatInt(int64(to), 36)
	}
	l.Licences = l.Licences[from:to]
	return l, nil
}

// Top answers with one ranking, of Options.Limit places.
func (ix *Index) Top(kind string, o Options) (Top, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p, err := ix.page(o)
	if err != nil {
		return Top{}, err
	}
	t := Top{Kind: kind, Doubts: ix.doubtsAt(p)}
	t.Doubts.Unverified = p.there.countBoth(ix.unverified)
	switch kind {
	case TopImages:
		ix.worst(&t, p)
	case TopPackages:
		ix.commonest(&t, p)
	case TopOldest:
		ix.oldest(&t, p)
	default:
		return Top{}, fmt.Errorf("there is no ranking %q; there are %s, %s and %s", kind, TopImages, TopPackages, TopOldest)
	}
	return t, nil
}

// tally counts the findings of an image, the worst severity first so that it
// compares as it ranks.
type tally struct {
	of  [finding.Critical + 1]int32
	kev int32
}

func (a *tally) add(b *tally) {
	for s, n := range b.of {
		a.of[s] += n
	}
	a.kev += b.kev
}

func (a *tally) compare(b *tally) int {
	for s := finding.Critical; s > finding.Negligible; s-- {
		if c := cmp.Compare(b.of[s], a.of[s]); c != 0 {
			return c
		}
	}
	return cmp.Compare(b.of[finding.Unknown], a.of[finding.Unknown])
}

// tallies counts the findings of every image, package by package.
func (ix *Index) tallies(p page) []tally {
	all := make([]tally, len(ix.images))
	type weight struct {
		severity finding.Severity
		kev      bool
	}
	weights := map[*record]weight{}
	for id, hits := range ix.hits {
		var found tally // in every image that holds the package
		for _, h := range hits {
			if !h.record.valid(p.at) {
				continue
			}
			w, ok := weights[h.record]
			if !ok {
				group := ix.group(h.record.Names(), p.at)
				w.severity, _ = chain(h.record, group)
				w.kev = exploited(group)
				weights[h.record] = w
			}
			found.of[w.severity]++
			if w.kev {
				found.kev++
			}
		}
		if found == (tally{}) {
			continue
		}
		ix.packages[id].images.each(func(images []uint32) {
			for _, image := range images {
				all[image].add(&found)
			}
		})
	}
	return all
}

func (ix *Index) worst(t *Top, p page) {
	all := ix.tallies(p)
	var ids []uint32
	p.there.all(func(id uint32) {
		if all[id] != (tally{}) {
			ids = append(ids, id)
		}
	})
	slices.SortFunc(ids, func(a, b uint32) int { return cmp.Or(all[a].compare(&all[b]), cmp.Compare(b, a)) })
	t.Total, t.Images = len(ids), []ImageCounts{}
	for _, id := range ids[:min(len(ids), p.limit)] {
		t.Images = append(t.Images, ix.counted(id, &all[id]))
	}
}

func (ix *Index) counted(id uint32, n *tally) ImageCounts {
	c := ImageCounts{ImageRef: ix.ref(id), Built: instant(ix.images[id].built), Counts: map[finding.Severity]int{}, KEV: int(n.kev)}
	for s, count := range n.of {
		if count > 0 {
			c.Counts[finding.Severity(s)] = int(count)
		}
	}
	return c
}

func (ix *Index) commonest(t *Top, p page) {
	var ids []uint32
	for id := range ix.packages {
		if ix.packages[id].name != 0 && ix.packages[id].images.size() > 0 {
			ids = append(ids, uint32(id))
		}
	}
	t.Total = len(ids)
	// The size before removals orders well enough to choose whom to count.
	slices.SortFunc(ids, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(ix.packages[b].images.size(), ix.packages[a].images.size()), cmp.Compare(a, b))
	})
	t.Packages = []VersionCount{}
	for _, id := range ids[:min(len(ids), 4*p.limit)] {
		if n := ix.holdersOf(id, p.there); n > 0 {
			t.Packages = append(t.Packages, VersionCount{ix.packageOf(id), n})
		}
	}
	slices.SortStableFunc(t.Packages, func(a, b VersionCount) int { return cmp.Compare(b.Images, a.Images) })
	t.Packages = t.Packages[:min(len(t.Packages), p.limit)]
}

// oldest ranks by the time an image was built, or was taken in where that is
// not known.
func (ix *Index) oldest(t *Top, p page) {
	age := func(id uint32) int64 {
		if built := ix.images[id].built; built != 0 {
			return built
		}
		return ix.images[id].recorded
	}
	var ids []uint32
	p.there.all(func(id uint32) { ids = append(ids, id) })
	slices.SortFunc(ids, func(a, b uint32) int { return cmp.Or(cmp.Compare(age(a), age(b)), cmp.Compare(a, b)) })
	t.Total, t.Images = len(ids), []ImageCounts{}
	all := ix.tallies(p)
	for _, id := range ids[:min(len(ids), p.limit)] {
		t.Images = append(t.Images, ix.counted(id, &all[id]))
	}
}
