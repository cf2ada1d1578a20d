package finding_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got, -update writes it):\n%s", path, diff)
	}
}

func hash(digit string) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(digit, 64)} }

func sample() finding.Report {
	return finding.Report{
		Subject: hash("a"), Image: "ghcr.io/acme/app", Platform: "linux/amd64",
		Scanner: "grype", ScannerVersion: "v0.120.1",
		Database: finding.Database{
			Schema: "v6.1.10", Built: time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC), Digest: hash("d").String(),
			Source: "https://advisories.acme.example/v6", Signed: true, Providers: []string{"debian", "pypa"},
		},
		Coverage: []finding.Coverage{
			{Ecosystem: "deb (debian 12)", Packages: 140, Covered: true},
			{Ecosystem: "npm", Packages: 3},
		},
		Findings: []finding.Finding{
			{
				ID: "PYSEC-2023-62", Aliases: []string{"CVE-2023-30861", "GHSA-m2qf-hxjv-5gpq"},
				Package:  finding.Package{Name: "flask", Version: "2.2.2", Type: "pypi", PURL: "pkg:pypi/flask@2.2.2", Locations: []string{"/usr/lib/python3/dist-packages/Flask-2.2.2.egg-info/PKG-INFO"}},
				Severity: finding.High, SeveritySource: "alias GHSA-m2qf-hxjv-5gpq (github)",
				FixedIn: []string{"2.2.5", "2.3.2"}, FixState: "fixed", Namespace: "pypa:language:python",
				Constraint: "<2.2.5", URL: "https://github.com/pypa/advisory-database",
			},
			{
				ID:       "CVE-2024-1",
				Package:  finding.Package{Name: "libssl3", Version: "3.0.1-1", Type: "deb", PURL: "pkg:deb/debian/libssl3@3.0.1-1?arch=amd64&distro=debian-12&upstream=openssl", Upstream: "openssl", Locations: []string{"/var/lib/dpkg/status"}},
				Severity: finding.Critical, FixState: "not-fixed", KEV: true, URL: "javascript:alert(1)",
			},
			{
				ID:       "GO-2024-1",
				Package:  finding.Package{Name: "evil|name`<script>\n", Version: "0", Type: "golang"},
				Severity: finding.Unknown, FixState: "unknown", URL: "https://pkg.go.dev/vuln/GO-2024-1",
			},
			{
				ID:       "CVE-2024-1",
				Package:  finding.Package{Name: "openssl", Version: "3.0.1-1", Type: "deb", Locations: []string{"/a b/c:d?e#f"}},
				Severity: finding.Low, FixState: "wont-fix",
			},
		},
		Uncomparable: []finding.Package{{Name: "odd", Version: "(devel)", Type: "golang"}},
	}
}

func TestSortIsTheSameFromAnyOrder(t *testing.T) {
	want := sample()
	want.Sort()
	var order []string
	for _, f := range want.Findings {
		order = append(order, f.Severity.String()+" "+f.ID+" "+f.Package.Name)
	}
	if diff := cmp.Diff([]string{"critical CVE-2024-1 libssl3", "high PYSEC-2023-62 flask", "low CVE-2024-1 openssl", "unknown GO-2024-1 evil|name`<script>\n"}, order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got := sample()
	slices.Reverse(got.Findings)
	slices.Reverse(got.Coverage)
	got.Sort()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Findings equal in all that a reader sees must not keep the scanner's order.
func TestSortLeavesNothingToChance(t *testing.T) {
	one := finding.Finding{ID: "A", Package: finding.Package{Name: "n", Version: "1", Type: "deb"}}
	for field, change := range map[string]func(*finding.Finding){
		"severity":  func(f *finding.Finding) { f.Severity = finding.Low },
		"id":        func(f *finding.Finding) { f.ID = "B" },
		"name":      func(f *finding.Finding) { f.Package.Name = "o" },
		"version":   func(f *finding.Finding) { f.Package.Version = "2" },
		"type":      func(f *finding.Finding) { f.Package.Type = "npm" },
		"purl":      func(f *finding.Finding) { f.Package.PURL = "pkg:deb/n" },
		"locations": func(f *finding.Finding) { f.Package.Locations = []string{"/a"} },
		"namespace": func(f *finding.Finding) { f.Namespace = "x" },
	} {
		other := one
		change(&other)
		a, b := finding.Report{Findings: []finding.Finding{one, other}}, finding.Report{Findings: []finding.Finding{other, one}}
		a.Sort()
		b.Sort()
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("by %s:\n%s", field, diff)
		}
	}
}

func TestCounts(t *testing.T) {
	want := map[finding.Severity]int{finding.Critical: 1, finding.High: 1, finding.Low: 1, finding.Unknown: 1}
	if diff := cmp.Diff(want, sample().Counts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSeverityWords(t *testing.T) {
	for s := finding.Unknown; s <= finding.Critical; s++ {
		text, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var again finding.Severity
		if err := again.UnmarshalText([]byte(strings.ToUpper(string(text)))); err != nil || again != s {
			t.Errorf("%s read as %s, %v", s, again, err)
		}
	}
	for _, s := range []finding.Severity{-1, 6} {
		if text, err := s.MarshalText(); err == nil {
			t.Errorf("%d written as %s", int(s), text)
		}
		if s.String() != "unknown" {
			t.Errorf("%d reads %s", int(s), s)
		}
	}
	var s finding.Severity
	if err := s.UnmarshalText([]byte("urgent")); err == nil {
		t.Error("read urgent")
	}
}

func TestPackageIs(t *testing.T) {
	p := finding.Package{Name: "net", PURL: "pkg:golang/golang.org/x/net@v0.1.0?type=module#http2"}
	for ref, want := range map[string]bool{
		"net": true, "Net": false, "": false, "golang.org/x/net": false,
		"pkg:golang/golang.org/x/net":                          true,
		"pkg:golang/golang.org/x/net@v0.1.0":                   true,
		"pkg:golang/golang.org/x/net@v0.1.0?type=module#http2": true,
		"pkg:golang/golang.org/x/net@v0.1.1":                   false,
		"pkg:golang/golang.org/x/net?type=other":               false,
		"pkg:golang/golang.org/x/net?arch=amd64":               false,
		"pkg:golang/golang.org/x/net#html":                     false,
		"pkg:golang/golang.org/x/text":                         false,
		"pkg:golang/golang.org/net":                            false,
		"pkg:npm/golang.org/x/net":                             false,
		"pkg:":                                                 false, "pkg:golang": false,
	} {
		if got := p.Is(ref); got != want {
			t.Errorf("Is(%q) = %v", ref, got)
		}
	}
	if (finding.Package{}).Is("") {
		t.Error("nothing is something")
	}
	if (finding.Package{Name: "net"}).Is("pkg:golang/net") {
		t.Error("a package without package URL is meant by one")
	}
}

func TestFindingIs(t *testing.T) {
	f := finding.Finding{ID: "GHSA-aaaa", Aliases: []string{"CVE-2024-1"}}
	for id, want := range map[string]bool{"GHSA-aaaa": true, "cve-2024-1": true, "CVE-2024-12": false, "CVE-2024": false, "": false} {
		if got := f.Is(id); got != want {
			t.Errorf("Is(%q) = %v", id, got)
		}
	}
	if (finding.Finding{}).Is("") {
		t.Error("nothing is something")
	}
}

func TestFixable(t *testing.T) {
	for _, test := range []struct {
		f    finding.Finding
		want bool
	}{
		{finding.Finding{}, false},
		{finding.Finding{FixState: "wont-fix"}, false},
		{finding.Finding{FixState: "fixed"}, true},
		{finding.Finding{FixState: "unknown", FixedIn: []string{"2"}}, true},
	} {
		if got := test.f.Fixable(); got != test.want {
			t.Errorf("%+v: %v", test.f, got)
		}
	}
}

func TestReportAsJSON(t *testing.T) {
	r := sample()
	r.Sort()
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", append(data, '\n'))
	again, err := finding.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, again); diff != "" {
		t.Errorf("round trip (-before +after):\n%s", diff)
	}
}

func TestReportWithoutFindingsSaysSo(t *testing.T) {
	data, err := json.Marshal(finding.Report{Subject: hash("a")})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"findings":[]`, `"coverage":[]`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in %s", want, data)
		}
	}
}

// Whatever a report leaves out must not read as nothing found.
func TestDecodeAssumesNothing(t *testing.T) {
	data, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(map[string]any)) string {
		var m map[string]any
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		f(m)
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	first := func(m map[string]any, list string) map[string]any { return m[list].([]any)[0].(map[string]any) }
	bad := map[string]string{
		"empty": "", "null": "null", "object": "{}", "list": "[]",
		"severity misspelt": change(func(m map[string]any) { first(m, "findings")["severity"] = "meduim" }),
		"no severity":       change(func(m map[string]any) { delete(first(m, "findings"), "severity") }),
		"null severity":     change(func(m map[string]any) { first(m, "findings")["severity"] = nil }),
		"no kev":            change(func(m map[string]any) { delete(first(m, "findings"), "kev") }),
		"no id":             change(func(m map[string]any) { delete(first(m, "findings"), "id") }),
		"no package":        change(func(m map[string]any) { delete(first(m, "findings"), "package") }),
		"no covered":        change(func(m map[string]any) { delete(first(m, "coverage"), "covered") }),
		"bad subject":       change(func(m map[string]any) { m["subject"] = "sha256:abc" }),
	}
	for _, member := range []string{"subject", "scanner", "database", "coverage", "findings"} {
		bad["no "+member] = change(func(m map[string]any) { delete(m, member) })
		bad["null "+member] = change(func(m map[string]any) { m[member] = nil })
	}
	for name, text := range bad {
		if r, err := finding.Decode([]byte(text)); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
	if _, err := finding.Decode([]byte(change(func(m map[string]any) { m["later"] = 1 }))); err != nil {
		t.Errorf("a member of a later version: %v", err)
	}
	if _, err := finding.Decode(make([]byte, finding.MaxReport+1)); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("too large: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	data, err := json.Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"subject":"sha256:x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := finding.Decode(data)
		if err != nil {
			return
		}
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		again, err := finding.Decode(written)
		if err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, written)
		}
		second, err := json.Marshal(again)
		if err != nil || !reflect.DeepEqual(written, second) {
			t.Errorf("second writing differs: %v\n%s\n%s", err, written, second)
		}
	})
}
