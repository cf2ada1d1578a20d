package index_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/anchore/grype/grype"
	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/matcher"
	"github.com/anchore/grype/grype/matcher/dpkg"
	"github.com/anchore/grype/grype/matcher/rpm"
	grypepkg "github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/version"
	"github.com/klauspost/compress/zstd"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/sbom"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// known are the differences from grype that are meant, with the reason: a
// substring of "ours|grype's DOCUMENT ID NAME VERSION".
var known = []struct{ part, reason string }{
	{"ours cyclonedx-aquasecurity_trivy-b5645eca53.cdx.json.zst GHSA-", "grype reads no distribution from distro=3.16.0; the package URL's namespace says that it is alpine's"},
	{"ours cyclonedx-guacsec_guac-data-b1868b69f0.cdx.json.zst GO-2025-3527 github.com/docker/buildx v0.0.0-", "grype leaves out a program's own module with a pseudo-version; the document says that only in syft's properties"},
	{"ours cyclonedx-guacsec_guac-data-b1868b69f0.cdx.json.zst GO-2025-4077 github.com/docker/compose/v2 v0.0.0-", "the same"},
}

// Findings must be grype's own, from the same documents and the same database.
// Every difference is listed in known, with a reason.
func TestParityWithGrype(t *testing.T) {
	documents, err := filepath.Glob("testdata/sboms/*")
	if err != nil || len(documents) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	dir := parityDatabase(t, documents)
	var records []vulnerability.Record
	if err := advisory.Records(t.Context(), dir, func(r vulnerability.Record) error {
		records = append(records, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	reader, err := v6.NewReader(v6.Config{DBDirPath: dir})
	if err != nil {
		t.Fatal(err)
	}
	theirs := grype.VulnerabilityMatcher{
		VulnerabilityProvider: v6.NewVulnerabilityProvider(reader),
		Matchers: matcher.NewDefaultMatchers(matcher.Config{
			Dpkg: dpkg.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyZero},
			Rpm:  rpm.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyAuto},
		}),
	}
	pairs, used := 0, map[string]bool{}
	for _, name := range documents {
		doc := document(t, name)
		want := theirPairs(t, theirs, doc)
		got := ourPairs(t, records, doc)
		for p := range want {
			if !got[p] {
				explain(t, used, "grype's "+filepath.Base(name)+" "+p)
			}
		}
		for p := range got {
			if !want[p] {
				explain(t, used, "ours "+filepath.Base(name)+" "+p)
			}
		}
		pairs += len(want)
	}
	t.Logf("%d documents, %d advisories, %d pairs of grype's", len(documents), len(records), pairs)
	if pairs < 100 {
		t.Errorf("%d pairs are too few to say anything", pairs)
	}
	for _, k := range known {
		if !used[k.part] {
			t.Errorf("the difference %q is no more: take it off the list", k.part)
		}
	}
}

func explain(t *testing.T, used map[string]bool, difference string) {
	t.Helper()
	for _, k := range known {
		if strings.Contains(difference, k.part) {
			used[k.part] = true
			t.Logf("%s: %s", difference, k.reason)
			return
		}
	}
	t.Errorf("only %s", difference)
}

func document(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// theirPairs are what grype finds in a document, as its command would.
func theirPairs(t *testing.T, m grype.VulnerabilityMatcher, doc []byte) map[string]bool {
	t.Helper()
	packages, where, _, err := grypepkg.ProvideFromReader(bytes.NewReader(doc), grypepkg.ProviderConfig{
		SynthesisConfig: grypepkg.SynthesisConfig{Distro: grypepkg.DistroConfig{FixChannels: distro.DefaultFixChannels()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := m.FindMatchesContext(t.Context(), packages, where)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, f := range found.Sorted() {
		c, err := component.FromPURL(f.Package.PURL, f.Package.Version, "")
		if err != nil {
			t.Fatalf("grype matched %q: %v", f.Package.PURL, err)
		}
		name := c.FullName()
		if c.Type == "golang" {
			name = strings.ToLower(f.Package.Name) // Syft writes some module paths as a subpath.
		}
		out[fmt.Sprintf("%s %s %s", f.Vulnerability.ID, name, strings.TrimPrefix(c.Version, "0:"))] = true
	}
	return out
}

// ourPairs are what the index finds in it.
func ourPairs(t *testing.T, records []vulnerability.Record, doc []byte) map[string]bool {
	t.Helper()
	inv, err := sbom.Read(bytes.NewReader(doc), sbom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ix := index.New()
	image := index.Image{ID: 1, Digest: digest(1), Recorded: day(1)}
	var rows []index.PackageRow
	for n, p := range inv.Packages {
		rows = append(rows, index.PackageRow{ID: uint32(n + 1), Package: p.Package})
		image.Packages = append(image.Packages, uint32(n+1))
	}
	if err := ix.AddPackages(rows); err != nil {
		t.Fatal(err)
	}
	if err := ix.AddImage(image); err != nil {
		t.Fatal(err)
	}
	if _, err := ix.Apply(index.Change{Records: records, At: day(2)}); err != nil {
		t.Fatal(err)
	}
	report, err := ix.Image(digest(1).String(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, f := range report.Findings {
		out[fmt.Sprintf("%s %s %s", f.ID, f.Package.FullName(), f.Package.Version)] = true
	}
	return out
}

// ecosystems are OSV's names of the package types that its records can be
// about; an RPM's can't.
var ecosystems = map[string]string{"npm": "npm", "maven": "Maven", "composer": "Packagist", "pypi": "PyPI", "gem": "RubyGems", "cargo": "crates.io", "nuget": "NuGet"}

func ecosystem(c component.Package) string {
	name, release, _ := strings.Cut(c.Distro, "-")
	parts := strings.Split(release, ".")
	switch {
	case name == "alpine" && len(parts) > 1:
		return "Alpine:v" + parts[0] + "." + parts[1]
	case name == "ubuntu" && len(parts) > 1:
		return "Ubuntu:" + parts[0] + "." + parts[1] + ":LTS"
	case name == "debian":
		return "Debian:" + parts[0]
	}
	return ecosystems[c.Type]
}

// parityDatabase is a database of real advisories on Go modules and, because
// none are free for the other ecosystems, of three made ones for each version
// in the documents: that it is affected, that it is the fix, and that it is the
// last affected; under the source package's name too.
func parityDatabase(t *testing.T, documents []string) string {
	t.Helper()
	made := fstest.MapFS{}
	seen := map[string]bool{}
	for _, name := range documents {
		inv, err := sbom.Read(bytes.NewReader(document(t, name)), sbom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range inv.Packages {
			source, version, _ := strings.Cut(p.Upstream, "@")
			for n, name := range []string{p.FullName(), source} {
				if n == 0 || version == "" {
					version = p.Version
				}
				key := ecosystem(p.Package) + " " + name + " " + version
				if name == "" || version == "" || ecosystem(p.Package) == "" || seen[key] {
					continue
				}
				seen[key] = true
				for what, events := range []string{`{"introduced":%q}`, `{"introduced":"0"},{"fixed":%q}`, `{"introduced":"0"},{"last_affected":%q}`} {
					id := fmt.Sprintf("GHSA-%d-%d", len(seen), what)
					text := fmt.Sprintf(`{"id":%q,"modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":%q,"name":%q},"ranges":[{"type":"ECOSYSTEM","events":[%s]}]}]}`,
						id, ecosystem(p.Package), name, fmt.Sprintf(events, version))
					made[id+".json"] = &fstest.MapFile{Data: []byte(text)}
				}
			}
		}
	}
	out := t.TempDir()
	res, err := advisory.Build(t.Context(), advisory.BuildOptions{Out: out, Time: time.Unix(1700000000, 0), Sources: []advisory.Source{
		{Kind: advisory.OSV, Path: "testdata/advisories.tar.zst"}, {Kind: advisory.OSV, Path: ".", FS: made},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return res.Dir
}
