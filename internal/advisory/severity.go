package advisory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	cvss20 "github.com/pandatix/go-cvss/20"
	cvss30 "github.com/pandatix/go-cvss/30"
	cvss31 "github.com/pandatix/go-cvss/31"
	cvss40 "github.com/pandatix/go-cvss/40"

	"github.com/hallmark-sh/hallmark/internal/advisory/osv"
	"github.com/hallmark-sh/hallmark/internal/finding"
)

// The links of the severity chain, in the order they are asked. The first that
// knows a severity gives it; a severity's Source in the database begins with
// the link, so a finding can tell where its severity came from.
const (
	// LinkVendor is the record's own word or vector.
	LinkVendor = "vendor"
	// LinkAlias is another record of the same build that names the same
	// vulnerability.
	LinkAlias = "alias"
	// LinkTable is the CVSS table's row for a CVE of the record.
	LinkTable = "cvss-table"
	// LinkUnknown is no link at all.
	LinkUnknown = "unknown"
)

// SeverityLink tells which link of the chain gave a severity, from the Source
// that the database holds for it. Databases of other makers have sources of
// their own, such as "nvd@nist.gov": those are the vendor's.
func SeverityLink(source string) string {
	link, _, _ := strings.Cut(source, ":")
	if link == LinkAlias || link == LinkTable {
		return link
	}
	return LinkVendor
}

var words = map[string]finding.Severity{
	"critical": finding.Critical, "high": finding.High, "important": finding.High,
	"medium": finding.Medium, "moderate": finding.Medium, "low": finding.Low,
	"negligible": finding.Negligible, "unimportant": finding.Negligible,
}

// wordSeverity makes a severity of a vendor's word; ok is false for a word
// that says nothing, such as "unknown" or "not yet assigned".
func wordSeverity(word, source string) (s v6.Severity, level finding.Severity, ok bool) {
	level, ok = words[strings.ToLower(strings.Trim(word, " *"))]
	return v6.Severity{Scheme: v6.SeveritySchemeCHMLN, Value: level.String(), Source: source}, level, ok
}

// vectorSeverity makes a severity of a CVSS vector of version 2.0, 3.0, 3.1 or
// 4.0.
func vectorSeverity(vector, source string) (v6.Severity, finding.Severity, error) {
	number, score, err := score(vector)
	if err != nil {
		return v6.Severity{}, finding.Unknown, fmt.Errorf("reading CVSS vector %q: %w", vector, err)
	}
	return v6.Severity{Scheme: v6.SeveritySchemeCVSS, Source: source,
		Value: v6.CVSSSeverity{Vector: vector, Version: number}}, rate(score, number), nil
}

func score(vector string) (number string, base float64, err error) {
	switch {
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		v, err := cvss30.ParseVector(vector)
		if err != nil {
			return "", 0, err
		}
		return "3.0", v.BaseScore(), nil
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		v, err := cvss31.ParseVector(vector)
		if err != nil {
			return "", 0, err
		}
		return "3.1", v.BaseScore(), nil
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		v, err := cvss40.ParseVector(vector)
		if err != nil {
			return "", 0, err
		}
		return "4.0", v.Score(), nil
	}
	v, err := cvss20.ParseVector(vector)
	if err != nil {
		return "", 0, err
	}
	return "2.0", v.BaseScore(), nil
}

// rate gives the word for a base score by the qualitative scale of CVSS 3.1,
// section 5; version 2 has no "critical". Zero is negligible, as in grype.
func rate(score float64, number string) finding.Severity {
	switch {
	case score <= 0:
		return finding.Negligible
	case score < 4:
		return finding.Low
	case score < 7:
		return finding.Medium
	case score < 9 || number == "2.0":
		return finding.High
	}
	return finding.Critical
}

// rated is a severity with its level, to choose among several.
type rated struct {
	v6.Severity
	level finding.Severity
}

// ownSeverities collects what a record itself says: the vendor's word first,
// then vectors, the worst first, because grype reads the first only.
func ownSeverities(r osv.Record, source string) (out []rated, notes []string) {
	if word, ok := r.Specific["severity"].(string); ok {
		if s, level, ok := wordSeverity(word, source); ok {
			out = append(out, rated{s, level})
		}
	}
	all := slices.Clone(r.Severity)
	for _, a := range r.Affected {
		all = append(all, a.Severity...)
		if s, level, ok := wordSeverity(a.Eco.Urgency, source); ok {
			out = append(out, rated{s, level})
		}
	}
	var vectors []rated
	for _, s := range all {
		if s.Type == "Ubuntu" {
			if word, level, ok := wordSeverity(s.Score, source); ok {
				out = append(out, rated{word, level})
			}
			continue
		}
		v, level, err := vectorSeverity(s.Score, source)
		if err != nil {
			notes = append(notes, err.Error())
			continue
		}
		vectors = append(vectors, rated{v, level})
	}
	worstFirst(out)
	worstFirst(vectors)
	return dedupe(append(out, vectors...)), notes
}

func worstFirst(s []rated) {
	slices.SortStableFunc(s, func(a, b rated) int { return cmp.Compare(b.level, a.level) })
}

func dedupe(in []rated) []rated {
	var out []rated
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// chain fills the severities that records lack and counts the links.
type chain struct {
	byName map[string][]*vulnerability // by id and by CVE alias, upper case
	table  map[string]rated            // by CVE, upper case
}

func newChain(all []*vulnerability, table map[string]rated) chain {
	c := chain{byName: map[string][]*vulnerability{}, table: table}
	for _, v := range all {
		if len(v.severities) == 0 {
			continue
		}
		for _, name := range v.names() {
			key := strings.ToUpper(name)
			c.byName[key] = append(c.byName[key], v)
		}
	}
	return c
}

// resolve gives the severities of v and the link that gave them.
func (c chain) resolve(v *vulnerability) ([]rated, string) {
	if len(v.severities) > 0 {
		return v.severities, LinkVendor
	}
	var best *vulnerability
	for _, name := range v.names() {
		for _, other := range c.byName[strings.ToUpper(name)] {
			if best == nil || better(other, best) {
				best = other
			}
		}
	}
	if best != nil {
		out := slices.Clone(best.severities)
		for i := range out {
			out[i].Source = LinkAlias + ":" + best.id
		}
		return out, LinkAlias
	}
	var rows []rated
	for _, name := range v.names() {
		if row, ok := c.table[strings.ToUpper(name)]; ok {
			rows = append(rows, row)
		}
	}
	worstFirst(rows)
	if len(rows) == 0 {
		return nil, LinkUnknown
	}
	return rows, LinkTable
}

// better prefers GitHub's reviewed record, then the worse, then the first name.
func better(a, b *vulnerability) bool {
	if ga, gb := a.provider == "github", b.provider == "github"; ga != gb {
		return ga
	}
	if la, lb := a.severities[0].level, b.severities[0].level; la != lb {
		return la > lb
	}
	return a.id < b.id
}
