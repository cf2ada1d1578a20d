package index

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/finding"
)

// inquiry is one vulnerability as a question means it: its records, the
// packages they hit, and the VEX documents that speak of it.
type inquiry struct {
	group     []*record
	names     []string // all, upper case
	packages  []uint32 // ascending
	hits      map[uint32][]hit
	documents []*VEX
	excluded  int
	unknown   bool
}

// Affected answers which images an advisory hits.
func (ix *Index) Affected(q AffectedQuery, o Options) (Affected, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p, err := ix.page(o)
	if err != nil {
		return Affected{}, err
	}
	in, err := ix.inquire(q, p)
	if err != nil {
		return Affected{}, err
	}
	a := Affected{Vulnerability: describe(spelled(q.ID, in.group), in.group)}
	if in.excluded > 0 {
		a.Filter = &FilterNotes{Excluded: in.excluded, UnknownSeverity: in.unknown}
	}
	a.Versions, a.VersionsTotal = ix.versions(in.packages, p.there)
	images := ix.holders(in.packages, p.there)
	cleared := ix.cleared(in, images)
	a.Cleared = cleared.count()
	if o.VEX {
		cleared.all(images.remove)
	}
	a.Total = images.count()
	a.Doubts = ix.doubtsAt(p)
	a.Doubts.Unverified = images.countBoth(ix.unverified)
	ix.addUncomparable(&a.Doubts, in.group, p)
	ids, next := p.take(images)
	a.Next = next
	a.Images = make([]ImageHit, 0, len(ids))
	held := ix.held(ids, in.packages)
	for n, image := range ids {
		one := ImageHit{ImageRef: ix.ref(image)}
		for _, id := range held[n] {
			for _, h := range in.hits[id] {
				hit := ix.answer(h, id, in.group)
				hit.Exploitability = ix.exploitability(in.documents, hit.ID, in.names, hit.Package, image)
				if o.VEX && hit.Exploitability != nil && hit.Exploitability.Clears() {
					continue
				}
				one.Hits = append(one.Hits, hit)
			}
		}
		a.Images = append(a.Images, one)
	}
	return a, nil
}

func (ix *Index) inquire(q AffectedQuery, p page) (inquiry, error) {
	id := strings.TrimSpace(q.ID)
	in := inquiry{group: ix.group([]string{id}, p.at), hits: map[uint32][]hit{}}
	if len(in.group) == 0 {
		return in, fmt.Errorf("looking for %s: %w", q.ID, ErrUnknownAdvisory)
	}
	for _, r := range in.group {
		for _, name := range r.Names() {
			if name = strings.ToUpper(name); (cves(r) < 2 || strings.EqualFold(name, id)) && !slices.Contains(in.names, name) {
				in.names = append(in.names, name)
			}
		}
		severity, _ := chain(r, in.group)
		for _, pkg := range r.hits {
			h := ix.hitOf(pkg, r)
			if severity < q.Severity || q.KEV && !exploited(in.group) || q.Fixable && !fixable(h) {
				in.excluded++
				in.unknown = in.unknown || severity == finding.Unknown
				continue
			}
			if in.hits[pkg] == nil {
				in.packages = append(in.packages, pkg)
			}
			in.hits[pkg] = append(in.hits[pkg], h)
		}
	}
	slices.Sort(in.packages)
	in.documents = ix.documents(in.names, p.at)
	return in, nil
}

// hitOf is the finding of a record on a package, which is known to be there.
func (ix *Index) hitOf(id uint32, r *record) hit {
	for _, h := range ix.hits[id] {
		if h.record == r {
			return h
		}
	}
	return hit{record: r}
}

func fixable(h hit) bool {
	r := h.record.Affected[h.row].Ranges
	return int(h.at) < len(r) && (r[h.at].FixedIn != "" || r[h.at].FixState == "fixed")
}

// cleared are the images, of those hit, in which VEX clears every hit.
func (ix *Index) cleared(in inquiry, images set) set {
	out := make(set, len(images))
	if len(in.documents) == 0 {
		return out
	}
	var spoken []uint32
	ix.spokenOf(in.documents, images).all(func(image uint32) { spoken = append(spoken, image) })
	for n, held := range ix.held(spoken, in.packages) {
		if !slices.ContainsFunc(held, func(id uint32) bool { return !ix.clears(in, id, spoken[n]) }) {
			out.add(spoken[n])
		}
	}
	return out
}

// clears says that VEX clears every hit of a package in an image.
func (ix *Index) clears(in inquiry, id, image uint32) bool {
	for _, h := range in.hits[id] {
		s := ix.exploitability(in.documents, h.record.ID, in.names, ix.packageOf(id), image)
		if s == nil || !s.Clears() {
			return false
		}
	}
	return true
}

// answer is a finding as an answer shows it.
func (ix *Index) answer(h hit, id uint32, group []*record) Hit {
	r := h.record
	out := Hit{
		Package: ix.packageOf(id), ID: r.ID, Aliases: r.Aliases, Provider: r.Provider, KEV: exploited(group),
		FixState: "unknown",
	}
	out.Severity, out.SeveritySource = chain(r, group)
	ranges := r.Affected[h.row].Ranges
	if int(h.at) < len(ranges) {
		own := ranges[h.at]
		out.Constraint = own.Constraint
		if own.FixState != "" {
			out.FixState = own.FixState
		}
		if own.FixedIn != "" {
			out.FixedIn = []string{own.FixedIn}
		}
	}
	return out
}

// addUncomparable lists the packages of the images there that the records may
// hit or not.
func (ix *Index) addUncomparable(d *Doubts, group []*record, p page) {
	d.Uncomparable = slices.Clone(d.Uncomparable)
	for _, r := range group {
		for _, one := range r.doubts {
			if n := ix.holdersOf(one.pkg, p.there); n > 0 {
				d.uncomparable(Uncomparable{ix.packageOf(one.pkg), r.ID, one.reason, n})
			}
		}
	}
}

// found are the findings on a package at a time.
func (ix *Index) found(id uint32, at int64) []hit {
	var out []hit
	for _, h := range ix.hits[id] {
		if h.record.valid(at) {
			out = append(out, h)
		}
	}
	return out
}

// Explain says why an advisory does or does not hit a package, given by its
// package URL. The package need not be in any image.
func (ix *Index) Explain(id, purl string, o Options) (Explanation, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p, err := ix.page(o)
	if err != nil {
		return Explanation{}, err
	}
	c, err := component.FromPURL(strings.TrimSpace(purl), "", "")
	if err != nil {
		return Explanation{}, err
	}
	group := ix.group([]string{strings.TrimSpace(id)}, p.at)
	if len(group) == 0 {
		return Explanation{}, fmt.Errorf("looking for %s: %w", id, ErrUnknownAdvisory)
	}
	e := Explanation{Vulnerability: describe(spelled(id, group), group), Package: c, Steps: []Step{}, Doubts: ix.doubtsAt(p)}
	if known, ok := ix.lookup(c); ok {
		e.Held = ix.holdersOf(known, p.there) > 0
	}
	ix.explain(&e, group)
	return e, nil
}

func (ix *Index) explain(e *Explanation, group []*record) {
	var hits, takenBack, doubts []*record
	c := e.Package
	for _, t := range terms(c) {
		for _, r := range ix.rows[t.key] {
			if !slices.Contains(group, r.record) {
				continue
			}
			s, v := ix.step(r, c, t)
			e.Steps = append(e.Steps, s)
			switch s.Result {
			case "affected":
				hits = append(hits, r.record)
			case "unaffected":
				takenBack = append(takenBack, r.record)
			case "not comparable":
				if v.doubt != nil {
					doubts = append(doubts, r.record)
				}
			}
		}
	}
	left := slices.DeleteFunc(slices.Clone(hits), func(h *record) bool {
		return slices.ContainsFunc(takenBack, func(r *record) bool { return r.sameAs(h) })
	})
	e.Affected, e.Known = len(left) > 0, true
	switch {
	case e.Affected:
		e.Reason = fmt.Sprintf("%s affects it: version %s is in the range of the advisory", left[0].key, versionOr(c))
	case len(hits) > 0:
		e.Reason = fmt.Sprintf("%s would affect it, but %s says that this version is not affected", hits[0].key, takenBack[0].key)
	case len(doubts) > 0:
		e.Known, e.Reason = false, "an advisory names it, but its version can't be compared with the range: it may be affected or not"
	case component.OS(c.Type) && c.Distro == "":
		e.Known, e.Reason = false, "its distribution is unknown, so no advisory can be matched; name it in the package URL, as ?distro=debian-12"
	case len(e.Steps) > 0:
		e.Reason = "every row that names it is about other versions, distributions or modules"
	default:
		e.Reason = "no row of the advisory names this package"
		if !ix.covered(c.Type, c.Distro, 0) {
			e.Known, e.Reason = false, "no advisories were loaded for "+c.Type+" "+c.Distro
		}
	}
}

func versionOr(c component.Package) string {
	if c.Version == "" {
		return "(none)"
	}
	return c.Version
}

// step holds one row against a package, for show. It makes the range ready
// anew, because what is kept ready is the writer's.
func (ix *Index) step(r row, c component.Package, t term) (Step, verdict) {
	a := &r.record.Affected[r.at]
	s := Step{
		Advisory: r.record.ID, Provider: r.record.Provider, Import: r.record.imported, From: instant(r.record.from),
		Matched: t.name, Distro: a.Distro, Version: t.version,
	}
	var all []string
	for _, one := range a.Ranges {
		all = append(all, one.Constraint)
		s.Format = one.Format
	}
	s.Constraint = strings.Join(all, " || ")
	if ok, why := ix.concerns(r, c, t); !ok {
		s.Result, s.Detail = "not affected", why
		return s, verdict{}
	}
	v := compare(compile(a.Ranges), parsed(c.Type, t.version, t.indirect))
	switch {
	case v.in && a.Unaffected:
		s.Result = "unaffected"
	case v.in:
		s.Result, s.FixedIn = "affected", a.Ranges[v.at].FixedIn
		s.Constraint, s.Format = a.Ranges[v.at].Constraint, a.Ranges[v.at].Format
	case v.doubt != nil:
		s.Result, s.Detail = "not comparable", v.doubt.Error()
	default:
		s.Result = "not affected"
	}
	return s, v
}
