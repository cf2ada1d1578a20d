package scan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/catalog/catalogtest"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/scan/scantest"
)

// What cannot be compared is neither affected nor cleared. Grype drops each of
// these without a word.
func TestUncomparable(t *testing.T) {
	dir := scantest.Database(t, glibc,
		scantest.Advisory{ID: "PYSEC-1", Provider: "pypa", Type: "python", Package: "requests", Affected: "<2.31.0"},
		scantest.Advisory{ID: "GHSA-1", Provider: "github", Type: "npm", Package: "lodash", Affected: "<4"},
		scantest.Advisory{ID: "GO-1", Provider: "govulndb", Type: "go-module", Package: "example.com/demo", Affected: "<v1.2.3"},
		scantest.Advisory{ID: "GO-2", Provider: "govulndb", Type: "go-module", Package: "stdlib", Affected: "<go1.0.1", Format: "go"},
	)
	for name, test := range map[string]struct {
		files catalogtest.Files
		want  []string
	}{
		"comparable":             {catalogtest.Wheel("requests", "2.31.0"), nil},
		"no such scheme":         {catalogtest.Wheel("requests", "not-a-version"), []string{"requests not-a-version"}},
		"no advisory to compare": {catalogtest.Wheel("flask", "not-a-version"), nil},
		"no version":             {catalogtest.Npm("lodash", ""), []string{"lodash UNKNOWN"}},
		"no version, no advisory": {
			catalogtest.Npm("left-pad", ""), nil,
		},
		"go program outside version control": {
			catalogtest.Files{"app": catalogtest.GoProgram(t, "example.com/demo")}, []string{"example.com/demo UNKNOWN"},
		},
		"go program of a commit without tag": {
			catalogtest.Files{"app": catalogtest.GoProgramOfCommit(t, "example.com/demo")}, []string{"example.com/demo v0.0.0"},
		},
		"go program nobody wrote of": {
			catalogtest.Files{"app": catalogtest.GoProgram(t, "example.com/other")}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			report := match(t, dir, test.files)
			var got []string
			for _, p := range report.Uncomparable {
				version, _, _ := strings.Cut(p.Version, "-20")
				got = append(got, p.Name+" "+version)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if len(report.Findings) > 0 {
				t.Errorf("findings %+v, want none", report.Findings)
			}
		})
	}
}

func TestSeverityChain(t *testing.T) {
	const critical = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" // 9.8
	nvd := func(id, word, vector string) scantest.Advisory {
		return scantest.Advisory{ID: id, Provider: "nvd", Severity: word, CVSS: vector}
	}
	for name, test := range map[string]struct {
		advisory scantest.Advisory
		want     finding.Severity
		source   string
	}{
		"vendor's word":            {scantest.Advisory{Severity: "low", CVSS: critical}, finding.Low, "vendor:pypa"},
		"vendor's negligible":      {scantest.Advisory{Severity: "negligible", Related: []scantest.Advisory{nvd("CVE-2024-1", "critical", "")}}, finding.Negligible, "vendor:pypa"},
		"vendor's score":           {scantest.Advisory{CVSS: critical}, finding.Critical, "cvss:pypa"},
		"alias's word":             {scantest.Advisory{Related: []scantest.Advisory{nvd("CVE-2024-1", "medium", "")}}, finding.Medium, "alias:CVE-2024-1@nvd"},
		"alias's score":            {scantest.Advisory{Related: []scantest.Advisory{nvd("CVE-2024-1", "", critical)}}, finding.Critical, "alias:CVE-2024-1@nvd"},
		"worst alias":              {scantest.Advisory{Aliases: []string{"CVE-2024-1", "CVE-2024-2"}, Related: []scantest.Advisory{nvd("CVE-2024-1", "low", ""), nvd("CVE-2024-2", "high", "")}}, finding.High, "alias:CVE-2024-2@nvd"},
		"alias before own score":   {scantest.Advisory{Severity: "unknown", CVSS: critical, Related: []scantest.Advisory{nvd("CVE-2024-1", "medium", "")}}, finding.Medium, "alias:CVE-2024-1@nvd"},
		"own score after unknown":  {scantest.Advisory{Severity: "unknown", CVSS: critical}, finding.Critical, "cvss:pypa"},
		"nobody":                   {scantest.Advisory{}, finding.Unknown, ""},
		"alias without a severity": {scantest.Advisory{Related: []scantest.Advisory{nvd("CVE-2024-1", "", "")}}, finding.Unknown, ""},
		"a word nobody knows":      {scantest.Advisory{Severity: "untriaged"}, finding.Unknown, ""},
		"link of the builder":      {scantest.Advisory{Severity: "high", SeveritySource: "alias:GHSA-x (github)"}, finding.High, "alias:GHSA-x (github)"},
		"source of the builder":    {scantest.Advisory{Severity: "high", SeveritySource: "vendor:pypa"}, finding.High, "vendor:pypa"},
		"source of a score":        {scantest.Advisory{CVSS: critical, SeveritySource: "nvd@nist.gov"}, finding.Critical, "cvss:pypa"},
	} {
		t.Run(name, func(t *testing.T) {
			a := test.advisory
			a.ID, a.Provider, a.Type, a.Package, a.Affected = "PYSEC-1", "pypa", "python", "requests", "<3"
			if a.Aliases == nil {
				a.Aliases = []string{"CVE-2024-1"}
			}
			report := match(t, scantest.Database(t, a), catalogtest.Wheel("requests", "2.31.0"))
			if len(report.Findings) != 1 {
				t.Fatalf("%d findings, want 1", len(report.Findings))
			}
			if f := report.Findings[0]; f.Severity != test.want || f.SeveritySource != test.source {
				t.Errorf("severity %s from %q, want %s from %q", f.Severity, f.SeveritySource, test.want, test.source)
			}
		})
	}
}

// The catalogue of exploited vulnerabilities knows CVEs only; the advisory may
// go by another name.
func TestExploitedByAlias(t *testing.T) {
	dir := scantest.Database(t, scantest.Advisory{
		ID: "GHSA-1", Aliases: []string{"CVE-2024-1"}, Provider: "github", Type: "python", Package: "requests", Affected: "<3", KEV: true,
	})
	report := match(t, dir, catalogtest.Wheel("requests", "2.31.0"))
	if len(report.Findings) != 1 || !report.Findings[0].KEV {
		t.Errorf("findings %+v, want one that is known to be exploited", report.Findings)
	}
}
