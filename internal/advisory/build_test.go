package advisory

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/distribution"
	"github.com/anchore/grype/grype/db/v6/installation"
	"github.com/anchore/grype/grype/match"
	"github.com/google/go-cmp/cmp"
)

func TestBuildMatches(t *testing.T) {
	res := build(t, real()...)
	for _, tt := range []struct {
		pkg  string
		want []string // must be found
		not  []string // must not
	}{
		// Two intervals in one range: between them and above them nothing.
		{"pypi Django 1.11.26", []string{"PYSEC-2019-16"}, nil},
		{"pypi django 1.11.27", nil, []string{"PYSEC-2019-16"}},
		{"pypi django 2.1.5", nil, []string{"PYSEC-2019-16"}},
		{"pypi django 2.2.8", []string{"PYSEC-2019-16"}, nil},
		{"pypi django 2.2.9", nil, []string{"PYSEC-2019-16"}},
		{"pypi Django 6.0.4", nil, []string{"PYSEC-2019-16"}},
		// The last affected version is affected.
		{"pypi py 1.11.0", []string{"PYSEC-2022-42969"}, nil},
		{"pypi py 1.11.1", nil, []string{"PYSEC-2022-42969"}},
		// Names in any spelling of PEP 503.
		{"pypi Python_JWT 3.3.3", []string{"PYSEC-2022-259"}, nil},
		{"pypi python.jwt 3.3.4", nil, []string{"PYSEC-2022-259"}},
		// Only listed versions, no range but GIT.
		{"go stdlib 1.22.3", []string{"GO-2024-2887"}, nil},
		{"go stdlib go1.21.11", nil, []string{"GO-2024-2887"}},
		{"go golang.org/x/crypto v0.30.0", []string{"GHSA-v778-237x-gjrc", "GO-2025-3487"}, []string{"GO-2024-3321"}},
		{"go golang.org/x/crypto v0.31.0", []string{"GO-2025-3487"}, []string{"GHSA-v778-237x-gjrc", "GO-2024-3321"}},
		{"npm lodash 4.17.20", []string{"GHSA-35jh-r3h4-6jhm"}, nil},
		{"npm lodash 4.17.21", nil, []string{"GHSA-35jh-r3h4-6jhm"}},
		{"maven org.apache.logging.log4j:log4j-core 2.14.1", []string{"GHSA-jfh8-c2jp-5v3q"}, nil},
		{"maven org.apache.logging.log4j:log4j-core 2.0-beta9", []string{"GHSA-jfh8-c2jp-5v3q"}, nil},
		{"maven org.apache.logging.log4j:log4j-core 2.12.2", nil, []string{"GHSA-jfh8-c2jp-5v3q"}},
		{"cargo time 0.2.22", []string{"RUSTSEC-2020-0071"}, nil},
		{"cargo ansi_term 0.12.1", nil, []string{"RUSTSEC-2021-0139"}},
		// The tracker's row, with its release only.
		{"deb openssl 1.1.1n-0+deb11u3 debian 11", []string{"CVE-2023-0286"}, []string{"CVE-2022-1292"}},
		{"deb openssl 1.1.1n-0+deb11u4 debian 11", nil, []string{"CVE-2023-0286"}},
		{"deb openssl 1.1.1n-0+deb11u1 debian 11", []string{"CVE-2022-1292", "CVE-2022-2068"}, nil},
		{"deb openssl 1.1.1n-0+deb11u3 debian 12", []string{"CVE-2023-0286"}, []string{"CVE-2022-2068"}},
		{"deb openssl 3.0.9-1 debian 12", nil, []string{"CVE-2023-0286"}},
		{"apk openssl 3.0.7-r2 alpine 3.17", []string{"CVE-2023-0286"}, nil},
		{"apk openssl 3.0.8-r0 alpine 3.17", nil, []string{"CVE-2023-0286"}},
		{"deb openssl 3.0.2-0ubuntu1.7 ubuntu 22.04", []string{"CVE-2023-0286"}, nil},
		{"deb openssl 3.0.2-0ubuntu1.8 ubuntu 22.04", nil, []string{"CVE-2023-0286"}},
	} {
		t.Run(tt.pkg, func(t *testing.T) {
			got := ids(t, res.Dir, tt.pkg)
			for _, id := range tt.want {
				if !slices.Contains(got, id) {
					t.Errorf("found %v, want %s too", got, id)
				}
			}
			for _, id := range tt.not {
				if slices.Contains(got, id) {
					t.Errorf("found %v, %s should not be", got, id)
				}
			}
		})
	}
}

func TestBuildNamespaces(t *testing.T) {
	res := build(t, real()...)
	for pkg, want := range map[string]string{
		"pypi django 2.2.8":                         "pypa:language:python",
		"npm lodash 4.17.20":                        "github:language:javascript",
		"go stdlib 1.22.3":                          "govulndb:language:go",
		"cargo time 0.2.22":                         "rustsec:language:rust",
		"deb openssl 1.1.1n-0+deb11u3 debian 11":    "debian:distro:debian:11",
		"apk openssl 3.0.7-r2 alpine 3.17":          "alpine:distro:alpine:3.17",
		"deb openssl 3.0.2-0ubuntu1.7 ubuntu 22.04": "ubuntu:distro:ubuntu:22.04",
	} {
		found := scan(t, res.Dir, pkg)
		if len(found) == 0 || found[0].Vulnerability.Namespace != want {
			t.Errorf("%s: %v, want namespace %s", pkg, found, want)
		}
	}
}

func TestBuildTellsFixAndKEV(t *testing.T) {
	res := build(t, real()...)
	m := scan(t, res.Dir, "maven org.apache.logging.log4j:log4j-core 2.14.1")
	if len(m) != 1 {
		t.Fatalf("%d matches", len(m))
	}
	v := m[0].Vulnerability
	if len(v.Metadata.KnownExploited) != 1 || v.Metadata.KnownExploited[0].CVE != "CVE-2021-44228" {
		t.Errorf("known exploited: %+v", v.Metadata.KnownExploited)
	}
	if v.Metadata.Severity != "Critical" || v.Fix.State != "fixed" || !slices.Contains(v.Fix.Versions, "2.15.0") {
		t.Errorf("severity %s, fix %+v", v.Metadata.Severity, v.Fix)
	}
	m = scan(t, res.Dir, "deb openssl 1.1.1n-0+deb11u3 debian 11")
	i := slices.IndexFunc(m, func(m match.Match) bool { return m.Vulnerability.ID == "CVE-2023-0286" })
	if a := m[i].Vulnerability.Advisories; len(a) != 1 || a[0].ID != "DSA-5343-1" {
		t.Errorf("advisories of the tracker's row: %+v", a)
	}
}

// TestBuildIsDeterministic builds the same input again and again, with its
// sources in one order and in the other, and wants the same archive byte for
// byte. Grype's library makes a schema in a random order: two builds would
// often agree by chance.
func TestBuildIsDeterministic(t *testing.T) {
	turned := real()
	slices.Reverse(turned)
	one := build(t, real()...)
	for i := range 5 {
		sources := [][]Source{real(), turned}[i%2]
		two := build(t, sources...)
		if one.Digest != two.Digest || one.Database.Digest != two.Database.Digest {
			t.Fatalf("digests differ: %s and %s, %s and %s", one.Digest, two.Digest, one.Database.Digest, two.Database.Digest)
		}
	}
	later, err := Build(context.Background(), BuildOptions{Sources: real(), Out: t.TempDir(), Time: builtAt.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if later.Digest == one.Digest || !later.Database.Built.Equal(builtAt.Add(time.Hour)) || !one.Database.Built.Equal(builtAt) {
		t.Errorf("built %s and %s", one.Database.Built, later.Database.Built)
	}
}

// TestBuildCounts wants every record of the input to be accounted for.
func TestBuildCounts(t *testing.T) {
	src := records(map[string]string{
		"a.json":       `{"id":"GHSA-a","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}`,
		"a2.json":      `{"id":"GHSA-a","modified":"2024-02-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2.0.0"}]}]}]}`,
		"gone.json":    `{"id":"GHSA-b","modified":"2024-01-01T00:00:00Z","withdrawn":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"b"},"versions":["1.0.0"]}]}`,
		"git.json":     `{"id":"OSV-1","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"c"},"ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]}]}`,
		"gitlist.json": `{"id":"OSV-2","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"c"},"versions":["1.0.0"],"ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]}]}`,
		"none.json":    `{"id":"OSV-3","modified":"2024-01-01T00:00:00Z","affected":[]}`,
		"other.json":   `{"id":"OSV-4","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"Android","name":"c"},"versions":["1"]},{"package":{"ecosystem":"AlmaLinux:8","name":"c"},"versions":["1"]}]}`,
		"index.json":   `["a", "b"]`,
		"cut.json":     `{"id":"OSV-5"`,
		"half.json":    `{"id":"OSV-6","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"d"},"versions":["1.0.0"]},{"package":{"ecosystem":"Debian:99","name":"d"},"versions":["1"]}]}`,
		"README.md":    `not a record`,
	})
	res := build(t, src)
	got := map[string]int{"read": res.Read, "written": res.Written, "withdrawn": res.Withdrawn, "duplicates": res.Duplicates, "unusable": res.Unusable}
	want := map[string]int{"read": 10, "written": 3, "withdrawn": 1, "duplicates": 1, "unusable": 5}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	var lost []string
	for _, p := range res.Problems {
		if p.Lost {
			lost = append(lost, strings.TrimSpace(p.ID+" "+p.Package)+": "+p.Reason)
		}
	}
	slices.Sort(lost)
	wantLost := []string{
		": not an OSV record: it has no id",
		": reading record: unexpected EOF",
		"OSV-1 npm c: names commits (GIT ranges) only",
		"OSV-3: names no package",
		"OSV-4 AlmaLinux:8 c: ecosystem AlmaLinux: grype matches AlmaLinux on Red Hat's advisories",
		"OSV-4 Android c: ecosystem Android: grype has no matcher for it",
		`OSV-6 Debian:99 d: ecosystem Debian: release "99" is not known`,
	}
	if diff := cmp.Diff(wantLost, lost); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	if got := ids(t, res.Dir, "npm a 2.0.0"); len(got) != 0 {
		t.Errorf("the older of two records was used: %v", got)
	}
	if got := ids(t, res.Dir, "npm b 1.0.0"); len(got) != 0 {
		t.Errorf("a withdrawn record was used: %v", got)
	}
	if got := ids(t, res.Dir, "npm c 1.0.0"); !slices.Equal(got, []string{"OSV-2"}) {
		t.Errorf("listed version beside GIT ranges: %v", got)
	}
}

func TestBuildRefusesEmpty(t *testing.T) {
	out := t.TempDir()
	src := records(map[string]string{"x.json": `{"id":"X-1","modified":"2024-01-01T00:00:00Z"}`})
	_, err := Build(context.Background(), BuildOptions{Sources: []Source{src}, Out: out, Time: builtAt})
	var e *Error
	if !errors.As(err, &e) || e.Code != Empty {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(out); len(left) != 0 {
		t.Errorf("something is left: %v", left)
	}
	for _, o := range []BuildOptions{{Sources: real(), Out: out}, {Sources: real(), Time: builtAt},
		{Sources: []Source{{Kind: OSV, Path: "testdata/nowhere"}}, Out: out, Time: builtAt},
		{Sources: []Source{{Kind: "rss", Path: "testdata/osv"}}, Out: out, Time: builtAt},
		{Sources: []Source{{Kind: KEV, Path: "testdata/osv/pypi"}}, Out: out, Time: builtAt}} {
		if _, err := Build(context.Background(), o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestBuildStopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out := t.TempDir()
	if _, err := Build(ctx, BuildOptions{Sources: real(), Out: out, Time: builtAt}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(out); len(left) != 0 {
		t.Errorf("something is left: %v", left)
	}
}

// TestGrypeAcceptsBuild opens the result as the grype command does, with its
// checks of age and checksum, and imports the archive as grype db import does.
func TestGrypeAcceptsBuild(t *testing.T) {
	res, err := Build(context.Background(), BuildOptions{Sources: real(), Out: t.TempDir(), Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	imported := t.TempDir()
	for root, archive := range map[string]string{strings.TrimSuffix(res.Dir, "/6"): "", imported: res.Archive} {
		c, err := installation.NewCurator(installation.Config{DBRootDir: root, ValidateAge: true, ValidateChecksum: true, MaxAllowedBuiltAge: 5 * 24 * time.Hour}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if archive != "" {
			if err := c.Import(archive); err != nil {
				t.Fatalf("importing: %v", err)
			}
		}
		if s := c.Status(); s.Error != nil || s.SchemaVersion != schema {
			t.Errorf("%s: status %+v", root, s)
		}
		rdr, err := c.Reader()
		if err != nil {
			t.Fatal(err)
		}
		if p, err := rdr.AllProviders(); err != nil || len(p) != len(res.Database.Providers) {
			t.Errorf("providers %v, %v", p, err)
		}
		rdr.Close()
	}
	old := build(t, real()...)
	c, _ := installation.NewCurator(installation.Config{DBRootDir: strings.TrimSuffix(old.Dir, "/6"), ValidateAge: true, ValidateChecksum: true, MaxAllowedBuiltAge: time.Hour}, nil)
	if s := c.Status(); s.Error == nil || !s.Built.Equal(builtAt) {
		t.Errorf("a stale database: status %+v", s)
	}
}

// TestHydratedByUs says that the indexes we leave in place are all those that
// grype would make.
func TestHydratedByUs(t *testing.T) {
	res := build(t, real()...)
	before, err := hashFile(context.Background(), res.Dir+"/"+v6.VulnerabilityDBFileName)
	if err != nil {
		t.Fatal(err)
	}
	if err := hydrate(context.Background(), res.Dir, "test"); err != nil {
		t.Fatal(err)
	}
	after, _ := hashFile(context.Background(), res.Dir+"/"+v6.VulnerabilityDBFileName)
	if before != after {
		t.Error("the database was indexed again")
	}
}

// TestGrypeUpdatesFromUs has grype's own client update from a web server of
// the build's folder.
func TestGrypeUpdatesFromUs(t *testing.T) {
	res, err := Build(context.Background(), BuildOptions{Sources: real(), Out: t.TempDir(), Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	m := serve(t, filepath.Dir(res.Dir))
	client, err := distribution.NewClient(distribution.Config{LatestURL: m.URL, RequireUpdateCheck: true, CheckTimeout: time.Minute, UpdateTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	c, err := installation.NewCurator(installation.Config{DBRootDir: t.TempDir(), ValidateAge: true, ValidateChecksum: true, MaxAllowedBuiltAge: time.Hour}, client)
	if err != nil {
		t.Fatal(err)
	}
	if updated, err := c.Update(); err != nil || !updated {
		t.Fatalf("updated %v, %v", updated, err)
	}
	if s := c.Status(); s.Error != nil {
		t.Errorf("status %+v", s)
	}
	if updated, err := c.Update(); err != nil || updated {
		t.Errorf("updated again: %v, %v", updated, err)
	}
}
