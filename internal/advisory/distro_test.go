package advisory

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/google/go-cmp/cmp"
)

// debian is a record about one source package of one release.
func debian(id, release, pkg, events, rest string) string {
	return fmt.Sprintf(`{"id":%q,"modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"Debian:%s","name":%q},"ranges":[{"type":"ECOSYSTEM","events":%s}]}]%s}`,
		id, release, pkg, events, rest)
}

// TestDistroJoins holds the rule of joining: the tracker before advisories, the
// highest fix among advisories, one row for one fact.
func TestDistroJoins(t *testing.T) {
	list := tableOf(DebianList, `[02 Jan 2023] DSA-2-1 a - security update
	{CVE-2023-0001 CVE-2023-0002}
	[bullseye] - a 1.2-1
	[bullseye] - b 5
	NOTE: whatever
[01 Jan 2023] DSA-1-1 a - security update
	{CVE-2023-0001}
	[bullseye] - a 1.10-1 (medium)
	[buster] - a <not-affected> (introduced later)
[01 Jan 2022] DSA-3-1 c - security update
	[bullseye] - c 7
	[buster] - c <unfixed>
	[stretch] - c <end-of-life>
`)
	src := records(map[string]string{
		"t.json": debian("DEBIAN-CVE-2023-0002", "11", "a", `[{"introduced":"0"},{"fixed":"1.1-1"}]`, `,"upstream":["CVE-2023-0002"]`),
		"u.json": debian("DSA-9-1", "11", "d", `[{"introduced":"0"},{"fixed":"3"}]`, `,"upstream":["CVE-2023-0005","CVE-2023-0006"],"references":[{"type":"ADVISORY","url":"https://example.com/DSA-9-1"}]`),
		"v.json": strings.Replace(debian("DEBIAN-CVE-2023-0007", "12", "e", `[{"introduced":"0"}]`, ``), `"ranges"`, `"ecosystem_specific":{"urgency":"unimportant"},"ranges"`, 1),
	})
	res := build(t, src, list)
	got := map[string]string{}
	for _, pkg := range []string{"a 1.0 debian 11", "a 1.1-1 debian 11", "a 1.2-1 debian 11", "a 1.10-1 debian 11", "a 1.0 debian 10", "b 4 debian 11",
		"c 6 debian 11", "c 6 debian 10", "d 2 debian 11", "e 9 debian 12", "e 9 debian 11"} {
		got[pkg] = strings.Join(ids(t, res.Dir, "deb "+pkg), " ")
	}
	want := map[string]string{
		"a 1.0 debian 11": "CVE-2023-0001 CVE-2023-0002",
		// The tracker says 1.1-1 for 0002, DSA-2 says 1.2-1: the tracker counts.
		"a 1.1-1 debian 11": "CVE-2023-0001",
		// DSA-2 fixed 0001 in 1.2-1 and DSA-1 in 1.10-1: the higher counts.
		"a 1.2-1 debian 11": "CVE-2023-0001", "a 1.10-1 debian 11": "", "a 1.0 debian 10": "",
		"b 4 debian 11": "CVE-2023-0001 CVE-2023-0002",
		"c 6 debian 11": "DSA-3-1", "c 6 debian 10": "DSA-3-1",
		"d 2 debian 11": "CVE-2023-0005 CVE-2023-0006",
		"e 9 debian 12": "CVE-2023-0007", "e 9 debian 11": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	m := scan(t, res.Dir, "deb d 2 debian 11")[0].Vulnerability
	if len(m.Advisories) != 1 || m.Advisories[0].ID != "DSA-9-1" || m.Advisories[0].Link != "https://example.com/DSA-9-1" {
		t.Errorf("advisories %+v", m.Advisories)
	}
	if s := scan(t, res.Dir, "deb e 9 debian 12")[0].Vulnerability.Metadata.Severity; s != "Negligible" {
		t.Errorf("urgency unimportant is %s", s)
	}
	if s := scan(t, res.Dir, "deb c 6 debian 10")[0].Vulnerability.Fix.State; s != "not-fixed" {
		t.Errorf("unfixed is %s", s)
	}
}

func TestLocate(t *testing.T) {
	for ecosystem, want := range map[string]string{
		"PyPI": "python", "Go": "go-module", "npm": "npm", "Maven": "java-archive", "Maven:https://repo.example": "java-archive",
		"crates.io": "rust-crate", "RubyGems": "gem", "Packagist": "php-composer", "NuGet": "dotnet", "Hex": "hex", "Pub": "dart-pub",
		"SwiftURL": "swift", "GitHub Actions": "github-action", "Bitnami": "Bitnami",
		"Debian:12": "deb debian@12 bookworm", "Debian:3.1": "deb debian@3.1 sarge", "Debian:14": "deb debian@unstable ",
		"Ubuntu:22.04:LTS": "deb ubuntu@22.4 jammy", "Ubuntu:24.10": "deb ubuntu@24.10 oracular",
		"Alpine:v3.9": "apk alpine@3.9 ", "Alpine:edge": "apk alpine@edge ", "Wolfi": "apk wolfi@rolling ", "Chainguard": "apk chainguard@rolling ",
		"Debian": "", "Debian:1": "", "Ubuntu:Pro:16.04:LTS": "", "Ubuntu:22.05": "", "Alpine:x": "", "AlmaLinux:9": "", "Rocky Linux:9": "", "Red Hat:x": "", "SUSE:x": "", "": "",
	} {
		target, err := locate(ecosystem)
		got := target.ecosystem
		if target.os != nil {
			got += " " + target.os.String() + " " + target.os.Codename
		}
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", ecosystem, got, err, want)
		}
	}
}

// TestGoTwins holds the joining of Go's and GitHub's records of one
// vulnerability.
func TestGoTwins(t *testing.T) {
	gomod := func(id, aliases string, affected ...string) string {
		var list []string
		for _, a := range affected {
			name, imports, _ := strings.Cut(a, " ")
			list = append(list, fmt.Sprintf(`{"package":{"ecosystem":"Go","name":%q},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2.0.0"}]}],"ecosystem_specific":{"imports":[%s]}}`, name, imports))
		}
		return fmt.Sprintf(`{"id":%q,"modified":"2024-01-01T00:00:00Z","aliases":[%s],"affected":[%s]}`, id, aliases, strings.Join(list, ","))
	}
	res := build(t, records(map[string]string{
		// Named directly; the module is covered.
		"1.json": gomod("GO-1", `"GHSA-1"`, `example.com/one {"path":"example.com/one/p","symbols":["F"]}`),
		"2.json": gomod("GHSA-1", ``, "Example.com/One", "example.com/one/p"),
		// By a shared CVE; only one of two modules is covered.
		"3.json": gomod("GO-2", `"CVE-2024-0002"`, "example.com/two", "example.com/three"),
		"4.json": gomod("GHSA-2", `"CVE-2024-0002"`, "example.com/two"),
		// No twin.
		"5.json": gomod("GO-3", ``, "example.com/four"),
	}))
	got := map[string]string{}
	for _, pkg := range []string{"one", "one/p", "two", "three", "four"} {
		got[pkg] = strings.Join(ids(t, res.Dir, "go example.com/"+pkg+" v1.0.0"), " ")
	}
	want := map[string]string{"one": "GHSA-1", "one/p": "GHSA-1", "two": "GHSA-2", "three": "GO-2", "four": "GO-3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if res.Merged != 1 || res.Written != 4 {
		t.Errorf("merged %d, written %d", res.Merged, res.Written)
	}
	rdr, err := v6.NewReader(v6.Config{DBDirPath: res.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer rdr.Close()
	for _, name := range []string{"example.com/one", "example.com/one/p"} {
		p, err := rdr.GetAffectedPackages(&v6.PackageSpecifier{Name: name, Ecosystem: "go-module"}, &v6.GetPackageOptions{PreloadBlob: true, PreloadVulnerability: true})
		if err != nil || len(p) != 1 || p[0].BlobValue.Qualifiers == nil {
			t.Fatalf("%s: %+v, %v", name, p, err)
		}
		if imports := p[0].BlobValue.Qualifiers.GoImports; len(imports) != 1 || !slices.Equal(imports[0].Symbols, []string{"F"}) {
			t.Errorf("%s: imports %+v", name, imports)
		}
	}
}
