package scan

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/anchore/grype/grype"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/format/syftjson"
	"github.com/anchore/syft/syft/linux"
	syftpkg "github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/catalog"
	"github.com/hallmark-sh/hallmark/internal/catalog/catalogtest"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/scan/scantest"
)

// grypes are the packages grype itself would match for what syft found.
func grypes(t *testing.T, inv *catalog.Inventory) ([]pkg.Package, pkg.Context) {
	t.Helper()
	var doc bytes.Buffer
	if err := syftjson.NewFormatEncoder().Encode(&doc, *inv.Packages); err != nil {
		t.Fatal(err)
	}
	packages, where, _, err := pkg.ProvideFromReader(bytes.NewReader(doc.Bytes()), pkg.ProviderConfig{
		SynthesisConfig: pkg.SynthesisConfig{Distro: pkg.DistroConfig{FixChannels: distro.DefaultFixChannels()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages, where
}

// owned adds a Python package that Debian's own package brings along.
func owned(deb, name, version string) catalogtest.Files {
	dir := fmt.Sprintf("usr/lib/python3/dist-packages/%s-%s.egg-info/", name, version)
	return catalogtest.Files{
		dir + "PKG-INFO":                        fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", name, version),
		"var/lib/dpkg/info/" + deb + ".md5sums": "00000000000000000000000000000000  " + dir + "PKG-INFO\n",
	}
}

func release(id, version string) catalogtest.Files {
	return catalogtest.Files{"etc/os-release": fmt.Sprintf("ID=%s\nVERSION_ID=%q\nID_LIKE=\"debian\"\n", id, version)}
}

// The packages and the findings must be grype's own, on images where its rules
// about ownership, distributions and versions make a difference.
func TestSameAsGrype(t *testing.T) {
	dir := scantest.Database(t,
		scantest.Advisory{ID: "CVE-1", Provider: "debian", Type: "deb", Package: "python-flask", Distro: "debian 12 bookworm", Affected: "<3"},
		scantest.Advisory{ID: "CVE-2", Provider: "ubuntu", Type: "deb", Package: "python-flask", Distro: "ubuntu 22.04 jammy", Affected: "<3"},
		scantest.Advisory{ID: "CVE-3", Provider: "debian", Type: "deb", Package: "linux", Distro: "debian 12 bookworm"},
		scantest.Advisory{ID: "GHSA-1", Provider: "github", Type: "python", Package: "flask", Affected: "<3"},
		scantest.Advisory{ID: "GHSA-2", Provider: "github", Type: "npm", Package: "lodash", Affected: "<5"},
		// What a record calls unaffected is not found, for some of each kind.
		scantest.Advisory{ID: "GHSA-3", Provider: "github", Type: "npm", Package: "lodash", Affected: "<5"},
		scantest.Advisory{ID: "GHSA-3", Provider: "github", Type: "npm", Package: "lodash", Affected: ">=4.17.20", Unaffected: true},
		scantest.Advisory{ID: "CVE-4", Provider: "debian", Type: "deb", Package: "python-flask", Distro: "debian 12 bookworm", Affected: "<3"},
		scantest.Advisory{ID: "CVE-4", Provider: "debian", Type: "deb", Package: "python-flask", Distro: "debian 12 bookworm", Affected: ">=2", Unaffected: true},
		scantest.Advisory{ID: "GO-1", Provider: "govulndb", Type: "go-module", Package: "stdlib", Affected: "<99"},
	)
	packages := catalogtest.Merge(
		catalogtest.Dpkg("python3-flask 2.2.2-3 python-flask", "linux-libc-dev 6.1.1-1 linux", "linux-headers-6.1 6.1.1-1 linux"),
		owned("python3-flask", "flask", "2.2.2"), owned("bash", "stray", "1.0"),
		catalogtest.Wheel("flask", "2.0.0"), catalogtest.Npm("lodash", "4.17.20"), catalogtest.Npm("versionless", ""),
		catalogtest.Files{"bin/demo": catalogtest.GoProgram(t, "example.com/demo")},
	)
	for name, release := range map[string]catalogtest.Files{
		"debian":                 catalogtest.Debian(),
		"ubuntu":                 release("ubuntu", "22.04"),
		"ubuntu with a channel":  release("ubuntu", "22.04+esm"),
		"an unknown channel":     release("debian", "12+fast"),
		"derived from debian":    release("mint", "21"),
		"not comprehensive":      {"etc/os-release": "ID=photon\nVERSION_ID=5.0\n"},
		"amazon, like red hat":   {"etc/os-release": "ID=amzn\nVERSION_ID=2\nID_LIKE=\"rhel fedora\"\n"},
		"a release without name": {"etc/os-release": "VERSION_ID=5.0\n"},
		"no release":             {},
	} {
		t.Run(name, func(t *testing.T) {
			inv := inventory(t, catalogtest.Image(t, catalogtest.Merge(packages, release)))
			ours, versionless, where := packagesOf(inv.Packages)
			theirs, theirWhere := grypes(t, inv)
			if diff := cmp.Diff(names(theirs), names(append(slices.Clone(ours), versionless...))); diff != "" {
				t.Errorf("grype would match other packages: %s", diff)
			}
			if !cmp.Equal(where.Distro, theirWhere.Distro, cmpopts.IgnoreUnexported(distro.Distro{})) {
				t.Errorf("the distribution is %v, to grype %v", where.Distro, theirWhere.Distro)
			}

			want, got := findings(t, dir, inv, theirs, theirWhere)
			if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
				t.Errorf("grype finds other things: %s", diff)
			}
		})
	}
}

// findings are what grype finds in its own way, and what Match does.
func findings(t *testing.T, dir string, inv *catalog.Inventory, packages []pkg.Package, where pkg.Context) (want, got []string) {
	t.Helper()
	db, err := Open(t.Context(), dir, finding.Database{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m := grype.VulnerabilityMatcher{VulnerabilityProvider: db.provider, Matchers: matchers(), IgnoreRules: kernelHeaders()}
	matches, _, err := m.FindMatchesContext(t.Context(), packages, where)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range matches.Sorted() {
		want = append(want, m.Vulnerability.ID+" "+m.Package.Name+" "+m.Package.Version)
	}
	report, err := db.Match(t.Context(), inv)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		got = append(got, f.ID+" "+f.Package.Name+" "+f.Package.Version)
	}
	slices.Sort(want)
	slices.Sort(got)
	return want, got
}

func names(packages []pkg.Package) []string {
	var out []string
	for _, p := range packages {
		out = append(out, fmt.Sprintf("%s %s %s %v", p.Type, p.Name, p.Version, p.Distro))
	}
	slices.Sort(out)
	return out
}

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

// Syft removes most programs that a distribution's package owns; the rest is
// left to the matcher. These have to be made by hand.
func TestOwnershipSameAsGrype(t *testing.T) {
	debian := &linux.Release{ID: "debian", VersionID: "12"}
	for name, test := range map[string]struct {
		release      *linux.Release
		owner, child syftpkg.Package
		dropped      bool
	}{
		"program of a deb":               {debian, made(syftpkg.DebPkg, "python3.11", "3.11.2-6"), made(syftpkg.BinaryPkg, "python", "3.11.2"), true},
		"program of another version":     {debian, made(syftpkg.DebPkg, "python3.11", "3.12.2-6"), made(syftpkg.BinaryPkg, "python", "3.11.2"), false},
		"program with the longer one":    {debian, made(syftpkg.DebPkg, "python3.11", "3.11"), made(syftpkg.BinaryPkg, "python", "3.11.2"), true},
		"python of a deb":                {debian, made(syftpkg.DebPkg, "python3-flask", "2.2.2-3"), made(syftpkg.PythonPkg, "flask", "2.2.2"), true},
		"deb of a deb":                   {debian, made(syftpkg.DebPkg, "a", "2.2.2-3"), made(syftpkg.DebPkg, "b", "2.2.2"), false},
		"python of a python":             {debian, made(syftpkg.PythonPkg, "a", "2.2.2"), made(syftpkg.PythonPkg, "b", "2.2.2"), false},
		"program of an apk":              {&linux.Release{ID: "alpine", VersionID: "3.20.1"}, made(syftpkg.ApkPkg, "python3", "3.11.2-r0"), made(syftpkg.BinaryPkg, "python", "3.11.2"), true},
		"python of an apk":               {&linux.Release{ID: "alpine", VersionID: "3.20.1"}, made(syftpkg.ApkPkg, "py3-flask", "2.2.2-r0"), made(syftpkg.PythonPkg, "flask", "2.2.2"), false},
		"python of an rpm":               {&linux.Release{ID: "rhel", VersionID: "9.1"}, made(syftpkg.RpmPkg, "python-flask", "2.2.2-1"), made(syftpkg.PythonPkg, "flask", "2.2.2"), true},
		"python of an rpm, Amazon":       {&linux.Release{ID: "amzn", VersionID: "2", IDLike: []string{"rhel"}}, made(syftpkg.RpmPkg, "python-flask", "2.2.2-1"), made(syftpkg.PythonPkg, "flask", "2.2.2"), false},
		"program without a distribution": {nil, made(syftpkg.DebPkg, "python3.11", "3.11.2-6"), made(syftpkg.BinaryPkg, "python", "3.11.2"), false},
	} {
		t.Run(name, func(t *testing.T) {
			inv := &catalog.Inventory{Packages: &syftsbom.SBOM{
				Artifacts: syftsbom.Artifacts{Packages: syftpkg.NewCollection(test.owner, test.child), LinuxDistribution: test.release},
				Relationships: []artifact.Relationship{
					{From: test.owner, To: test.child, Type: artifact.OwnershipByFileOverlapRelationship},
				},
			}}
			ours, _, _ := packagesOf(inv.Packages)
			theirs, _ := grypes(t, inv)
			if diff := cmp.Diff(names(theirs), names(ours)); diff != "" {
				t.Errorf("grype would match other packages: %s", diff)
			}
			if dropped := len(ours) == 1; dropped != test.dropped {
				t.Errorf("%d packages are left", len(ours))
			}
		})
	}
}

func made(t syftpkg.Type, name, version string) syftpkg.Package {
	p := syftpkg.Package{Name: name, Version: version, Type: t}
	p.SetID()
	return p
}
