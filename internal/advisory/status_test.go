package advisory

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatus(t *testing.T) {
	res := build(t, real()...)
	s, err := Status(context.Background(), res.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Advisories != res.Written || s.Rows != res.Rows || s.KEV != res.KEV {
		t.Errorf("%d advisories, %d rows, %d in KEV; built %d, %d, %d", s.Advisories, s.Rows, s.KEV, res.Written, res.Rows, res.KEV)
	}
	if diff := cmp.Diff(res.Severities, s.Severities); diff != "" {
		t.Errorf("severities (-built +counted):\n%s", diff)
	}
	rows := map[string]int{}
	for _, c := range s.Ecosystems {
		rows[c.Ecosystem] = c.Rows
	}
	for _, e := range []string{"python", "go-module", "npm", "java-archive", "rust-crate", "deb (debian 11)", "deb (ubuntu 22.04)", "apk (alpine 3.17)"} {
		if rows[e] == 0 {
			t.Errorf("no rows of %s: %v", e, rows)
		}
	}
	for _, p := range s.Providers {
		if p.ID == "pypa" && (p.Newest.Year() != 2024 || p.Advisories < 100 || !strings.HasPrefix(p.Digest, "sha256:")) {
			t.Errorf("provider %+v", p)
		}
	}
	if _, err := Status(context.Background(), t.TempDir()); err == nil {
		t.Error("status of nothing: no error")
	}
}
