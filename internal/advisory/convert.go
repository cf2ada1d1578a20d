package advisory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/hallmark-sh/hallmark/internal/advisory/osv"
)

// vulnerability is one record on its way into the database.
type vulnerability struct {
	provider, id        string
	published, modified time.Time
	aliases             []string
	description         string
	references          []v6.Reference
	modifications       []v6.Modification
	severities          []rated
	rows                []row
	// input is the SHA-256 of the record as read, for the provider's digest.
	input [32]byte
}

// row is one package that a vulnerability affects.
type row struct {
	os              *v6.OperatingSystem
	ecosystem, name string
	qualifiers      *v6.PackageQualifiers
	ranges          []v6.Range
}

// names gives the identifiers by which others know the vulnerability.
func (v *vulnerability) names() []string { return append([]string{v.id}, v.aliases...) }

// Problem is something in the input that did not go into the database as it
// stood, or not at all.
type Problem struct {
	// Source is the input and the file within it.
	Source string `json:"source"`
	ID     string `json:"id,omitempty"`
	// Package is the package concerned; empty when it is the whole record.
	Package string `json:"package,omitempty"`
	Reason  string `json:"reason"`
	// Lost says that nothing was written for it: matching cannot find it.
	Lost bool `json:"lost"`
}

// String tells the problem in one line.
func (p Problem) String() string {
	what := strings.Join(slices.DeleteFunc([]string{p.Source, p.ID, p.Package}, func(s string) bool { return s == "" }), ": ")
	if p.Lost {
		return what + ": left out: " + p.Reason
	}
	return what + ": " + p.Reason
}

// aliasesOf gives the other names of the same vulnerability. What a record
// merely relates to is not among them.
func aliasesOf(r osv.Record) []string {
	var out []string
	for _, name := range slices.Concat(r.Aliases, r.Upstream) {
		if name != "" && name != r.ID && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func describe(r osv.Record) string {
	if s := strings.TrimSpace(r.Summary); s != "" {
		return s
	}
	return strings.TrimSpace(r.Details)
}

// advisoryPages are where a person reads a record. The first reference in the
// database is the one a report shows.
var advisoryPages = map[string]string{
	"github":   "https://github.com/advisories/",
	"govulndb": "https://pkg.go.dev/vuln/",
	"rustsec":  "https://rustsec.org/advisories/",
	"pypa":     "https://osv.dev/vulnerability/",
}

func referencesOf(provider string, r osv.Record) []v6.Reference {
	var out []v6.Reference
	add := func(ref v6.Reference) {
		if ref.URL != "" && !slices.ContainsFunc(out, func(o v6.Reference) bool { return o.URL == ref.URL }) {
			out = append(out, ref)
		}
	}
	if page, ok := advisoryPages[provider]; ok {
		add(v6.Reference{ID: r.ID, URL: page + r.ID, Tags: []string{v6.AdvisoryReferenceTag}})
	}
	for _, ref := range r.References {
		add(v6.Reference{URL: ref.URL, Tags: v6.NormalizeReferenceTags([]string{ref.Type})})
	}
	return out
}

// language converts a record about language packages. Affected entries of
// distributions, in a record that has both, are left to the caller.
func language(r osv.Record, source string) (*vulnerability, []Problem) {
	v := &vulnerability{
		provider: providerOf(r.ID), id: r.ID,
		published: r.Published.Time, modified: r.Modified.Time,
		aliases: aliasesOf(r), description: describe(r),
	}
	v.references = referencesOf(v.provider, r)
	var problems []Problem
	note := func(pkg, reason string, lost bool) {
		problems = append(problems, Problem{Source: source, ID: r.ID, Package: pkg, Reason: reason, Lost: lost})
	}
	var notes []string
	v.severities, notes = ownSeverities(r, v.provider)
	for _, n := range notes {
		note("", n, false)
	}
	if strings.HasPrefix(r.ID, "MAL-") && len(v.severities) == 0 {
		// OpenSSF's records of malicious packages rate none: there is no
		// harmless way to run one.
		s, level, _ := wordSeverity("critical", v.provider)
		v.severities = []rated{{s, level}}
	}
	for _, a := range r.Affected {
		pkg := a.Package.Ecosystem + " " + a.Package.Name
		t, err := locate(a.Package.Ecosystem)
		if err == nil && t.os != nil {
			continue
		}
		if err == nil {
			err = informational(a)
		}
		if err == nil && a.Package.Name == "" {
			err = errors.New("names no package")
		}
		var ranges []v6.Range
		if err == nil {
			ranges, notes, err = rangesOf(a, t)
			for _, n := range notes {
				note(pkg, n, false)
			}
		}
		if err != nil {
			note(pkg, err.Error(), true)
			continue
		}
		v.rows = append(v.rows, row{ecosystem: t.ecosystem, name: t.normalize(a.Package.Name),
			qualifiers: goImports(a), ranges: ranges})
	}
	if len(r.Affected) == 0 {
		note("", "names no package", true)
	}
	return v, problems
}

// informational refuses RustSec's notices that are not vulnerabilities.
func informational(a osv.Affected) error {
	switch kind, _ := a.Specific["informational"].(string); kind {
	case "unmaintained", "notice":
		return fmt.Errorf("is a notice (%s), not a vulnerability", kind)
	}
	return nil
}

func goImports(a osv.Affected) *v6.PackageQualifiers {
	if len(a.Eco.Imports) == 0 {
		return nil
	}
	q := &v6.PackageQualifiers{}
	for _, i := range a.Eco.Imports {
		q.GoImports = append(q.GoImports, v6.GoImport{Path: i.Path, Symbols: i.Symbols})
	}
	return q
}

// blob is the record as grype stores it.
func (v *vulnerability) blob(severities []rated) v6.VulnerabilityBlob {
	b := v6.VulnerabilityBlob{ID: v.id, Description: v.description, References: v.references,
		Aliases: v.aliases, Modifications: v.modifications}
	for i, s := range severities {
		s.Rank = min(i+1, 2)
		b.Severities = append(b.Severities, s.Severity)
	}
	return b
}
