package query_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestAlertsAskForWhatIsServed holds that every series an alert asks for is one
// the service has, with that label, and that the page says what to do about
// each alert and lists each metric. test/rules holds when they fire.
func TestAlertsAskForWhatIsServed(t *testing.T) {
	server := filled(t)
	must(t, server, http.MethodPost, "/v1/advisories?source=dated&built=2026-11-01T00:00:00Z", "application/x-ndjson", advisory("PYSEC-2019-17", "CVE-2019-14235"))
	must(t, server, http.MethodGet, "/v1/who-has?package=django", "", "")
	metrics := must(t, server, http.MethodGet, "/metrics", "", "")
	page, err := os.ReadFile("../../docs/observing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range regexp.MustCompile(`(?m)^# HELP (hallmark_\w+) `).FindAllStringSubmatch(metrics, -1) {
		if !strings.Contains(string(page), "`"+line[1]+"`") {
			t.Errorf("docs/observing.md does not list %s", line[1])
		}
	}
	files, err := filepath.Glob("../../charts/hallmark/rules/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	selector := regexp.MustCompile(`(hallmark_\w+)(?:\{(\w+)=)?`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rules struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr         string
					Labels, Annotations map[string]string
				}
			}
		}
		if err := yaml.Unmarshal(text, &rules); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		count := 0
		for _, group := range rules.Groups {
			for _, r := range group.Rules {
				count++
				for _, s := range selector.FindAllStringSubmatch(r.Expr, -1) {
					series := regexp.MustCompile(`(?m)^` + s[1] + `(\{(.*,)?` + s[2] + `.*\})? `)
					if !series.MatchString(metrics) {
						t.Errorf("%s asks for %s, which the service does not have", r.Alert, s[0])
					}
				}
				section := "\n### " + r.Alert + "\n"
				anchor := "docs/observing.md#" + strings.ToLower(r.Alert)
				if !strings.Contains(string(page), section) || !strings.HasSuffix(r.Annotations["runbook_url"], anchor) {
					t.Errorf("%s: docs/observing.md has no such section, or its runbook_url is another", r.Alert)
				}
				if s := r.Labels["severity"]; s != "critical" && s != "warning" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
					t.Errorf("%s: severity, summary or description is missing", r.Alert)
				}
			}
		}
		if count == 0 {
			t.Errorf("%s has no rule", file)
		}
	}
}
