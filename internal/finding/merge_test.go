package finding_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

func platformReport(platform, arch string) finding.Report {
	r := sample()
	r.Platform = platform
	r.Findings = []finding.Finding{{
		ID: "CVE-2024-1", Severity: finding.Medium, SeveritySource: "vendor debian", FixState: "not-fixed",
		Package: finding.Package{
			Name: "libssl3", Version: "1", Type: "deb", PURL: "pkg:deb/debian/libssl3@1?arch=" + arch + "&distro=debian-12",
			Locations: []string{"/lib/" + arch},
		},
	}}
	r.Uncomparable = []finding.Package{{Name: "odd", Type: "deb", PURL: "pkg:deb/debian/odd?arch=" + arch, Locations: []string{"/" + arch}}}
	return r
}

func TestMergePlatforms(t *testing.T) {
	amd, arm := platformReport("linux/amd64", "amd64"), platformReport("linux/arm64", "arm64")
	only := arm.Findings[0]
	only.ID = "CVE-2024-2"
	f := &arm.Findings[0]
	f.Severity, f.SeveritySource, f.KEV, f.FixedIn, f.FixState, f.Aliases = finding.High, "alias", true, []string{"2"}, "fixed", []string{"DSA-1"}
	arm.Findings = append(arm.Findings, only)
	arm.Coverage = []finding.Coverage{{Ecosystem: "deb (debian 12)", Packages: 150}, {Ecosystem: "apk", Packages: 1, Covered: true}}
	arm.Database.Built = amd.Database.Built.Add(-time.Hour)

	want := sample()
	want.Subject, want.Platform, want.Database = hash("f"), "", arm.Database
	want.Coverage = []finding.Coverage{
		{Ecosystem: "apk", Packages: 1, Covered: true},
		{Ecosystem: "deb (debian 12)", Packages: 150},
		{Ecosystem: "npm", Packages: 3},
	}
	want.Findings = []finding.Finding{{
		ID: "CVE-2024-1", Aliases: []string{"DSA-1"}, Severity: finding.High, SeveritySource: "alias", KEV: true,
		FixedIn: []string{"2"}, FixState: "fixed", Platforms: []string{"linux/amd64", "linux/arm64"},
		Package: finding.Package{
			Name: "libssl3", Version: "1", Type: "deb", PURL: "pkg:deb/debian/libssl3@1?distro=debian-12",
			Locations: []string{"/lib/amd64", "/lib/arm64"},
		},
	}, {
		ID: "CVE-2024-2", Severity: finding.Medium, SeveritySource: "vendor debian", FixState: "not-fixed", Platforms: []string{"linux/arm64"},
		Package: finding.Package{
			Name: "libssl3", Version: "1", Type: "deb", PURL: "pkg:deb/debian/libssl3@1?distro=debian-12",
			Locations: []string{"/lib/arm64"},
		},
	}}
	want.Uncomparable = []finding.Package{{Name: "odd", Type: "deb", PURL: "pkg:deb/debian/odd", Locations: []string{"/amd64", "/arm64"}}}

	for name, order := range map[string][]finding.Report{"amd first": {amd, arm}, "arm first": {arm, amd}} {
		before := []finding.Report{clone(order[0]), clone(order[1])}
		got := finding.MergePlatforms(hash("f"), order...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(before, order); diff != "" {
			t.Errorf("%s: changed its input:\n%s", name, diff)
		}
	}
}

func clone(r finding.Report) finding.Report {
	r.Findings, r.Coverage, r.Uncomparable = slices.Clone(r.Findings), slices.Clone(r.Coverage), slices.Clone(r.Uncomparable)
	return r
}

// Packages that differ in more than the architecture stay apart, and so do
// advisories of different data sets.
func TestMergeKeepsDifferentPackagesApart(t *testing.T) {
	a, b := platformReport("linux/amd64", "amd64"), platformReport("linux/arm64", "arm64")
	b.Findings[0].Package.Version = "2"
	otherData := b.Findings[0]
	otherData.Namespace = "nvd:cpe"
	b.Findings = append(b.Findings, otherData)
	if got := finding.MergePlatforms(hash("f"), a, b); len(got.Findings) != 3 {
		t.Errorf("got %+v", got.Findings)
	}
}

// An exception or VEX statement for one architecture must not clear the
// finding on all of them.
func TestMergedFindingIsOfNoArchitecture(t *testing.T) {
	got := finding.MergePlatforms(hash("f"), platformReport("linux/amd64", "amd64"), platformReport("linux/arm64", "arm64"))
	p := got.Findings[0].Package
	if p.Is("pkg:deb/debian/libssl3?arch=amd64") || !p.Is("pkg:deb/debian/libssl3") {
		t.Errorf("package is %+v", p)
	}
}

func TestMergeOfManyKeepsFiveLocations(t *testing.T) {
	var all []finding.Report
	for _, arch := range []string{"a", "b", "c", "d", "e", "f"} {
		all = append(all, platformReport("linux/"+arch, arch))
	}
	got := finding.MergePlatforms(hash("f"), all...)
	if len(got.Findings) != 1 || len(got.Findings[0].Package.Locations) != 5 || len(got.Findings[0].Platforms) != 6 {
		t.Errorf("got %+v", got.Findings)
	}
}

func TestMergeOfNothingHasNoDatabase(t *testing.T) {
	got := finding.MergePlatforms(hash("f"))
	if !got.Database.Built.IsZero() || got.Subject != hash("f") {
		t.Errorf("got %+v", got)
	}
}
