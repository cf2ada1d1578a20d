// Package difference says what changes from one image to another: packages,
// their licences, and findings.
//
// It compares documents, not images: the SBOM and the scan report that a
// release attests. It is pure and knows neither where they come from nor who
// signed them. Its limit is theirs: two scans by advisories of different days
// differ also where the packages do not, and such findings say so.
package difference

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/finding"
)

// Side is one of the two images.
type Side struct {
	// Name is what the side is called: an image by digest, or a folder.
	Name     string
	Packages []component.Listed
	Report   finding.Report
}

// Difference is what changes from Base to Head. Its lists are sorted.
type Difference struct {
	Base string `json:"base"`
	Head string `json:"head"`
	// BaseAdvisories and HeadAdvisories are when the databases of the scans
	// were built.
	BaseAdvisories time.Time `json:"baseAdvisories"`
	HeadAdvisories time.Time `json:"headAdvisories"`
	Added          []Package `json:"added"`
	Removed        []Package `json:"removed"`
	Changed        []Change  `json:"changed"`
	// Relicensed are packages of one version whose licences differ.
	Relicensed []Relicence `json:"relicensed"`
	// Introduced are findings that the base does not have, on packages that
	// are new or of another version.
	Introduced []finding.Finding `json:"introduced"`
	// Learnt are findings that the base's scan does not have, on packages that
	// the base has too: the advisory is new, not the package.
	Learnt []finding.Finding `json:"learnt"`
	// Resolved are findings of the base that the head does not have.
	Resolved []finding.Finding `json:"resolved"`
	// Remaining counts the findings of both.
	Remaining int `json:"remaining"`
}

// Package is a package that only one side has.
type Package struct {
	Type     string   `json:"type"`
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Licences []string `json:"licences,omitempty"`
}

// Change is a package that both sides have, each in one version.
type Change struct {
	Type string `json:"type"`
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Relicence is a package whose licences differ.
type Relicence struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Version string   `json:"version"`
	From    []string `json:"from"`
	To      []string `json:"to"`
}

// Empty says that nothing changes.
func (d Difference) Empty() bool {
	return len(d.Added)+len(d.Removed)+len(d.Changed)+len(d.Relicensed)+len(d.Introduced)+len(d.Learnt)+len(d.Resolved) == 0
}

// Of compares two images.
func Of(base, head Side) Difference {
	d := Difference{
		Base: base.Name, Head: head.Name, BaseAdvisories: base.Report.Database.Built, HeadAdvisories: head.Report.Database.Built,
		Added: []Package{}, Removed: []Package{}, Changed: []Change{}, Relicensed: []Relicence{},
		Introduced: []finding.Finding{}, Learnt: []finding.Finding{}, Resolved: []finding.Finding{},
	}
	d.packages(group(base.Packages), group(head.Packages))
	d.findings(base, head)
	return d
}

// name is a package without its version.
type name struct{ typ, full string }

func (n name) compare(o name) int {
	return cmp.Or(strings.Compare(n.typ, o.typ), strings.Compare(n.full, o.full))
}

// group gives the licences of every version of every package.
func group(all []component.Listed) map[name]map[string][]string {
	groups := map[name]map[string][]string{}
	for _, p := range all {
		n := name{p.Type, p.FullName()}
		if groups[n] == nil {
			groups[n] = map[string][]string{}
		}
		licences := append(groups[n][p.Version], p.Licences...)
		slices.Sort(licences)
		groups[n][p.Version] = slices.Compact(licences)
	}
	return groups
}

func (d *Difference) packages(base, head map[name]map[string][]string) {
	names := map[name]bool{}
	for n := range base {
		names[n] = true
	}
	for n := range head {
		names[n] = true
	}
	for _, n := range sorted(names, name.compare) {
		gone, came := missing(base[n], head[n]), missing(head[n], base[n])
		if len(gone) == 1 && len(came) == 1 {
			d.Changed = append(d.Changed, Change{n.typ, n.full, gone[0], came[0]})
			gone, came = nil, nil
		}
		for _, version := range gone {
			d.Removed = append(d.Removed, Package{n.typ, n.full, version, base[n][version]})
		}
		for _, version := range came {
			d.Added = append(d.Added, Package{n.typ, n.full, version, head[n][version]})
		}
		for version, from := range base[n] {
			if to, both := head[n][version]; both && !slices.Equal(from, to) {
				d.Relicensed = append(d.Relicensed, Relicence{n.typ, n.full, version, list(from), list(to)})
			}
		}
	}
	slices.SortStableFunc(d.Relicensed, func(a, b Relicence) int {
		return cmp.Or(name{a.Type, a.Name}.compare(name{b.Type, b.Name}), strings.Compare(a.Version, b.Version))
	})
}

// missing lists the versions of one that the other has not.
func missing(one, other map[string][]string) (versions []string) {
	for version := range one {
		if _, has := other[version]; !has {
			versions = append(versions, version)
		}
	}
	slices.Sort(versions)
	return versions
}

func sorted[T comparable](set map[T]bool, compare func(a, b T) int) []T {
	all := make([]T, 0, len(set))
	for member := range set {
		all = append(all, member)
	}
	slices.SortFunc(all, compare)
	return all
}

func list(words []string) []string { return append([]string{}, words...) }

func (d *Difference) findings(base, head Side) {
	had := installed(base.Report, base.Packages)
	for _, f := range head.Report.Findings {
		switch {
		case has(base.Report, f):
			d.Remaining++
		case had[f.Package.Type+" "+f.Package.Name+" "+f.Package.Version]:
			d.Learnt = append(d.Learnt, f)
		default:
			d.Introduced = append(d.Introduced, f)
		}
	}
	for _, f := range base.Report.Findings {
		if !has(head.Report, f) {
			d.Resolved = append(d.Resolved, f)
		}
	}
	for _, fs := range [][]finding.Finding{d.Introduced, d.Learnt, d.Resolved} {
		r := finding.Report{Findings: fs}
		r.Sort()
	}
}

// installed is every package of a side by type, name and version, as findings
// name them.
func installed(r finding.Report, packages []component.Listed) map[string]bool {
	all := map[string]bool{}
	for _, f := range r.Findings {
		all[f.Package.Type+" "+f.Package.Name+" "+f.Package.Version] = true
	}
	for _, p := range packages {
		for _, n := range []string{p.Name, p.FullName()} {
			all[p.Type+" "+n+" "+p.Version] = true
		}
	}
	return all
}

// has says that a report has a finding of the same vulnerability on a package
// of the same name, whatever its version.
func has(r finding.Report, f finding.Finding) bool {
	return slices.ContainsFunc(r.Findings, func(g finding.Finding) bool {
		return g.Package.Type == f.Package.Type && g.Package.Name == f.Package.Name && slices.ContainsFunc(f.IDs(), g.Is)
	})
}
