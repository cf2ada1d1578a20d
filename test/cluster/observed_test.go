//go:build cluster && observed

package cluster_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/test/cluster"
)

// prometheus is a real one.
type prometheus struct {
	t   *testing.T
	url string
}

// startPrometheus scrapes Kyverno, the API server and a service each second, and evaluates the alerts without their patience.
func startPrometheus(t *testing.T, c *cluster.Cluster, service string) prometheus {
	t.Helper()
	dir := t.TempDir()
	certificate, token := c.Credentials()
	config := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - {job_name: kyverno, static_configs: [{targets: [%q]}]}
  - {job_name: hallmark, static_configs: [{targets: [%q]}]}
  - job_name: apiserver
    scheme: https
    tls_config: {ca_file: %q}
    authorization: {credentials: %q}
    static_configs: [{targets: [%q]}]
`, hasty(t, dir), host(c.KyvernoMetrics), host(service), certificate, token, host(c.URL))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log := start(t, filepath.Join(dir, "log"), "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0", "--log.level=info")
	at := awaitLine(t, log, `(?:Listening on"? ?|address=)(127\.0\.0\.1:[1-9][0-9]*)`)
	return prometheus{t, "http://" + at}
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// hasty writes the alerts with no patience, so that a test can see them within seconds.
func hasty(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile("../../charts/hallmark/rules/admission.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(path, regexp.MustCompile(`(?m)^ +for: .*\n`).ReplaceAll(text, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a program that ends with the test, and gives the file of what it says.
func start(t *testing.T, log, program string, args ...string) string {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return log
}

func awaitLine(t *testing.T, log, pattern string) (found string) {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	eventually(t, log+" says "+pattern, func() string {
		said, err := os.ReadFile(log)
		if err != nil {
			return err.Error()
		}
		if m := expression.FindSubmatch(said); m != nil {
			found = string(m[1])
			return ""
		}
		return "so far: " + string(said)
	})
	return found
}

// eventually waits until there is nothing wrong any more, a minute at most.
func eventually(t *testing.T, what string, wrong func() string) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for said := wrong(); said != ""; said = wrong() {
		select {
		case <-limit:
			t.Fatalf("waited in vain for %s: %s", what, said)
		case <-tick.C:
		}
	}
}

// ask gives the value of each series, by its labels.
func (p prometheus) ask(expr string) map[string]float64 {
	p.t.Helper()
	response, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(strings.ReplaceAll(expr, "$__rate_interval", "10s")))
	if err != nil {
		p.t.Fatal(err)
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
		p.t.Fatalf("%s: %v %s", expr, err, answer.Error)
	}
	series := map[string]float64{}
	for _, r := range answer.Data.Result {
		delete(r.Metric, "__name__")
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(r.Metric)) {
			labels = append(labels, key+"="+r.Metric[key])
		}
		value, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			p.t.Fatal(err)
		}
		series[strings.Join(labels, " ")] = value
	}
	return series
}

// firing are the alerts that go off now.
func (p prometheus) firing() []string {
	names := map[string]bool{}
	for labels := range p.ask(`ALERTS{alertstate="firing"}`) {
		_, rest, _ := strings.Cut(labels, "alertname=")
		name, _, _ := strings.Cut(rest, " ")
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

type query struct{ title, expr string }

func queries(t *testing.T) []query {
	t.Helper()
	raw, err := os.ReadFile("../../charts/hallmark/dashboards/admission.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	var all []query
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, query{p.Title, target.Expr})
		}
	}
	return all
}

const (
	verdicts = `sum by (result) (kyverno_image_validating_policy_results_total{execution_cause="admission_request",policy_name=~"hallmark-.*"})`
	natives  = `sum by (policy) (apiserver_validating_admission_policy_check_total{enforcement_action="deny",policy=~"vpol-hallmark-.*"})`
	places   = `count by (policy_name) (sum by (policy_name, resource_namespace, resource_kind) (kyverno_image_validating_policy_results_total{result="fail",policy_name=~"hallmark-.*"}) > 0)`
	most     = `topk(10, sum by (policy_name, resource_namespace, resource_kind) (kyverno_image_validating_policy_results_total{result="fail",policy_name=~"hallmark-.*"}))`
	silent   = `sum(apiserver_admission_webhook_rejection_count{error_type!="no_error",name=~"ivpol.*"}) or vector(0)`
)

// TestObserved causes a known number of admissions and refusals, and compares what the Admission dashboard shows with it; then
// it breaks admission, and the alerts go off.
func TestObserved(t *testing.T) {
	w := newWorld(t)
	w.policy = w.writePolicy("hallmark.yaml", admission)
	c := startCluster(t, w)
	service := w.serve()
	p := startPrometheus(t, c, service)
	eventually(t, "a first scrape of all", func() string {
		if n := len(p.ask(`up == 1`)); n != 3 {
			return fmt.Sprint(n, " of 3 are up")
		}
		return ""
	})
	eventually(t, "no alert, before anything happened", func() string { return strings.Join(p.firing(), ", ") })
	// Waiting for the policies to be enforced was counted, in the namespace shop and for Pods alone; figures are told from there.
	before := map[string]map[string]float64{}
	for _, q := range queries(t) {
		before[q.expr] = p.ask(q.expr)
	}

	good, bad := w.released(ours()).String(), w.push().String()
	try := func(n int, namespace string, o cluster.Object, admitted bool) {
		for range n {
			answer, err := c.Create(t.Context(), in(namespace, called(o, fmt.Sprintf("o%d", time.Now().UnixNano()))), false)
			if err != nil || answer.Allowed() != admitted {
				t.Fatalf("%v: %d %s", err, answer.Status, answer.Message())
			}
		}
	}
	try(5, "shop", pod(good), true)
	try(3, "shop", pod(bad), false)
	try(2, "shop", deployment(bad), false)
	try(1, "forgotten", pod(bad), false)
	try(4, "shop", pod("nginx:latest"), false)
	try(2, "legacy", pod(bad), true)

	const evidence = "policy_name=hallmark-acme-app-evidence"
	caused := map[string]map[string]float64{
		verdicts: {"result=pass": 5, "result=fail": 6, "result=skip": 2},
		natives:  {"policy=vpol-hallmark-acme-app-registry": 2 * 4}, // nginx:latest breaks two rules
		// Pods of shop may have been refused while the test waited for the policies: that place is not new then.
		places: {evidence: 3 - before[places][evidence]},
		most: {
			evidence + " resource_kind=Pod resource_namespace=shop":        3,
			evidence + " resource_kind=Deployment resource_namespace=shop": 2,
			evidence + " resource_kind=Pod resource_namespace=forgotten":   1,
		},
		silent: {"": 0},
	}
	// Something goes on for as long as it takes that there is a rate and a wait; then all is counted.
	eventually(t, "rates", func() string {
		try(1, "shop", deployment(good), true)
		caused[verdicts]["result=pass"]++
		return strings.Join(without(t, p), "\n")
	})
	var table []string
	eventually(t, "every panel to show what was caused", func() string {
		var wrong []string
		wrong, table = compare(t, p, before, caused)
		return strings.Join(wrong, "\n")
	})
	t.Log("panel | query | series | expected | seen\n" + strings.Join(table, "\n"))
	if on := p.firing(); len(on) != 0 {
		t.Errorf("refusals are what the policies are for, and yet: %v", on)
	}

	alarm := func(what string, want string, cause func()) {
		t.Helper()
		eventually(t, "the alert "+want+" when "+what, func() string {
			cause()
			if on := p.firing(); !slices.Contains(on, want) {
				return fmt.Sprint("firing: ", on)
			}
			return ""
		})
		t.Logf("%s: %v", what, p.firing())
	}
	w.broken.Store(true)
	alarm("the registry is down", "AdmissionErrors", func() { admits(t, c, in("shop", pod(w.host+"/acme/app@"+strings.Split(bad, "@")[1]))) })
	w.broken.Store(false)
	replace(t, c, replaced(`validationActions: \[Deny\]`, "validationActions: [Audit]")(string(w.render())))
	alarm("the policies only audit", "AdmissionOnlyAudits", func() { try(1, "shop", pod(good), true) })
	c.KillKyverno()
	alarm("Kyverno is down", "KyvernoDown", func() {})
	alarm("Kyverno is down", "AdmissionUnanswered", func() { c.Create(t.Context(), in("shop", called(pod(good), "x")), true) })
}

// without lists the queries of the dashboard that have no data.
func without(t *testing.T, p prometheus) (all []string) {
	t.Helper()
	for _, q := range queries(t) {
		if !slices.ContainsFunc(slices.Collect(maps.Values(p.ask(q.expr))), func(v float64) bool { return !math.IsNaN(v) }) {
			all = append(all, q.title+": no data for "+q.expr)
		}
	}
	return all
}

// compare asks every query of the dashboard: each must have data, and those of which it is known what was caused must say so.
func compare(t *testing.T, p prometheus, before, caused map[string]map[string]float64) (wrong, table []string) {
	t.Helper()
	asked := map[string]bool{}
	wrong = without(t, p)
	for _, q := range queries(t) {
		asked[q.expr] = true
		series := p.ask(q.expr)
		expected, seen := []string{}, []string{}
		for _, labels := range slices.Sorted(maps.Keys(caused[q.expr])) {
			want, got := caused[q.expr][labels], series[labels]-before[q.expr][labels]
			expected, seen = append(expected, fmt.Sprint(labels, " ", want)), append(seen, fmt.Sprint(labels, " ", got))
			if got != want {
				wrong = append(wrong, fmt.Sprintf("%s, %s: %v, and %v was caused", q.title, labels, got, want))
			}
		}
		if len(expected) == 0 {
			expected, seen = []string{"data"}, []string{fmt.Sprint(series)}
		}
		table = append(table, fmt.Sprintf("%s | %s | %d | %s | %s", q.title, q.expr, len(series), strings.Join(expected, ", "), strings.Join(seen, ", ")))
	}
	for expr := range caused {
		if !asked[expr] {
			t.Fatalf("no panel asks %s", expr)
		}
	}
	return wrong, table
}

// serve starts the memory's service with the world's policy.
func (w *world) serve() (address string) {
	w.t.Helper()
	program, err := filepath.Abs("../../bin/hallmark")
	if err != nil {
		w.t.Fatal(err)
	}
	log := start(w.t.(*testing.T), filepath.Join(w.dir, "serve.log"), program, "serve", "--listen", "127.0.0.1:0",
		"--db", filepath.Join(w.dir, "memory.db"), "--policy", filepath.Join(w.dir, "hallmark.yaml"))
	return "http://" + awaitLine(w.t.(*testing.T), log, `(127\.0\.0\.1:[1-9][0-9]*)`)
}
