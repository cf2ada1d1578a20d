package scan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/package-url/packageurl-go"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/sbom"
)

// maxLocations is how many places of a package a finding names.
const maxLocations = 5

// finding is one of grype's matches in hallmark's words.
func (d *DB) finding(m match.Match) (finding.Finding, error) {
	v := m.Vulnerability
	f := finding.Finding{
		ID:        v.ID,
		Aliases:   aliases(v),
		Package:   packageOf(m.Package),
		FixedIn:   v.Fix.Versions,
		FixState:  cmp.Or(string(v.Fix.State), string(vulnerability.FixStateUnknown)),
		Namespace: v.Namespace,
	}
	if v.Constraint != nil {
		f.Constraint = v.Constraint.Value()
	}
	record := v.Metadata
	if record == nil {
		var err error
		if record, err = d.metadata(v.Reference); err != nil {
			return finding.Finding{}, err
		}
	}
	f.URL = record.DataSource
	var err error
	if f.Severity, f.SeveritySource, err = d.severity(v, record); err != nil {
		return finding.Finding{}, err
	}
	f.KEV, err = d.exploited(v, record)
	return f, err
}

// severity follows the chain: what the advisory itself says, what the records
// of its aliases say, the CVSS scores beside the advisory's own word. The worst
// of several aliases counts.
func (d *DB) severity(v vulnerability.Vulnerability, record *vulnerability.Metadata) (s finding.Severity, source string, err error) {
	if s := severityOf(record.Severity); s != finding.Unknown {
		return s, own(v), nil
	}
	for _, alias := range v.RelatedVulnerabilities {
		other, err := d.metadata(alias)
		if err != nil {
			return finding.Unknown, "", err
		}
		known := severityOf(other.Severity)
		if known == finding.Unknown {
			known = cvss(other)
		}
		if known > s {
			s, source = known, "alias:"+alias.ID+"@"+provider(alias.Namespace)
		}
	}
	if s != finding.Unknown {
		return s, source, nil
	}
	if s := cvss(record); s != finding.Unknown {
		return s, "cvss:" + provider(v.Namespace), nil
	}
	return finding.Unknown, "", nil
}

// own names the link of the chain that an advisory's own severity comes from.
// Databases that hallmark built have followed the chain already, and say so
// beside the severity; others say who scored it, which is the vendor.
func own(v vulnerability.Vulnerability) string {
	link := "vendor"
	if h, ok := v.Internal.(*v6.VulnerabilityHandle); ok && h.BlobValue != nil && len(h.BlobValue.Severities) > 0 {
		first := h.BlobValue.Severities[0]
		if strings.HasPrefix(first.Source, "alias:") || strings.HasPrefix(first.Source, "cvss-table:") {
			return first.Source
		}
		if _, scored := first.Value.(v6.CVSSSeverity); scored {
			link = "cvss"
		}
	}
	return link + ":" + provider(v.Namespace)
}

// severityOf reads grype's word; what it does not know is unknown.
func severityOf(word string) finding.Severity {
	s, err := finding.ParseSeverity(word)
	if err != nil {
		return finding.Unknown
	}
	return s
}

// cvss rates the highest base score by the table of CVSS 3.1, section 5, which
// version 4.0 keeps; for version 2 by NVD's table, which knows no critical.
func cvss(record *vulnerability.Metadata) finding.Severity {
	worst := finding.Unknown
	for _, c := range record.Cvss {
		worst = max(worst, rate(c.Version, c.Metrics.BaseScore))
	}
	return worst
}

func rate(version string, score float64) finding.Severity {
	switch {
	case score <= 0:
		return finding.Unknown
	case score >= 9 && !strings.HasPrefix(version, "2"):
		return finding.Critical
	case score >= 7:
		return finding.High
	case score >= 4:
		return finding.Medium
	}
	return finding.Low
}

// metadata is what the database holds on a vulnerability by another name.
func (d *DB) metadata(ref vulnerability.Reference) (*vulnerability.Metadata, error) {
	//lint:ignore SA1019 There is no other way to a record that is no match.
	m, err := d.provider.VulnerabilityMetadata(ref)
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", ref.ID, err)
	}
	if m == nil {
		m = &vulnerability.Metadata{}
	}
	return m, nil
}

// exploited says that the advisory, under any of its names, is among CISA's
// known exploited vulnerabilities. The record has been looked up under its own
// names; a package's row may add others, such as the CVEs of one RHSA.
func (d *DB) exploited(v vulnerability.Vulnerability, record *vulnerability.Metadata) (bool, error) {
	if len(record.KnownExploited) > 0 {
		return true, nil
	}
	var asked []string
	if h, ok := v.Internal.(*v6.VulnerabilityHandle); ok && h.BlobValue != nil {
		asked = append([]string{h.Name}, h.BlobValue.Aliases...)
	}
	for _, r := range v.RelatedVulnerabilities {
		if !strings.HasPrefix(strings.ToUpper(r.ID), "CVE-") || slices.Contains(asked, r.ID) {
			continue
		}
		known, err := d.reader.GetKnownExploitedVulnerabilities(r.ID)
		if err != nil {
			return false, fmt.Errorf("looking up %s among the known exploited: %w", r.ID, err)
		}
		if len(known) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// aliases are all other names of a vulnerability, sorted.
func aliases(v vulnerability.Vulnerability) []string {
	var ids []string
	if h, ok := v.Internal.(*v6.VulnerabilityHandle); ok && h.BlobValue != nil {
		ids = append(ids, h.BlobValue.Aliases...)
	}
	for _, r := range v.RelatedVulnerabilities {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	var out []string
	for _, id := range slices.Compact(ids) {
		if !strings.EqualFold(id, v.ID) {
			out = append(out, id)
		}
	}
	return out
}

// provider is the data set in a namespace such as "debian:distro:debian:12".
func provider(namespace string) string {
	name, _, _ := strings.Cut(namespace, ":")
	return name
}

// packageOf is a package in hallmark's words.
func packageOf(p pkg.Package) finding.Package {
	out := finding.Package{Name: p.Name, Version: p.Version, Type: typeOf(p), PURL: p.PURL}
	for _, u := range p.Upstreams {
		if u.Name != p.Name {
			out.Upstream = u.Name
			break
		}
	}
	for _, l := range p.Locations.ToUnorderedSlice() {
		out.Locations = append(out.Locations, l.RealPath)
	}
	slices.Sort(out.Locations)
	out.Locations = slices.Compact(out.Locations)
	if len(out.Locations) > maxLocations {
		out.Locations = out.Locations[:maxLocations]
	}
	return out
}

// typeOf is the package URL type.
func typeOf(p pkg.Package) string {
	if purl, err := packageurl.FromString(p.PURL); err == nil {
		return purl.Type
	}
	if t := p.Type.PackageURLType(); t != "" {
		return t
	}
	return sbom.NoType
}

// byWeight puts the worst first and leaves nothing to chance.
func byWeight(a, b finding.Finding) int {
	return cmp.Or(
		cmp.Compare(b.Severity, a.Severity),
		byName(a.Package, b.Package),
		strings.Compare(a.ID, b.ID),
		strings.Compare(a.Namespace, b.Namespace),
	)
}

func byName(a, b finding.Package) int {
	return cmp.Or(
		strings.Compare(a.Name, b.Name),
		strings.Compare(a.Version, b.Version),
		strings.Compare(a.PURL, b.PURL),
		slices.Compare(a.Locations, b.Locations),
	)
}
