//go:build charts

package charts

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/test/cluster"
)

// rendered writes what the real program renders of a hallmark.yaml to a file.
func rendered(t *testing.T) (file string, text []byte) {
	t.Helper()
	program, err := filepath.Abs(filepath.Join("..", "..", "bin", "hallmark"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hallmark.yaml"), []byte("version: 1\nimage: ghcr.io/acme/app\n"+
		"identity: {repository: acme/app, workflow: .github/workflows/release.yml, ref: refs/heads/main}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "policy", "render")
	cmd.Dir = dir
	if text, err = cmd.Output(); err != nil {
		t.Fatalf("rendering: %v", err)
	}
	file = filepath.Join(dir, "policies.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, text
}

// documents are the texts of a YAML stream, each with its comments and without helm's line about its source.
func documents(text string) map[string]int {
	all := map[string]int{}
	for _, d := range strings.Split("\n"+text, "\n---\n") {
		d = strings.TrimSpace(d)
		if source, rest, found := strings.Cut(d, "\n"); found && strings.HasPrefix(source, "# Source: ") {
			d = strings.TrimSpace(rest)
		}
		if d != "" {
			all[d]++
		}
	}
	return all
}

// TestPoliciesAreThoseRendered holds the chart to install every document of policy render byte for byte, and no other. Helm
// puts them in an order of its own.
func TestPoliciesAreThoseRendered(t *testing.T) {
	file, text := rendered(t)
	out, err := render(t, chart("hallmark-policies"), "--set-file", "documents="+file, "--set", fmt.Sprintf("sha256=%x", sha256.Sum256(text)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(documents(string(text)), documents(out)); diff != "" {
		t.Errorf("the chart installs other than what was rendered (-rendered +installed):\n%s", diff)
	}
	if _, err := helm(t, "lint", "--strict", chart("hallmark-policies"), "--set-file", "documents="+file); err != nil {
		t.Error(err)
	}
}

func TestRefusedPolicies(t *testing.T) {
	file, text := rendered(t)
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "documents.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "documents=" + path
	}
	refused(t, chart("hallmark-policies"), map[string]refusal{
		"none":            {nil, "documents: the policies are missing"},
		"an action":       {[]string{"--set-file", "documents=" + file, "--set", "validationActions=Audit"}, "additional properties 'validationActions' not allowed"},
		"another file":    {[]string{"--set-file", "documents=" + file, "--set", "sha256=" + strings.Repeat("0", 64)}, "and not 0000"},
		"a role besides":  {[]string{"--set-file", write(string(text) + "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: a}\n")}, "is ClusterRole of rbac.authorization.k8s.io/v1"},
		"nothing of them": {[]string{"--set-file", write("apiVersion: policies.kyverno.io/v1\nkind: ValidatingPolicy\nmetadata: {name: a}\n")}, "no ImageValidatingPolicy is among them"},
		"no YAML":         {[]string{"--set-file", write("a: [")}, "documents: document 1: "},
	})
}

// policiesAccepted gives the policies to the API server with Kyverno's own kinds in it.
func policiesAccepted(t *testing.T, c *cluster.Cluster) {
	file, _ := rendered(t)
	out, err := render(t, chart("hallmark-policies"), "--set-file", "documents="+file)
	if err != nil {
		t.Fatal(err)
	}
	accepted(t, c, out, true)
}
