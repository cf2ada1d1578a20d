package advisory

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/anchore/grype/grype"
	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/matcher"
	grypepkg "github.com/anchore/grype/grype/pkg"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

var builtAt = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// real are the sources in testdata: real records, real tables.
func real() []Source {
	return []Source{
		{Kind: OSV, Path: "testdata/osv"},
		{Kind: OSV, Path: "testdata/facts"},
		{Kind: DebianList, Path: "testdata/debian"},
		{Kind: KEV, Path: "testdata/kev.json"},
		{Kind: CVSS, Path: "testdata/cvss.tsv"},
	}
}

func build(t testing.TB, sources ...Source) Result {
	t.Helper()
	res, err := Build(context.Background(), BuildOptions{Sources: sources, Out: t.TempDir(), Time: builtAt})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// records is a source of records written in a test, by file name.
func records(files map[string]string) Source {
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Source{Kind: OSV, Path: ".", FS: fsys}
}

// pkgOf names a package of an image for a test: "pypi django 3.0", or with a
// distribution "deb openssl 1.1.1 debian 11".
func pkgOf(t testing.TB, text string) grypepkg.Package {
	t.Helper()
	f := strings.Fields(text)
	types := map[string]syftpkg.Type{"pypi": syftpkg.PythonPkg, "go": syftpkg.GoModulePkg, "npm": syftpkg.NpmPkg, "maven": syftpkg.JavaPkg,
		"cargo": syftpkg.RustPkg, "gem": syftpkg.GemPkg, "composer": syftpkg.PhpComposerPkg, "nuget": syftpkg.DotnetPkg,
		"deb": syftpkg.DebPkg, "apk": syftpkg.ApkPkg, "bitnami": syftpkg.BitnamiPkg, "hex": syftpkg.HexPkg, "pub": syftpkg.DartPubPkg}
	kind, ok := types[f[0]]
	if !ok || len(f) < 3 {
		t.Fatalf("package %q is not understood", text)
	}
	p := grypepkg.Package{ID: grypepkg.ID(text), Name: f[1], Version: f[2], Type: kind}
	if kind == syftpkg.JavaPkg {
		group, artifact, _ := strings.Cut(f[1], ":")
		p.Name, p.PURL = artifact, "pkg:maven/"+group+"/"+artifact+"@"+f[2]
	}
	if kind == syftpkg.GoModulePkg {
		p.Language = syftpkg.Go
	}
	if len(f) == 5 {
		codenames := map[string]string{"debian 11": "bullseye", "debian 12": "bookworm", "debian 10": "buster", "ubuntu 22.04": "jammy"}
		p.Distro = distro.New(distro.Type(f[3]), f[4], codenames[f[3]+" "+f[4]])
	}
	return p
}

// scan matches packages with grype's own matchers and database reader.
func scan(t testing.TB, dir string, packages ...string) []match.Match {
	t.Helper()
	rdr, err := v6.NewReader(v6.Config{DBDirPath: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer rdr.Close()
	m := grype.VulnerabilityMatcher{
		VulnerabilityProvider: v6.NewVulnerabilityProvider(rdr),
		Matchers:              matcher.NewDefaultMatchers(matcher.Config{}),
	}
	var pkgs []grypepkg.Package
	for _, text := range packages {
		pkgs = append(pkgs, pkgOf(t, text))
	}
	found, _, err := m.FindMatchesContext(context.Background(), pkgs, grypepkg.Context{})
	if err != nil {
		t.Fatal(err)
	}
	return found.Sorted()
}

// ids gives what is found for one package, sorted.
func ids(t testing.TB, dir, pkg string) []string {
	t.Helper()
	out := []string{}
	for _, m := range scan(t, dir, pkg) {
		out = append(out, m.Vulnerability.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
