package index

import (
	"slices"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// group are the records about the vulnerabilities of these names at a time (0
// for now), found through their aliases and the aliases of those. A record
// about several CVEs, as distributions publish them, belongs to each of them
// but does not make them one.
func (ix *Index) group(names []string, at int64) []*record {
	var out []*record
	asked := map[string]bool{}
	var queue []string
	push := func(name string) {
		name = strings.ToUpper(name)
		if name != "" && !asked[name] {
			asked[name] = true
			queue = append(queue, name)
		}
	}
	for _, name := range names {
		push(name)
	}
	first := len(queue)
	for n := 0; n < len(queue); n++ {
		for _, r := range ix.byName[queue[n]] {
			if !r.valid(at) || slices.Contains(out, r) {
				continue
			}
			out = append(out, r)
			// What was asked for by the identifier of a collection means all
			// that is in it.
			if cves(r) < 2 || n < first && strings.EqualFold(r.ID, queue[n]) {
				for _, name := range r.Names() {
					push(name)
				}
			}
		}
	}
	return out
}

// cves counts the CVEs a record names.
func cves(r *record) int {
	n := 0
	for _, name := range r.Names() {
		if isCVE(name) {
			n++
		}
	}
	return n
}

func isCVE(name string) bool { return len(name) > 4 && strings.EqualFold(name[:4], "CVE-") }

// chain gives a record's severity: its own, else GitHub's among the records
// that share a name, else the worst of the others, else critical for what is
// known to be exploited, else unknown. The source names the link.
func chain(r *record, group []*record) (finding.Severity, string) {
	if r.Severity != finding.Unknown {
		return r.Severity, r.SeveritySource
	}
	var best *record
	for _, o := range group {
		if o == r || o.Severity == finding.Unknown {
			continue
		}
		if best == nil || (o.Provider == "github") != (best.Provider == "github") && o.Provider == "github" ||
			(o.Provider == "github") == (best.Provider == "github") && o.Severity > best.Severity {
			best = o
		}
	}
	switch {
	case best != nil:
		return best.Severity, "alias:" + best.ID + "@" + best.Provider
	case exploited(group):
		return finding.Critical, "kev"
	}
	return finding.Unknown, ""
}

func exploited(group []*record) bool {
	return slices.ContainsFunc(group, func(r *record) bool { return r.KEV })
}

// describe is a vulnerability under all the names its records give it.
func describe(id string, group []*record) Vulnerability {
	v := Vulnerability{ID: id, KEV: exploited(group), Advisories: []string{}}
	var main *record
	for _, r := range group {
		v.Advisories = append(v.Advisories, r.key)
		// A collection's other names are other vulnerabilities.
		if cves(r) < 2 || strings.EqualFold(r.ID, id) {
			v.Aliases = append(v.Aliases, r.Names()...)
		} else {
			v.Aliases = append(v.Aliases, r.ID)
		}
		if r.URL != "" && !slices.Contains(v.URLs, r.URL) {
			v.URLs = append(v.URLs, r.URL)
		}
		if main == nil || strings.EqualFold(r.ID, id) && !strings.EqualFold(main.ID, id) {
			main = r
		}
		if v.Summary == "" {
			v.Summary = r.Summary
		}
	}
	slices.Sort(v.Aliases)
	v.Aliases = slices.DeleteFunc(slices.Compact(v.Aliases), func(a string) bool { return strings.EqualFold(a, id) })
	slices.Sort(v.Advisories)
	if main != nil {
		v.Severity, v.SeveritySource = chain(main, group)
	}
	return v
}

// spelled gives an identifier as advisories spell it.
func spelled(id string, group []*record) string {
	for _, r := range group {
		for _, name := range r.Names() {
			if strings.EqualFold(name, id) {
				return name
			}
		}
	}
	return strings.ToUpper(id)
}
