// Package scantest makes small vulnerability databases for tests, through
// grype's own writer, so that what reads them is tested on the real format.
package scantest

import (
	"strings"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
)

// Advisory is one row of a test database: one vulnerability that affects one
// package.
type Advisory struct {
	// ID is the vulnerability's name; Aliases are its other names.
	ID      string
	Aliases []string
	// Provider names the data set; default "test".
	Provider string
	// Type is syft's package type: deb, python, npm, go-module.
	Type string
	// Package is the name the advisory is filed under.
	Package string
	// Vendor, when set, files the advisory under a CPE of the application
	// Vendor:Package instead of a package of Type.
	Vendor string
	// Distro is "debian 12 bookworm", for operating system packages. Grype
	// finds no row of a release by number when the image names the codename
	// and the row does not.
	Distro string
	// Affected is the version range, such as "<2.36-9+deb12u3"; empty for all
	// versions. Format is grype's name of the version scheme; default by Type.
	Affected string
	Format   string
	// Fixed is the version with the fix; empty for none.
	Fixed string
	// Severity is a word such as "critical"; CVSS a version 3.1 vector. Both
	// may be empty; the word ranks first.
	Severity string
	CVSS     string
	// SeveritySource says where the severity comes from.
	SeveritySource string
	// Unaffected makes the row say that the versions are not affected.
	Unaffected bool
	// KEV puts every CVE among ID and Aliases into the catalogue of known
	// exploited vulnerabilities.
	KEV bool
	// Related is a record of its own for an alias, with a severity, that
	// affects no package: what NVD has for a CVE.
	Related []Advisory
}

// Database writes the advisories to a new database and gives its folder.
func Database(t testing.TB, advisories ...Advisory) string {
	t.Helper()
	dir := t.TempDir()
	w, err := v6.NewWriter(v6.Config{DBDirPath: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range advisories {
		write(t, w, a)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v6.Hydrater()(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t testing.TB, w v6.ReadWriter, a Advisory) {
	t.Helper()
	v := handle(a)
	if err := w.AddVulnerabilities(v); err != nil {
		t.Fatal(err)
	}
	switch {
	case a.Package == "":
	case a.Vendor != "":
		c := &v6.AffectedCPEHandle{
			VulnerabilityID: v.ID,
			CPE:             &v6.Cpe{Part: "a", Vendor: a.Vendor, Product: a.Package},
			BlobValue:       &v6.PackageBlob{Ranges: []v6.Range{affected(a)}},
		}
		if err := w.AddAffectedCPEs(c); err != nil {
			t.Fatal(err)
		}
	default:
		p := &v6.AffectedPackageHandle{
			VulnerabilityID: v.ID,
			Package:         &v6.Package{Ecosystem: a.Type, Name: a.Package},
			OperatingSystem: system(a.Distro),
			BlobValue:       &v6.PackageBlob{Ranges: []v6.Range{affected(a)}},
		}
		add := func() error { return w.AddAffectedPackages(p) }
		if a.Unaffected {
			add = func() error { return w.AddUnaffectedPackages((*v6.UnaffectedPackageHandle)(p)) }
		}
		if err := add(); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range append([]string{a.ID}, a.Aliases...) {
		if !a.KEV || !strings.HasPrefix(id, "CVE-") {
			continue
		}
		kev := &v6.KnownExploitedVulnerabilityHandle{Cve: id, BlobValue: &v6.KnownExploitedVulnerabilityBlob{Cve: id}}
		if err := w.AddKnownExploitedVulnerabilities(kev); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range a.Related {
		write(t, w, r)
	}
}

func handle(a Advisory) *v6.VulnerabilityHandle {
	provider := a.Provider
	if provider == "" {
		provider = "test"
	}
	day := time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC)
	blob := &v6.VulnerabilityBlob{
		ID:         a.ID,
		Aliases:    a.Aliases,
		References: []v6.Reference{{URL: "https://advisories.example/" + a.ID}},
	}
	if a.Severity != "" {
		blob.Severities = append(blob.Severities, v6.Severity{Scheme: v6.SeveritySchemeCHMLN, Value: a.Severity, Source: a.SeveritySource, Rank: 1})
	}
	if a.CVSS != "" {
		blob.Severities = append(blob.Severities, v6.Severity{
			Scheme: v6.SeveritySchemeCVSS, Value: v6.CVSSSeverity{Vector: a.CVSS, Version: "3.1"}, Source: a.SeveritySource, Rank: 2,
		})
	}
	return &v6.VulnerabilityHandle{
		Name:          a.ID,
		Status:        v6.VulnerabilityActive,
		PublishedDate: &day,
		ProviderID:    provider,
		Provider:      &v6.Provider{ID: provider, Version: "1", Processor: "scantest", DateCaptured: &day},
		BlobValue:     blob,
	}
}

func system(distro string) *v6.OperatingSystem {
	words := strings.Fields(distro)
	if len(words) == 0 {
		return nil
	}
	os := &v6.OperatingSystem{Name: words[0], ReleaseID: words[0]}
	if len(words) > 1 {
		os.MajorVersion, os.MinorVersion, _ = strings.Cut(words[1], ".")
	}
	if len(words) > 2 {
		os.Codename = words[2]
	}
	return os
}

func affected(a Advisory) v6.Range {
	format := a.Format
	if format == "" {
		format = map[string]string{"deb": "dpkg", "python": "python", "npm": "semver", "go-module": "go", "apk": "apk", "rpm": "rpm"}[a.Type]
	}
	r := v6.Range{
		Version: v6.Version{Type: format, Constraint: a.Affected},
		Fix:     &v6.Fix{State: v6.NotFixedStatus},
	}
	if a.Fixed != "" {
		r.Fix = &v6.Fix{State: v6.FixedStatus, Version: a.Fixed}
	}
	return r
}
