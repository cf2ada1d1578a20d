package advisory

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

const (
	vectorCritical = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" // 9.8
	vectorMedium   = "CVSS:3.0/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:L/A:N" // 4.2
	vectorFour     = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"
	vectorTwo      = "AV:N/AC:L/Au:N/C:C/I:C/A:C" // 10.0
)

// npm is a record about the npm package of the same name.
func npm(id, name, rest string) string {
	return fmt.Sprintf(`{"id":%q,"modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":%q},"versions":["1.0.0"]}]%s}`, id, name, rest)
}

func tableOf(kind Kind, text string) Source {
	name := map[Kind]string{CVSS: "cvss.tsv", KEV: "kev.json", DebianList: "DSA.list"}[kind]
	return Source{Kind: kind, Path: name, FS: fstest.MapFS{name: {Data: []byte(text)}}}
}

// TestSeverityChain asks grype what severity it reads for a record of each
// kind, and the database which link gave it.
func TestSeverityChain(t *testing.T) {
	src := records(map[string]string{
		"word.json":    npm("GHSA-word", "word", `,"database_specific":{"severity":"MODERATE"},"severity":[{"type":"CVSS_V3","score":"`+vectorCritical+`"}],"aliases":["CVE-2024-0001"]`),
		"vector.json":  npm("OSV-vector", "vector", `,"severity":[{"type":"CVSS_V3","score":"`+vectorMedium+`"},{"type":"CVSS_V4","score":"`+vectorFour+`"}]`),
		"two.json":     npm("OSV-two", "two", `,"severity":[{"type":"CVSS_V2","score":"`+vectorTwo+`"}]`),
		"inside.json":  strings.Replace(npm("OSV-inside", "inside", ""), `"versions"`, `"severity":[{"type":"CVSS_V3","score":"`+vectorCritical+`"}],"versions"`, 1),
		"bad.json":     npm("OSV-bad", "bad", `,"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N"}],"aliases":["CVE-2024-0009"]`),
		"alias.json":   npm("OSV-alias", "alias", `,"aliases":["CVE-2024-0001"]`),
		"named.json":   npm("OSV-named", "named", `,"aliases":["ghsa-WORD"]`),
		"table.json":   npm("OSV-table", "table", `,"aliases":["CVE-2024-0002","CVE-2024-0003"]`),
		"both.json":    npm("OSV-both", "both", `,"aliases":["CVE-2024-0001","CVE-2024-0002"]`),
		"none.json":    npm("OSV-none", "none", `,"aliases":["CVE-2024-0004"],"database_specific":{"severity":"not yet assigned"}`),
		"related.json": npm("OSV-related", "related", `,"related":["CVE-2024-0002"]`),
		"mal.json":     npm("MAL-2024-1", "mal", ""),
		"upper.json":   npm("OSV-upper", "upper", `,"aliases":["cve-2024-0005"]`),
	})
	table := tableOf(CVSS, "cve\tvector\tscore\tseverity\n"+
		"CVE-2024-0002\t"+vectorCritical+"\t9.8\tCRITICAL\n"+
		"CVE-2024-0003\t"+vectorMedium+"\t4.2\tMEDIUM\n"+
		"CVE-2024-0005\t\t\tHIGH\n"+
		"CVE-2024-0009\t"+vectorMedium+"\t4.2\tMEDIUM\n")
	res := build(t, src, table)
	rdr, err := v6.NewReader(v6.Config{DBDirPath: res.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer rdr.Close()
	for name, want := range map[string]string{
		"word":    "Medium vendor github",
		"vector":  "Critical vendor osv-osv", // the worst of several vectors
		"two":     "High vendor osv-osv",     // version 2 knows no critical
		"inside":  "Critical vendor osv-osv",
		"bad":     "Medium cvss-table cvss-table:CVE-2024-0009",
		"alias":   "Medium alias alias:GHSA-word",
		"named":   "Medium alias alias:GHSA-word",
		"table":   "Critical cvss-table cvss-table:CVE-2024-0002",
		"both":    "Medium alias alias:GHSA-word",
		"none":    "Unknown unknown ",
		"related": "Unknown unknown ", // related is not the same
		"mal":     "Critical vendor openssf-malicious",
		"upper":   "High cvss-table cvss-table:CVE-2024-0005",
	} {
		found := scan(t, res.Dir, "npm "+name+" 1.0.0")
		if len(found) != 1 {
			t.Fatalf("%s: %d matches", name, len(found))
		}
		id := found[0].Vulnerability.ID
		handles, err := rdr.GetVulnerabilities(&v6.VulnerabilitySpecifier{Name: id}, &v6.GetVulnerabilityOptions{Preload: true})
		if err != nil || len(handles) != 1 {
			t.Fatalf("%s: %v, %v", id, handles, err)
		}
		link, source := LinkUnknown, ""
		if s := handles[0].BlobValue.Severities; len(s) > 0 {
			link, source = SeverityLink(s[0].Source), s[0].Source
		}
		if got := found[0].Vulnerability.Metadata.Severity + " " + link + " " + source; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	want := map[string]int{LinkVendor: 5, LinkAlias: 3, LinkTable: 3, LinkUnknown: 2}
	if diff := cmp.Diff(want, res.Severities); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	status, err := Status(context.Background(), res.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, status.Severities); diff != "" {
		t.Errorf("links by Status (-want +got):\n%s", diff)
	}
}

func TestRate(t *testing.T) {
	for _, tt := range []struct {
		score  float64
		number string
		want   finding.Severity
	}{{0, "3.1", finding.Negligible}, {0.1, "3.1", finding.Low}, {3.9, "3.1", finding.Low}, {4, "3.0", finding.Medium}, {6.9, "4.0", finding.Medium},
		{7, "3.1", finding.High}, {8.9, "3.1", finding.High}, {9, "3.1", finding.Critical}, {10, "4.0", finding.Critical}, {10, "2.0", finding.High}} {
		if got := rate(tt.score, tt.number); got != tt.want {
			t.Errorf("%v of %s: %s, want %s", tt.score, tt.number, got, tt.want)
		}
	}
}

func TestSeverityLink(t *testing.T) {
	for source, want := range map[string]string{"alias:GHSA-x": LinkAlias, "cvss-table:CVE-1": LinkTable, "github": LinkVendor, "nvd@nist.gov": LinkVendor, "": LinkVendor} {
		if got := SeverityLink(source); got != want {
			t.Errorf("%q: %s, want %s", source, got, want)
		}
	}
}

func TestTablesTellProblems(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source Source
		want   string
	}{
		{"line of CVSS", tableOf(CVSS, "CVE-2024-0002 9.8\n"), "is not CVE, vector"},
		{"vector", tableOf(CVSS, "CVE-2024-0002\tCVSS:3.1/X\t9.8\tCRITICAL\n"), "reading CVSS vector"},
		{"word", tableOf(CVSS, "CVE-2024-0002\t\t\tugly\n"), "says nothing"},
		{"id in KEV", tableOf(KEV, `{"vulnerabilities":[{"cveID":"X-1"}]}`), "is not a CVE"},
		{"release in DSA", tableOf(DebianList, "[01 Jan 2023] DSA-1-1 x - y\n\t{CVE-2023-0001}\n\t[nowhere] - x 1\n"), "release"},
		{"line in DSA", tableOf(DebianList, "[01 Jan 2023] DSA-1-1 x - y\n\tx 1 2 3\n"), "is not understood"},
		{"regression in DSA", tableOf(DebianList, "[01 Jan 2023] DSA-1-2 x - regression update\n\t[bullseye] - x 1\n"), "regression"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := build(t, records(map[string]string{"a.json": npm("OSV-1", "a", "")}), tt.source)
			if len(res.Problems) != 1 || !strings.Contains(res.Problems[0].Reason, tt.want) || !res.Problems[0].Lost {
				t.Errorf("problems %+v, want one with %q", res.Problems, tt.want)
			}
		})
	}
	for name, source := range map[string]Source{
		"KEV of another shape": tableOf(KEV, `{}`), "KEV cut off": tableOf(KEV, `{"vulnerabilities":[`),
		"DSA of an impossible day": tableOf(DebianList, "[41 Jan 2023] DSA-1-1 x - y\n"),
	} {
		if _, err := Build(context.Background(), BuildOptions{Sources: []Source{source}, Out: t.TempDir(), Time: builtAt}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
