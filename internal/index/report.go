package index

import (
	"cmp"
	"slices"
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
