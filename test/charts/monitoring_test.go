//go:build charts

package charts

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/test/cluster"
	"github.com/hallmark-sh/hallmark/test/peers"
)

// TestAlertsAreRendered holds that a PrometheusRule is the file of rules, word for word: Helm and Prometheus both write
// their templates in double braces.
func TestAlertsAreRendered(t *testing.T) {
	got, err := render(t, chart("hallmark"), "--values", values("sqlite"), "--set", "prometheusRule.enabled=true", "--set", "prometheusRule.labels.release=stack")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, document := range strings.Split(got, "\n---\n") {
		var o struct {
			Kind     string
			Metadata struct {
				Name   string
				Labels map[string]string
			}
			Spec map[string]any
		}
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		if o.Kind != "PrometheusRule" {
			continue
		}
		name := strings.TrimPrefix(o.Metadata.Name, "hallmark-")
		seen[name] = true
		raw, err := os.ReadFile("../../charts/hallmark/rules/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := yaml.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if o.Metadata.Labels["release"] != "stack" {
			t.Errorf("%s has labels %v", o.Metadata.Name, o.Metadata.Labels)
		}
		if diff := cmp.Diff(want, o.Spec); diff != "" {
			t.Errorf("the rules (-file +rendered):\n%s", diff)
		}
	}
	if !seen["memory"] || !seen["admission"] || len(seen) != 2 {
		t.Errorf("rendered are the rules of %v", seen)
	}
}

// TestDashboardsAreRendered holds that each dashboard comes in a ConfigMap of its own, word for word.
func TestDashboardsAreRendered(t *testing.T) {
	got, err := render(t, chart("hallmark"), "--values", values("sqlite"), "--set", "dashboards.enabled=true")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../charts/hallmark/dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, document := range strings.Split(got, "\n---\n") {
		var o struct {
			Kind     string
			Metadata struct{ Labels map[string]string }
			Data     map[string]string
		}
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		if o.Kind == "ConfigMap" && o.Metadata.Labels["grafana_dashboard"] == "1" {
			maps.Copy(seen, o.Data)
		}
	}
	if len(files) == 0 || len(seen) != len(files) {
		t.Errorf("%d dashboards were rendered of %d", len(seen), len(files))
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), seen[filepath.Base(file)]); diff != "" {
			t.Errorf("%s (-file +rendered):\n%s", file, diff)
		}
	}
}

// monitoringAccepted gives what the Prometheus operator and Grafana's sidecar take to a real API server that knows the
// operator's kinds.
func monitoringAccepted(t *testing.T, c *cluster.Cluster) {
	files, err := filepath.Glob(filepath.Join(peers.Need(t, "operator-crds"), "*.yaml"))
	if err != nil || len(files) != 2 {
		t.Fatalf("the operator's kinds: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Must(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	text, err := helm(t, "template", "hallmark", chart("hallmark"), "--namespace", "chart-monitored", "--kube-version", "1.37.2", "--values", values("sqlite"),
		"--set", "serviceMonitor.enabled=true,prometheusRule.enabled=true,dashboards.enabled=true")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"kind: ServiceMonitor", "kind: PrometheusRule", "name: hallmark-dashboard-admission"} {
		if !strings.Contains(text, kind) {
			t.Errorf("not rendered: %s", kind)
		}
	}
	restricted(t, c, "chart-monitored")
	for _, dry := range []bool{true, false} {
		accepted(t, c, text, dry)
	}
	// Its schema is in force: what is no rule is refused.
	wrong := cluster.Object{"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
		"metadata": map[string]any{"name": "wrong", "namespace": "chart-monitored"}, "spec": map[string]any{"groups": []any{map[string]any{"rules": 7}}}}
	if answer, err := c.Create(t.Context(), wrong, true); err != nil || answer.Allowed() {
		t.Errorf("a PrometheusRule of nonsense: %v %d", err, answer.Status)
	}
}
