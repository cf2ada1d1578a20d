package sample_test

import (
	"context"
	"testing"
	"time"

	"github.com/anchore/grype/grype"
	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/matcher"
	grypepkg "github.com/anchore/grype/grype/pkg"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/advisory/sample"
)

// TestSample builds the sample and wants what its constants promise.
func TestSample(t *testing.T) {
	res, err := advisory.Build(context.Background(), advisory.BuildOptions{
		Sources: sample.Sources(), Out: t.TempDir(), Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Problems) > 0 || res.Written < 20 || res.KEV == 0 {
		t.Errorf("%d written, %d in KEV, problems %+v", res.Written, res.KEV, res.Problems)
	}
	rdr, err := v6.NewReader(v6.Config{DBDirPath: res.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer rdr.Close()
	m := grype.VulnerabilityMatcher{VulnerabilityProvider: v6.NewVulnerabilityProvider(rdr), Matchers: matcher.NewDefaultMatchers(matcher.Config{})}
	find := func(version string) (severity string, total int) {
		p := grypepkg.Package{ID: "x", Name: sample.Module, Version: version, Type: syftpkg.GoModulePkg, Language: syftpkg.Go}
		found, _, err := m.FindMatchesContext(context.Background(), []grypepkg.Package{p}, grypepkg.Context{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found.Sorted() {
			if f.Vulnerability.ID == sample.Advisory {
				severity = f.Vulnerability.Metadata.Severity
			}
		}
		return severity, found.Count()
	}
	if s, n := find(sample.Vulnerable); s != "Critical" || n < 2 {
		t.Errorf("%s: %s is %q among %d", sample.Vulnerable, sample.Advisory, s, n)
	}
	if _, n := find(sample.Fixed); n != 0 {
		t.Errorf("%s: %d found", sample.Fixed, n)
	}
}
