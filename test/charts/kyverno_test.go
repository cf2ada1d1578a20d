//go:build charts

package charts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// kyvernoChart copies Kyverno's own chart, which its Go module carries, without the dependencies that lie elsewhere: those
// bring kinds and a report server, and none of the settings.
func kyvernoChart(t *testing.T) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/kyverno/kyverno")
	list.Dir = filepath.Join("..", "peers", "kyverno")
	module, err := list.Output()
	if err != nil {
		t.Fatalf("finding Kyverno's module: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "kyverno")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(string(bytes.TrimSpace(module)), "charts", "kyverno"))); err != nil {
		t.Fatal(err)
	}
	about, err := os.ReadFile(filepath.Join(dir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	here, _, found := strings.Cut(string(about), "  - name: kyverno-api\n")
	if !found {
		t.Fatal("Kyverno's chart has other dependencies than known here")
	}
	for path, text := range map[string]string{"Chart.yaml": here, "Chart.lock": ""} {
		path = filepath.Join(dir, path)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if text == "" {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestKyvernoTakesTheValues gives the values for Kyverno to its real chart. The chart has no schema, so a misspelt name would
// change nothing in silence: every name must stand in its own values, and every setting must arrive.
func TestKyvernoTakesTheValues(t *testing.T) {
	dir, ours := kyvernoChart(t), filepath.Join("..", "..", "charts", "kyverno-values.yaml")
	read := func(path string) (v map[string]any) {
		text, err := os.ReadFile(path)
		if err == nil {
			err = yaml.Unmarshal(text, &v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	known(t, "", read(ours), read(filepath.Join(dir, "values.yaml")))

	out, err := helm(t, "template", "kyverno", dir, "--namespace", "kyverno", "--kube-version", "1.37.2", "--values", ours)
	if err != nil {
		t.Fatal(err)
	}
	_, admission, _ := strings.Cut(out, "# Source: kyverno/templates/admission-controller/deployment.yaml\n")
	admission, _, _ = strings.Cut(admission, "\n---\n")
	for _, want := range []string{
		`--imageVerifyCacheMaxSize=100000000\b`, `--enablePolicyException=true\b`, `--exceptionNamespace=kyverno\b`, `--registryCredentialHelpers=\S*amazon`,
		`(?m)^  replicas: 3$`, `limits:\n +memory: 2Gi\n`, `name: sigstore\n`, `sizeLimit: 64Mi`,
	} {
		if !regexp.MustCompile(want).MatchString(admission) {
			t.Errorf("the admission controller lacks %s:\n%s", want, admission)
		}
	}
}

// known reports every name of ours that the chart's own values do not have. What its values leave empty takes any.
func known(t *testing.T, at string, ours, theirs map[string]any) {
	t.Helper()
	for name, v := range ours {
		there, found := theirs[name]
		if !found {
			t.Errorf("Kyverno's chart has no value %s%s", at, name)
			continue
		}
		inner, isMap := v.(map[string]any)
		if chart, ok := there.(map[string]any); ok && isMap && len(chart) > 0 {
			known(t, at+name+".", inner, chart)
		}
	}
}
