package index

import (
	"cmp"
	"slices"

	"github.com/hallmark-sh/hallmark/internal/component"
)

// maxDoubts bounds the list of packages that can't be compared.
const maxDoubts = 50

func (d *Doubts) uncomparable(u Uncomparable) {
	d.UncomparableTotal++
	if len(d.Uncomparable) < maxDoubts {
		d.Uncomparable = append(d.Uncomparable, u)
	}
}

// doubtsAt are the doubts of the whole estate at a time. Those of now are kept
// until something changes.
func (ix *Index) doubtsAt(p page) Doubts {
	if p.at == 0 {
		if known := ix.doubts.Load(); known != nil {
			return *known
		}
	}
	d := ix.estate(p)
	// Whoever gets a copy may append to its lists, and must not write into
	// those of another.
	d.Uncovered, d.Uncomparable = slices.Clip(d.Uncovered), slices.Clip(d.Uncomparable)
	if p.at == 0 {
		ix.doubts.Store(&d)
	}
	return d
}

func (ix *Index) estate(p page) Doubts {
	var d Doubts
	d.NoAdvisories = !slices.ContainsFunc(ix.records, func(r *record) bool { return r.valid(p.at) })
	noDistro, noPURL := make(set, len(p.there)), make(set, len(p.there))
	for n := range ix.ecos {
		e := &ix.ecos[n]
		images := make(set, len(p.there))
		images.join(&e.images)
		images.intersect(p.there)
		total := images.count()
		switch {
		case total == 0:
		case e.typ == component.Unknown:
			d.NoPURL += e.packages
			noPURL.join(&e.images)
		case component.OS(e.typ) && e.distro == "":
			d.NoDistro += e.packages
			noDistro.join(&e.images)
		case !ix.covered(e.typ, e.distro, p.at):
			d.Uncovered = append(d.Uncovered, Uncovered{e.label(), e.packages, total})
		}
	}
	noDistro.intersect(p.there)
	noPURL.intersect(p.there)
	d.NoDistroImages, d.NoPURLImages = noDistro.count(), noPURL.count()
	slices.SortFunc(d.Uncovered, func(a, b Uncovered) int {
		return cmp.Or(cmp.Compare(b.Images, a.Images), cmp.Compare(a.Ecosystem, b.Ecosystem))
	})
	for _, r := range ix.refusals {
		at := p.at
		if at == 0 && r.ended.IsZero() || at != 0 && nanos(r.Recorded) <= at && (r.ended.IsZero() || nanos(r.ended) > at) {
			d.Refused++
		}
	}
	return d
}

// covered says that there were advisories for an ecosystem at a time.
func (ix *Index) covered(typ, distro string, at int64) bool {
	held := func(key string) bool {
		s, ok := ix.coverage[key]
		if at == 0 {
			return ok && s.open > 0
		}
		return ok && s.from <= at && (s.open > 0 || at < s.to)
	}
	if !component.OS(typ) {
		return held(typ + licenceSeparator)
	}
	return slices.ContainsFunc(ix.releases(distro), func(release string) bool { return held(typ + licenceSeparator + release) })
}
