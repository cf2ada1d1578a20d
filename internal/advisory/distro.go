package advisory

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/hallmark-sh/hallmark/internal/advisory/osv"
)

// claim is what one source says of one vulnerability in one package of one
// release of a distribution. Distributions publish the same fact twice: in a
// tracker, by CVE, and in advisories that each name several CVEs. Grype knows
// one row for it, under the CVE, so claims are joined before they are rows.
type claim struct {
	target  target
	name    string // of the vulnerability
	pkg     string
	tracker bool
	ranges  []v6.Range
	// advisory is the notice that brought the fix; empty for a tracker.
	advisory v6.Reference
	// record is what the vulnerability itself is told from.
	record vulnerability
	source string
}

// key tells apart the rows of a database.
func (c claim) key() string {
	return strings.Join([]string{c.target.provider, c.name, c.target.os.Version(), strings.ToLower(c.pkg)}, "\x00")
}

var cvePattern = regexp.MustCompile(`CVE-\d{4}-\d{4,}$`)

// distroClaims converts the entries of a record that are about distributions.
func distroClaims(r osv.Record, source string) (claims []claim, problems []Problem) {
	names, tracker := distroNames(r)
	// What cannot be read of them is noted once, with the language packages.
	severities, _ := ownSeverities(r, "")
	for _, a := range r.Affected {
		t, err := locate(a.Package.Ecosystem)
		if err == nil && t.os == nil || err != nil && languageOnly(r) {
			continue
		}
		pkg := a.Package.Ecosystem + " " + a.Package.Name
		note := func(reason string, lost bool) {
			problems = append(problems, Problem{Source: source, ID: r.ID, Package: pkg, Reason: reason, Lost: lost})
		}
		if err == nil && a.Package.Name == "" {
			err = errors.New("names no package")
		}
		var ranges []v6.Range
		if err == nil {
			var notes []string
			ranges, notes, err = rangesOf(a, t)
			for _, n := range notes {
				note(n, false)
			}
		}
		if err != nil {
			note(err.Error(), true)
			continue
		}
		for _, name := range names {
			c := claim{target: t, name: name, pkg: a.Package.Name, tracker: tracker, source: source, ranges: ranges}
			c.record = vulnerability{provider: t.provider, id: name, published: r.Published.Time,
				modified: r.Modified.Time, description: describe(r), references: referencesOf(t.provider, r)}
			if len(names) == 1 {
				c.record.severities = sourced(severities, t.provider)
				c.record.aliases = without(aliasesOf(r), name)
			}
			if !tracker {
				c.advisory = v6.Reference{ID: r.ID, URL: noticePage(r), Tags: []string{v6.AdvisoryReferenceTag}}
			}
			claims = append(claims, c)
		}
	}
	return claims, problems
}

// languageOnly says that no entry of the record is about a distribution we
// know, so that package problems are told once, by language.
func languageOnly(r osv.Record) bool {
	return !slices.ContainsFunc(r.Affected, func(a osv.Affected) bool {
		t, err := locate(a.Package.Ecosystem)
		return err == nil && t.os != nil
	})
}

// distroNames gives the names a distribution's record is stored under: the CVE
// of a tracker's entry, the CVEs of an advisory, or the record's own name.
func distroNames(r osv.Record) (names []string, tracker bool) {
	if cve := cvePattern.FindString(r.ID); cve != "" {
		return []string{cve}, true
	}
	if strings.HasPrefix(r.ID, "CGA-") {
		return []string{r.ID}, true
	}
	related := aliasesOf(r)
	if len(related) == 0 {
		related = r.Related
	}
	for _, name := range related {
		if cve := cvePattern.FindString(name); cve != "" && !slices.Contains(names, cve) {
			names = append(names, cve)
		}
	}
	if len(names) == 0 {
		return []string{r.ID}, false
	}
	return names, false
}

func sourced(in []rated, source string) []rated {
	out := slices.Clone(in)
	for i := range out {
		out[i].Source = source
	}
	return out
}

func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
}

func noticePage(r osv.Record) string {
	for _, ref := range r.References {
		if ref.Type == "ADVISORY" {
			return ref.URL
		}
	}
	return ""
}

// join makes the vulnerabilities of claims: a row for each key, from the
// tracker when it speaks, else from the advisory with the highest fix, since a
// later advisory for the same CVE says that the earlier fix was not enough.
func join(claims []claim) []*vulnerability {
	slices.SortStableFunc(claims, func(a, b claim) int {
		if c := cmp.Compare(a.key(), b.key()); c != 0 {
			return c
		}
		if a.tracker != b.tracker {
			return map[bool]int{true: -1, false: 1}[a.tracker]
		}
		return compareFix(b, a)
	})
	var out []*vulnerability
	byName := map[string]*vulnerability{}
	for len(claims) > 0 {
		n := 1
		for n < len(claims) && claims[n].key() == claims[0].key() {
			n++
		}
		best, group := claims[0], claims[:n]
		claims = claims[n:]
		id := best.target.provider + "\x00" + best.name
		v, ok := byName[id]
		if !ok {
			first := best.record
			v = &first
			byName[id] = v
			out = append(out, v)
		} else if best.tracker && len(v.severities) == 0 {
			v.severities = best.record.severities
		}
		v.published = earlier(v.published, best.record.published)
		v.rows = append(v.rows, row{os: best.target.os, ecosystem: best.target.ecosystem,
			name: best.target.normalize(best.pkg), ranges: withNotices(best, group)})
	}
	return out
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// compareFix orders claims by the version they name as the fix; none known
// counts as the highest, and what cannot be compared stays as it was.
func compareFix(a, b claim) int {
	fa, fb := a.fix(), b.fix()
	switch {
	case fa == fb:
		return cmp.Compare(a.advisory.ID, b.advisory.ID)
	case fa == "":
		return 1
	case fb == "":
		return -1
	}
	c, err := a.target.compare(fa, fb)
	if err != nil {
		return cmp.Compare(fa, fb)
	}
	return c
}

func (c claim) fix() string {
	if n := len(c.ranges); n > 0 && c.ranges[n-1].Fix != nil {
		return c.ranges[n-1].Fix.Version
	}
	return ""
}

// withNotices gives the claim's ranges with the advisories that brought the
// very fix they name.
func withNotices(best claim, group []claim) []v6.Range {
	out := slices.Clone(best.ranges)
	for i, r := range out {
		if r.Fix == nil || r.Fix.State != v6.FixedStatus {
			continue
		}
		var refs []v6.Reference
		for _, c := range group {
			if c.advisory.ID != "" && c.fix() == r.Fix.Version && !slices.ContainsFunc(refs, func(o v6.Reference) bool { return o.ID == c.advisory.ID }) {
				refs = append(refs, c.advisory)
			}
		}
		if len(refs) > 0 {
			fix := *r.Fix
			fix.Detail = &v6.FixDetail{References: refs}
			out[i].Fix = &fix
		}
	}
	return out
}
