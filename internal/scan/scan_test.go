package scan_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/catalog"
	"github.com/hallmark-sh/hallmark/internal/catalog/catalogtest"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/scan"
	"github.com/hallmark-sh/hallmark/internal/scan/scantest"
)

func inventory(t testing.TB, img v1.Image) *catalog.Inventory {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	inv, err := catalog.Run(t.Context(), img, catalog.Options{
		Subject: digest, Platform: "linux/amd64", Repository: "registry.example/demo/app", Time: time.Unix(1700000000, 0), Scratch: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func match(t testing.TB, dir string, files ...catalogtest.Files) finding.Report {
	t.Helper()
	db, err := scan.Open(t.Context(), dir, finding.Database{Source: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	report, err := db.Match(t.Context(), inventory(t, catalogtest.Image(t, files...)))
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// glibc is filed under the source package, as Debian does.
var glibc = scantest.Advisory{
	ID: "CVE-2023-4911", Provider: "debian", Type: "deb", Package: "glibc", Distro: "debian 12 bookworm",
	Affected: "<2.36-9+deb12u3", Fixed: "2.36-9+deb12u3", Severity: "high", KEV: true,
}

func TestMatch(t *testing.T) {
	dir := scantest.Database(t, glibc,
		scantest.Advisory{ID: "CVE-2020-0001", Provider: "debian", Type: "deb", Package: "glibc", Distro: "debian 11 bullseye", Affected: "<99"},
		scantest.Advisory{
			ID: "PYSEC-2023-74", Aliases: []string{"CVE-2023-32681", "GHSA-j8r2-6x86-q33q"}, Provider: "pypa",
			Type: "python", Package: "requests", Affected: ">=2.3.0,<2.31.0", Fixed: "2.31.0",
		},
		scantest.Advisory{
			ID: "GHSA-35jh-r3h4-6jhm", Aliases: []string{"CVE-2021-23337"}, Provider: "github",
			Type: "npm", Package: "lodash", Affected: "<4.17.21", Fixed: "4.17.21", CVSS: "CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:U/C:H/I:H/A:H",
		},
	)
	report := match(t, dir, catalogtest.Merge(
		catalogtest.Debian(),
		catalogtest.Dpkg("libc6 2.36-9 glibc", "bash 5.2.15-2"),
		catalogtest.Wheel("requests", "2.30.0"),
		catalogtest.Npm("lodash", "4.17.20"),
	))
	want := []finding.Finding{
		{
			ID:       "CVE-2023-4911",
			Package:  finding.Package{Name: "libc6", Version: "2.36-9", Type: "deb", PURL: "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12&upstream=glibc", Locations: []string{"/var/lib/dpkg/status"}, Upstream: "glibc"},
			Severity: finding.High, SeveritySource: "vendor:debian", FixedIn: []string{"2.36-9+deb12u3"}, FixState: "fixed", KEV: true,
			Namespace: "debian:distro:debian:12", Constraint: "<2.36-9+deb12u3", URL: "https://advisories.example/CVE-2023-4911",
		},
		{
			ID: "GHSA-35jh-r3h4-6jhm", Aliases: []string{"CVE-2021-23337"},
			Package:  finding.Package{Name: "lodash", Version: "4.17.20", Type: "npm", PURL: "pkg:npm/lodash@4.17.20", Locations: []string{"/app/node_modules/lodash/package.json"}},
			Severity: finding.High, SeveritySource: "cvss:github", FixedIn: []string{"4.17.21"}, FixState: "fixed",
			Namespace: "github:language:javascript", Constraint: "<4.17.21", URL: "https://advisories.example/GHSA-35jh-r3h4-6jhm",
		},
		{
			ID: "PYSEC-2023-74", Aliases: []string{"CVE-2023-32681", "GHSA-j8r2-6x86-q33q"},
			Package:  finding.Package{Name: "requests", Version: "2.30.0", Type: "pypi", PURL: "pkg:pypi/requests@2.30.0", Locations: []string{"/usr/local/lib/python3.11/site-packages/requests-2.30.0.dist-info/METADATA", "/usr/local/lib/python3.11/site-packages/requests-2.30.0.dist-info/RECORD"}},
			Severity: finding.Unknown, FixedIn: []string{"2.31.0"}, FixState: "fixed",
			Namespace: "pypa:language:python", Constraint: ">=2.3.0,<2.31.0", URL: "https://advisories.example/PYSEC-2023-74",
		},
	}
	if diff := cmp.Diff(want, report.Findings); diff != "" {
		t.Error(diff)
	}
	coverage := []finding.Coverage{
		{Ecosystem: "deb (debian 12)", Packages: 2, Covered: true},
		{Ecosystem: "npm", Packages: 1, Covered: true},
		{Ecosystem: "pypi", Packages: 1, Covered: true},
	}
	if diff := cmp.Diff(coverage, report.Coverage); diff != "" {
		t.Error(diff)
	}
	if got, want := report.Database.Providers, []string{"debian", "github", "pypa"}; !cmp.Equal(got, want) {
		t.Errorf("providers %v, want %v", got, want)
	}
	if report.Database.Schema != "v6.1.10" || report.Database.Digest == "" || report.ScannerVersion == "" {
		t.Errorf("database and scanner are %+v, %s", report.Database, report.ScannerVersion)
	}
}

// A program that no package manager installed is known by its bytes, and only
// a CPE names it.
func TestMatchByCPE(t *testing.T) {
	program := catalogtest.Files{"usr/local/go/bin/go": "\x7fELF\x00go1.21.5\x00"}
	dir := scantest.Database(t, scantest.Advisory{
		ID: "CVE-2024-24790", Provider: "nvd", Vendor: "golang", Package: "go", Affected: "<1.21.11", Fixed: "1.21.11", Severity: "critical",
	})
	report := match(t, dir, program)
	if len(report.Findings) != 1 || report.Findings[0].Severity != finding.Critical || report.Findings[0].Namespace != "nvd:cpe" {
		t.Errorf("findings %+v, want the one of the go command", report.Findings)
	}
	if diff := cmp.Diff([]finding.Coverage{{Ecosystem: "generic", Packages: 1, Covered: true}}, report.Coverage); diff != "" {
		t.Error(diff)
	}
	// CPEs are for what has no matcher of its own.
	report = match(t, dir, catalogtest.Wheel("requests", "2.30.0"))
	if diff := cmp.Diff([]finding.Coverage{{Ecosystem: "pypi", Packages: 1}}, report.Coverage); diff != "" {
		t.Error(diff)
	}
	report = match(t, scantest.Database(t, glibc), program)
	if diff := cmp.Diff([]finding.Coverage{{Ecosystem: "generic", Packages: 1}}, report.Coverage); diff != "" {
		t.Error(diff)
	}
}

// A gate that trusts "no findings" must hear when there was nothing to find
// findings in.
func TestCoverage(t *testing.T) {
	dir := scantest.Database(t, glibc,
		scantest.Advisory{ID: "CVE-1", Provider: "debian", Type: "python", Package: "requests", Distro: "debian 12 bookworm"},
	)
	report := match(t, dir, catalogtest.Merge(
		catalogtest.Debian(), catalogtest.Dpkg("libc6 2.36-9+deb12u3 glibc"),
		catalogtest.Wheel("requests", "2.30.0"), catalogtest.Npm("lodash", "4.17.20"),
	))
	want := []finding.Coverage{
		{Ecosystem: "deb (debian 12)", Packages: 1, Covered: true},
		{Ecosystem: "npm", Packages: 1},
		{Ecosystem: "pypi", Packages: 1},
	}
	if diff := cmp.Diff(want, report.Coverage); diff != "" {
		t.Error(diff)
	}
	if len(report.Findings) != 0 {
		t.Errorf("findings %+v, want none", report.Findings)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := scantest.Database(t, glibc)
	raw, err := os.ReadFile(filepath.Join(good, "vulnerability.db"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "vulnerability.db"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "vulnerability.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		dir  string
		want error
	}{
		"no folder":      {filepath.Join(t.TempDir(), "nowhere"), scan.ErrMissing},
		"no file":        {t.TempDir(), scan.ErrMissing},
		"a folder":       {folder, scan.ErrCorrupt},
		"empty file":     {write(nil), scan.ErrSchema},
		"not a database": {write([]byte("these are not the bytes you are looking for, and there are a hundred of them, or even more than that")), scan.ErrCorrupt},
		"half a file":    {write(raw[:len(raw)/2]), scan.ErrCorrupt},
		"no advisory":    {scantest.Database(t), scan.ErrEmpty},
		"an odd path":    {filepath.Join(t.TempDir(), "x?mode=rwc"), scan.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := scan.Open(context.Background(), test.dir, finding.Database{})
			if !errors.Is(err, test.want) {
				t.Fatalf("Open gave %v, want %v", err, test.want)
			}
			if db != nil {
				t.Error("Open gave a database beside the error")
			}
			if hint.Of(err) == "" {
				t.Errorf("%v comes without a hint", err)
			}
		})
	}
}

// Grype logs a look-up that fails and goes on as if nothing had been found.
func TestMatchFailsClosed(t *testing.T) {
	for name, files := range map[string]catalogtest.Files{
		"deb":    catalogtest.Merge(catalogtest.Debian(), catalogtest.Dpkg("libc6 2.36-9 glibc")),
		"python": catalogtest.Wheel("requests", "2.30.0"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := scantest.Database(t, glibc, scantest.Advisory{ID: "PYSEC-1", Type: "python", Package: "requests", Affected: "<2.31.0"})
			change(t, dir, `UPDATE blobs SET value = '{'`)
			db, err := scan.Open(t.Context(), dir, finding.Database{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			report, err := db.Match(t.Context(), inventory(t, catalogtest.Image(t, files)))
			if err == nil {
				t.Fatalf("a damaged database gives a report with %d findings", len(report.Findings))
			}
		})
	}
}

func TestMatchStops(t *testing.T) {
	db, err := scan.Open(t.Context(), scantest.Database(t, glibc), finding.Database{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	inv := inventory(t, catalogtest.Image(t, catalogtest.Wheel("requests", "2.30.0")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Match(ctx, inv); !errors.Is(err, context.Canceled) {
		t.Errorf("Match gave %v, want it to stop", err)
	}
}

func TestOpenRefusesOtherSchemas(t *testing.T) {
	for name, statement := range map[string]string{
		"version 5":   `UPDATE db_metadata SET model = 5`,
		"no metadata": `DROP TABLE db_metadata`,
		"no row":      `DELETE FROM db_metadata`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := scantest.Database(t, glibc)
			change(t, dir, statement)
			if _, err := scan.Open(t.Context(), dir, finding.Database{}); !errors.Is(err, scan.ErrSchema) {
				t.Errorf("Open gave %v, want ErrSchema", err)
			}
		})
	}
}

// change rewrites a database behind everybody's back.
func change(t testing.TB, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "vulnerability.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func TestDigest(t *testing.T) {
	dir := scantest.Database(t, glibc)
	raw, err := os.ReadFile(filepath.Join(dir, "vulnerability.db"))
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"":             fmt.Sprintf("sha256:%x", sha256.Sum256(raw)),
		"sha256:given": "sha256:given",
	} {
		db, err := scan.Open(t.Context(), dir, finding.Database{Digest: given, Source: "https://mirror.example/db", Signed: true})
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.Database(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Digest != want || got.Source != "https://mirror.example/db" || !got.Signed || got.Built.IsZero() {
			t.Errorf("the database is %+v, want digest %s", got, want)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
