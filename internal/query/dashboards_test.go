//go:build rules

package query_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/query"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

// panel is one panel of a dashboard, as far as this test looks at it.
type panel struct {
	ID      int
	Title   string
	Type    string
	GridPos struct{ X, Y, W, H int }
	Targets []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

func dashboards(t *testing.T) map[string][]panel {
	t.Helper()
	files, err := filepath.Glob("../../charts/hallmark/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	all := map[string][]panel{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			UID, Title string
			Panels     []panel
		}
		if err := json.Unmarshal(raw, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if d.UID != "hallmark-"+name || d.Title == "" || len(d.Panels) == 0 {
			t.Errorf("%s: uid %q, title %q, %d panels", file, d.UID, d.Title, len(d.Panels))
		}
		all[name] = d.Panels
	}
	return all
}

// TestDashboardsFit holds that panels have numbers of their own, lie in the
// grid without covering each other, and ask the chosen data source.
func TestDashboardsFit(t *testing.T) {
	for name, panels := range dashboards(t) {
		taken, ids := map[[2]int]string{}, map[int]bool{}
		for _, p := range panels {
			if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
				t.Errorf("%s: panel %d, %q, has %d queries", name, p.ID, p.Title, len(p.Targets))
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other, there := taken[[2]int{x, y}]; there || x >= 24 {
						t.Fatalf("%s: %q lies over %q or outside", name, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			for _, target := range p.Targets {
				if target.Datasource.UID != "${datasource}" {
					t.Errorf("%s: %q asks %q", name, p.Title, target.Datasource.UID)
				}
			}
		}
	}
}

// expected are figures that follow from what TestDashboardsShow does; some says
// that there must be more than none, since Prometheus extrapolates increases.
var expected = map[string]float64{
	"max(hallmark_index_images)":                                                        2,
	"max(hallmark_index_unverified_images)":                                             2,
	"max(hallmark_index_refused_images)":                                                0,
	"max(hallmark_index_advisory_rows)":                                                 2,
	"max by (severity) (hallmark_affected_images) {critical}":                           1,
	"max by (severity) (hallmark_affected_images) {unknown}":                            0,
	"sum by (result) (hallmark_advisory_import_total) {done}":                           2,
	"sum by (result) (hallmark_advisory_import_total) {refused}":                        1,
	"sum by (result) (hallmark_advisory_import_total) {error}":                          0,
	"hallmark_store_sequence - hallmark_index_sequence {service}":                       0,
	"sum by (outcome) (hallmark_releases_total) {released}":                             2,
	"sum by (outcome) (hallmark_releases_total) {refused}":                              1,
	"sum by (outcome) (hallmark_releases_total) {failed}":                               0,
	"sum by (reason) (hallmark_gate_refusals_total) {severity}":                         1,
	"sum by (reason) (hallmark_gate_refusals_total) {kev}":                              1,
	"sum by (reason) (hallmark_http_rejected_total) {too_large}":                        0,
	"sum by (result) (hallmark_webhook_deliveries_total) {failed}":                      0,
	"sum by (result, reason) (hallmark_intake_total) {stored none}":                     2,
	"sum by (severity) (increase(hallmark_newly_affected_images_total[1h])) {critical}": some,
	"sum by (severity) (increase(hallmark_newly_affected_images_total[1h])) {high}":     0,
	"sum by (kev) (increase(hallmark_newly_affected_total[1h])) {false}":                some,
	"sum by (kev) (increase(hallmark_newly_affected_total[1h])) {true}":                 0,
}

const some = -1

// TestDashboardsShow has a real Prometheus scrape a real service, to which
// known things happen, and asks every query of every panel.
func TestDashboardsShow(t *testing.T) {
	server := counted(t)
	prometheus := scrape(t, server)
	for image, version := range map[string]string{first: "2.0.1", second: "6.0.4"} {
		must(t, server, http.MethodPost, "/v1/sboms?image="+url.QueryEscape(image), "application/json", document(version))
	}
	// An increase is one from what was scraped before.
	until(t, "a first scrape", func() bool { return len(instant(t, prometheus, "hallmark_newly_affected_total")) > 0 })
	must(t, server, http.MethodPost, "/v1/advisories?source=a&built=2026-11-01T00:00:00Z", "application/x-ndjson", advisory("PYSEC-2019-16", "CVE-2019-14234"))
	must(t, server, http.MethodPost, "/v1/advisories?source=b&partial=true", "application/x-ndjson", advisory("PYSEC-2019-17", "CVE-2019-14235"))
	if status, _ := send(t, server, http.MethodPost, "/v1/advisories?source=c", "application/x-ndjson", "{nonsense"); status != http.StatusBadRequest {
		t.Fatalf("nonsense was imported: %d", status)
	}
	for _, told := range []query.Release{{Outcome: query.Released}, {Outcome: query.Released}, {Outcome: query.Refused, Reasons: []string{"severity", "kev", "severity"}}} {
		told.Repository, told.Commit = "registry.example/shop/api", strings.Repeat("a", 40)
		raw, err := json.Marshal(told)
		if err != nil {
			t.Fatal(err)
		}
		must(t, server, http.MethodPost, "/v1/releases", "application/json", string(raw))
	}
	missing := map[string]bool{}
	for expr := range expected {
		missing[expr] = true
	}
	var shown, wrong []string
	defer func() {
		if t.Failed() {
			t.Log("not shown:\n" + strings.Join(wrong, "\n"))
		}
	}()
	until(t, "every panel shows what it must", func() bool {
		// Something goes on, so that there is a rate.
		must(t, server, http.MethodGet, "/v1/who-has?package=django", "", "")
		must(t, server, http.MethodPost, "/v1/sboms?image="+url.QueryEscape(first), "application/json", document("2.0.1"))
		shown, wrong = ask(t, prometheus, missing)
		return len(wrong) == 0
	})
	t.Logf("dashboard | panel | query | series | seen\n%s", strings.Join(shown, "\n"))
	for expr, still := range missing {
		if still {
			t.Errorf("no panel shows %s", expr)
		}
	}
}

// ask asks every query, and gives what was shown and what is not as it must be.
func ask(t *testing.T, prometheus string, missing map[string]bool) (shown, wrong []string) {
	t.Helper()
	for name, panels := range dashboards(t) {
		if name == "admission" {
			continue // Kyverno's and the API server's series: test/cluster asks those.
		}
		for _, p := range panels {
			for _, target := range p.Targets {
				series := instant(t, prometheus, strings.ReplaceAll(target.Expr, "$__rate_interval", "10s"))
				numbers := 0
				for labels, value := range series {
					key := strings.TrimSuffix(target.Expr+" {"+labels+"}", " {}")
					want, known := expected[key]
					delete(missing, key)
					if known && value != want && (want != some || value <= 0) {
						wrong = append(wrong, fmt.Sprintf("%s | %s | %s: %v, and not %v", name, p.Title, key, value, want))
					}
					if !math.IsNaN(value) { // A rate of nothing has no quantile.
						numbers++
					}
				}
				if numbers == 0 {
					wrong = append(wrong, name+" | "+p.Title+" | "+target.Expr+": no data")
				}
				shown = append(shown, fmt.Sprintf("%s | %s | %s | %d | %v", name, p.Title, target.Expr, len(series), series))
			}
		}
	}
	return shown, wrong
}

// instant gives the value of each series by the values of its labels.
func instant(t *testing.T, prometheus, expr string) map[string]float64 {
	t.Helper()
	response, err := http.Get(prometheus + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v %s", expr, err, answer.Error)
	}
	series := map[string]float64{}
	for _, r := range answer.Data.Result {
		var labels []string
		for _, label := range []string{"severity", "result", "reason", "kev", "question", "code", "source", "outcome", "job"} {
			if v := r.Metric[label]; v != "" {
				labels = append(labels, v)
			}
		}
		value, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			t.Fatal(err)
		}
		series[strings.Join(labels, " ")] = value
	}
	return series
}

// counted serves a new store that counts what it announces.
func counted(t *testing.T) *httptest.Server {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "memory.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	metrics := query.NewMetrics("test")
	m, err := memory.Open(t.Context(), memory.Config{Store: s, Announced: metrics.Announced})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); m.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	server := httptest.NewServer(query.New(query.Config{
		Memory: m, Intake: intake.New(intake.Config{Memory: m, Unverified: true}), Metrics: metrics, Version: "test",
	}))
	t.Cleanup(server.Close)
	return server
}

// scrape starts a Prometheus that scrapes the server, and gives its address.
func scrape(t *testing.T, server *httptest.Server) string {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf("scrape_configs:\n  - job_name: service\n    scrape_interval: 1s\n    static_configs: [{targets: [%q]}]\n",
		strings.TrimPrefix(server.URL, "http://"))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--log.level=info")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	listening := regexp.MustCompile(`(?:Listening on"? ?|address=)(127\.0\.0\.1:[1-9][0-9]*)`)
	var at [][]byte
	until(t, "Prometheus listens", func() bool {
		said, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		at = listening.FindSubmatch(said)
		return at != nil
	})
	return "http://" + string(at[1])
}

// until waits for a condition, a minute at most.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !holds(); {
		select {
		case <-limit:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}
