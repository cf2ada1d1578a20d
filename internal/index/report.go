package index

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/finding"
)

// Image answers what an image holds and what is found in it. ref is a digest,
// repository@digest, repository:tag, or a repository with one image.
func (ix *Index) Image(ref string, o Options) (ImageReport, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p, err := ix.page(o)
	if err != nil {
		return ImageReport{}, err
	}
	id, err := ix.find(ref, p.there)
	if err != nil {
		return ImageReport{}, err
	}
	i := &ix.images[id]
	r := ImageReport{
		ImageRef: ix.ref(id), Source: ix.texts.list[i.source], Built: instant(i.built),
		Packages: []PackageNote{}, Counts: map[finding.Severity]int{},
	}
	ids := ix.packagesOf(id, nil)
	for _, one := range ids {
		r.Packages = append(r.Packages, ix.note(one))
	}
	slices.SortFunc(r.Packages, func(a, b PackageNote) int { return byName(a.Package, b.Package) })
	r.Findings = ix.findingsOf(id, ids, p, o.VEX)
	for _, f := range r.Findings {
		r.Counts[f.Severity]++
	}
	r.Doubts = ix.doubtsOf(id, ids, p)
	return r, nil
}

func (ix *Index) note(id uint32) PackageNote {
	n := PackageNote{Package: ix.packageOf(id), Supplier: ix.texts.list[ix.packages[id].supplier]}
	if text := ix.texts.list[ix.packages[id].licences]; text != "" {
		n.Licences = strings.Split(text, licenceSeparator)
	}
	return n
}

func byName(a, b component.Package) int {
	return cmp.Or(
		strings.Compare(a.Type, b.Type), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name),
		strings.Compare(a.Version, b.Version), strings.Compare(a.Key(), b.Key()),
	)
}

// findingsOf are the findings of an image, the worst first; vex leaves out
// what VEX clears.
func (ix *Index) findingsOf(image uint32, ids []uint32, p page, vex bool) []Hit {
	out := []Hit{}
	for _, id := range ids {
		for _, h := range ix.found(id, p.at) {
			group := ix.group(h.record.Names(), p.at)
			hit := ix.answer(h, id, group)
			names := upper(h.record.Names())
			hit.Exploitability = ix.exploitability(ix.documents(names, p.at), hit.ID, names, hit.Package, image)
			if vex && hit.Exploitability != nil && hit.Exploitability.Clears() {
				continue
			}
			out = append(out, hit)
		}
	}
	slices.SortStableFunc(out, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), strings.Compare(a.ID, b.ID), byName(a.Package, b.Package))
	})
	return out
}

func upper(names []string) []string {
	out := make([]string, len(names))
	for n, name := range names {
		out[n] = strings.ToUpper(name)
	}
	return out
}

// doubtsOf are the doubts about one image.
func (ix *Index) doubtsOf(image uint32, ids []uint32, p page) Doubts {
	d := Doubts{NoAdvisories: ix.doubtsAt(p).NoAdvisories}
	uncovered := map[uint32]int{}
	held := map[uint32]bool{}
	for _, id := range ids {
		held[id] = true
		e := &ix.ecos[ix.packages[id].eco]
		switch {
		case e.typ == component.Unknown:
			d.NoPURL++
		case component.OS(e.typ) && e.distro == "":
			d.NoDistro++
		case !ix.covered(e.typ, e.distro, p.at):
			uncovered[ix.packages[id].eco]++
		}
	}
	d.NoPURL += int(ix.images[image].unidentified)
	d.NoPURLImages, d.NoDistroImages = min(d.NoPURL, 1), min(d.NoDistro, 1)
	for n, count := range uncovered {
		d.Uncovered = append(d.Uncovered, Uncovered{ix.ecos[n].label(), count, 1})
	}
	slices.SortFunc(d.Uncovered, func(a, b Uncovered) int { return strings.Compare(a.Ecosystem, b.Ecosystem) })
	for _, r := range ix.doubtful {
		if !r.valid(p.at) {
			continue
		}
		for _, one := range r.doubts {
			if held[one.pkg] {
				d.uncomparable(Uncomparable{ix.packageOf(one.pkg), r.ID, one.reason, 1})
			}
		}
	}
	if !ix.images[image].verified {
		d.Unverified = 1
	}
	return d
}

// label names an ecosystem in an answer.
func (e *eco) label() string {
	if e.distro != "" {
		return e.typ + " (" + e.distro + ")"
	}
	return e.typ
}

// Compare answers what changed from image a to image b.
func (ix *Index) Compare(a, b string, o Options) (Diff, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p, err := ix.page(o)
	if err != nil {
		return Diff{}, err
	}
	from, err := ix.find(a, p.there)
	if err != nil {
		return Diff{}, err
	}
	to, err := ix.find(b, p.there)
	if err != nil {
		return Diff{}, err
	}
	fromIDs, toIDs := ix.packagesOf(from, nil), ix.packagesOf(to, nil)
	d := Diff{From: ix.ref(from), To: ix.ref(to)}
	ix.packagesChanged(&d, fromIDs, toIDs)
	findingsChanged(&d, ix.findingsOf(from, fromIDs, p, o.VEX), ix.findingsOf(to, toIDs, p, o.VEX))
	d.Doubts = joinDoubts(ix.doubtsOf(from, fromIDs, p), ix.doubtsOf(to, toIDs, p))
	return d, nil
}

func (ix *Index) packagesChanged(d *Diff, from, to []uint32) {
	d.Added, d.Removed, d.Changed = []component.Package{}, []component.Package{}, []VersionChange{}
	left, right := map[uint32][]uint32{}, map[uint32][]uint32{} // by name
	for _, id := range from {
		left[ix.packages[id].name] = append(left[ix.packages[id].name], id)
	}
	for _, id := range to {
		right[ix.packages[id].name] = append(right[ix.packages[id].name], id)
	}
	for n, ids := range left {
		switch others := right[n]; {
		case len(others) == 0:
			for _, id := range ids {
				d.Removed = append(d.Removed, ix.packageOf(id))
			}
		case !slices.Equal(ids, others):
			c := ix.packageOf(ids[0])
			d.Changed = append(d.Changed, VersionChange{c.Type, c.FullName(), ix.versionsOf(ids), ix.versionsOf(others)})
		}
	}
	for n, ids := range right {
		if len(left[n]) > 0 {
			continue
		}
		for _, id := range ids {
			d.Added = append(d.Added, ix.packageOf(id))
		}
	}
	slices.SortFunc(d.Added, byName)
	slices.SortFunc(d.Removed, byName)
	slices.SortFunc(d.Changed, func(a, b VersionChange) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
	})
}

// versionsOf are the versions of packages of one name; the distribution or
// source package is added where the version alone says nothing new.
func (ix *Index) versionsOf(ids []uint32) []string {
	var out []string
	for _, id := range ids {
		out = append(out, ix.packages[id].version)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func findingsChanged(d *Diff, from, to []Hit) {
	d.FindingsAdded, d.FindingsRemoved = []Hit{}, []Hit{}
	key := func(h Hit) string { return h.Provider + "/" + h.ID + " " + h.Package.Type + " " + h.Package.FullName() }
	before, after := map[string]bool{}, map[string]bool{}
	for _, h := range from {
		before[key(h)] = true
	}
	for _, h := range to {
		after[key(h)] = true
		if !before[key(h)] {
			d.FindingsAdded = append(d.FindingsAdded, h)
		}
	}
	for k := range before {
		if after[k] {
			d.FindingsKept++
		}
	}
	for _, h := range from {
		if !after[key(h)] {
			d.FindingsRemoved = append(d.FindingsRemoved, h)
		}
	}
}

// joinDoubts are the doubts about either of two images.
func joinDoubts(a, b Doubts) Doubts {
	a.NoAdvisories = a.NoAdvisories || b.NoAdvisories
	a.NoDistro, a.NoDistroImages = a.NoDistro+b.NoDistro, a.NoDistroImages+b.NoDistroImages
	a.NoPURL, a.NoPURLImages = a.NoPURL+b.NoPURL, a.NoPURLImages+b.NoPURLImages
	a.Unverified += b.Unverified
	for _, u := range b.Uncovered {
		at := slices.IndexFunc(a.Uncovered, func(o Uncovered) bool { return o.Ecosystem == u.Ecosystem })
		if at < 0 {
			a.Uncovered = append(a.Uncovered, u)
			continue
		}
		a.Uncovered[at].Images++
		a.Uncovered[at].Packages = max(a.Uncovered[at].Packages, u.Packages)
	}
	for _, u := range b.Uncomparable {
		if at := slices.IndexFunc(a.Uncomparable, func(o Uncomparable) bool { return o.ID == u.ID && o.Package == u.Package }); at >= 0 {
			a.Uncomparable[at].Images++
			continue
		}
		a.uncomparable(u)
	}
	return a
}

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
			ix.packages[id].images.each(func(images []uint32) {
				for _, image := range images {
					all[image].of[w.severity]++
					if w.kev {
						all[image].kev++
					}
				}
			})
		}
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
