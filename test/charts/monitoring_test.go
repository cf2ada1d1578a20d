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
)

// TestAlertsAreRendered holds that a PrometheusRule is the file of rules, word for word: Helm and Prometheus both write
// their templates in double braces.
func TestAlertsAreRendered(t *testing.T) {
	got, err := render(t, chart("hallmark"), "--values", values("sqlite"), "--set", "prometheusRule.enabled=true", "--set", "prometheusRule.labels.release=stack")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("../../charts/hallmark/rules/memory.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := yaml.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	seen := false
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
		seen = true
		if o.Metadata.Name != "hallmark-memory" || o.Metadata.Labels["release"] != "stack" {
			t.Errorf("%s has labels %v", o.Metadata.Name, o.Metadata.Labels)
		}
		if diff := cmp.Diff(want, o.Spec); diff != "" {
			t.Errorf("the rules (-file +rendered):\n%s", diff)
		}
	}
	if !seen {
		t.Error("no PrometheusRule was rendered")
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
