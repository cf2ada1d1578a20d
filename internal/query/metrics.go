package query

import (
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/memory"
)

// Metrics are the service's, in a registry of their own. docs/observing.md lists
// them; their names are a promise.
type Metrics struct {
	registry *prometheus.Registry

	intakes       *prometheus.CounterVec
	intakeSeconds *prometheus.HistogramVec
	inFlight      prometheus.Gauge
	queries       *prometheus.CounterVec
	querySeconds  *prometheus.HistogramVec
	requests      *prometheus.CounterVec
	rejected      *prometheus.CounterVec
	imports       *prometheus.CounterVec
	newlyAffected *prometheus.CounterVec
	newlyImages   *prometheus.CounterVec
	webhooks      *prometheus.CounterVec
	releases      *prometheus.CounterVec
	gateRefusals  *prometheus.CounterVec
	storeErrors   prometheus.Counter
	lastIntake    prometheus.Gauge
	roots         *prometheus.GaugeVec
}

// NewMetrics makes the metrics of a program of a version.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	seconds := func(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels)
		m.registry.MustRegister(h)
		return h
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		m.registry.MustRegister(g)
		return g
	}
	m.intakes = counters("hallmark_intake_total", "Images taken in, by result and the reason of a refusal.", "result", "reason", "source")
	m.intakeSeconds = seconds("hallmark_intake_duration_seconds", "Time to fetch, verify and store an image.", prometheus.ExponentialBuckets(0.005, 2, 14), "result")
	m.inFlight = gauge("hallmark_intake_in_flight", "Images being taken in.")
	m.queries = counters("hallmark_queries_total", "Questions answered, by question and HTTP status.", "question", "code")
	m.querySeconds = seconds("hallmark_query_duration_seconds", "Time to find an answer, without writing it.",
		[]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}, "question")
	m.requests = counters("hallmark_http_requests_total", "Requests answered.", "method", "route", "code")
	m.rejected = counters("hallmark_http_rejected_total", "Requests turned away at the door.", "reason")
	m.imports = counters("hallmark_advisory_import_total", "Imports of advisories, by result.", "result")
	m.newlyAffected = counters("hallmark_newly_affected_total", "Advisories found to hit images they did not hit before.", "severity", "kev")
	m.newlyImages = counters("hallmark_newly_affected_images_total", "Images newly hit, counted once for each advisory.", "severity")
	m.webhooks = counters("hallmark_webhook_deliveries_total", "Deliveries of events, by result.", "result")
	m.releases = counters("hallmark_releases_total", "Releases that were reported, by outcome.", "outcome")
	m.gateRefusals = counters("hallmark_gate_refusals_total", "Reported releases that the gate refused, by kind of reason; a release counts once for each of its kinds.", "reason")
	m.lastIntake = gauge("hallmark_evidence_last_intake_timestamp_seconds", "When an image was last taken in by this replica.")
	m.roots = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hallmark_trust_root_expiry_timestamp_seconds",
		Help: "When the trust root that images of a repository are judged by ends: its last certificate authority, or its TUF metadata."}, []string{"repository", "part"})
	m.registry.MustRegister(m.roots)
	m.storeErrors = prometheus.NewCounter(prometheus.CounterOpts{Name: "hallmark_store_errors_total", Help: "Failures of the store that a request met."})
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hallmark_build_info", Help: "The program's version."}, []string{"version", "goversion"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(m.storeErrors, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// Series that alerts look for must be there before the first event.
	for _, result := range []string{"stored", "unchanged", "kept", "waiting"} {
		m.intakes.WithLabelValues(result, "none", "api")
	}
	for s := finding.Unknown; s <= finding.Critical; s++ {
		m.newlyAffected.WithLabelValues(s.String(), "false")
		m.newlyAffected.WithLabelValues(s.String(), "true")
		m.newlyImages.WithLabelValues(s.String())
	}
	for _, result := range []string{"done", "refused", "error"} {
		m.imports.WithLabelValues(result)
	}
	for _, result := range []string{"delivered", "failed"} {
		m.webhooks.WithLabelValues(result)
	}
	for _, outcome := range []string{Released, Refused, Failed} {
		m.releases.WithLabelValues(outcome)
	}
	m.gateRefusals.WithLabelValues("severity")
	for _, reason := range []string{"unauthorised", "forbidden", "rate", "too_large"} {
		m.rejected.WithLabelValues(reason)
	}
	return m
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

func (m *Metrics) intake(r intake.Result, err error, source string, took time.Duration) {
	result, reason := string(r.Result), r.Code
	if err != nil {
		result, reason = "error", ""
	}
	if reason == "" {
		reason = "none"
	}
	m.intakes.WithLabelValues(result, reason, source).Inc()
	m.intakeSeconds.WithLabelValues(result).Observe(took.Seconds())
	if err == nil && (result == "stored" || result == "unchanged") {
		m.lastIntake.SetToCurrentTime()
	}
}

func (m *Metrics) question(name string, err error, took time.Duration) {
	code := http.StatusOK
	if e, ok := err.(huma.StatusError); ok {
		code = e.GetStatus()
	}
	m.queries.WithLabelValues(name, strconv.Itoa(code)).Inc()
	m.querySeconds.WithLabelValues(name).Observe(took.Seconds())
}

// request counts an answered request. A method is the client's word, and must
// not become any number of series.
func (m *Metrics) request(method, route string, status int) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
}

// Announced counts events; it is memory's Announced.
func (m *Metrics) Announced(events []index.Event) {
	for _, e := range events {
		m.newlyAffected.WithLabelValues(e.Severity.String(), strconv.FormatBool(e.KEV)).Inc()
		m.newlyImages.WithLabelValues(e.Severity.String()).Add(float64(e.Images))
	}
}

// Delivered counts deliveries; it is memory's Delivered.
func (m *Metrics) Delivered(err error) {
	result := "delivered"
	if err != nil {
		result = "failed"
	}
	m.webhooks.WithLabelValues(result).Inc()
}

// TrustRoot tells when the root that a repository's images are judged by ends:
// its last certificate authority, and its TUF metadata, zero for a root without.
func (m *Metrics) TrustRoot(repository string, authority, metadata time.Time) {
	m.roots.WithLabelValues(repository, "authority").Set(float64(authority.Unix()))
	if !metadata.IsZero() {
		m.roots.WithLabelValues(repository, "metadata").Set(float64(metadata.Unix()))
	}
}

// observe reads the sizes of a memory whenever metrics are asked for.
func (m *Metrics) observe(mem *memory.Memory) { m.registry.MustRegister(&sizes{memory: mem}) }

// sizes is a prometheus.Collector.
type sizes struct {
	memory *memory.Memory

	mu      sync.Mutex
	worst   map[finding.Severity]int
	oldest  time.Time
	counted time.Time
	epoch   uint64
}

// exposureEvery is how often the findings of all images are counted at most.
const exposureEvery = 30 * time.Second

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descImages     = describe("hallmark_index_images", "Images that are answered about.")
	descUnverified = describe("hallmark_index_unverified_images", "Of these, images that rest on unverified documents.")
	descRefused    = describe("hallmark_index_refused_images", "Images whose evidence was refused and not replaced.")
	descPackages   = describe("hallmark_index_packages", "Distinct packages.")
	descFindings   = describe("hallmark_index_findings", "Pairs of an advisory and a package that it hits.")
	descRows       = describe("hallmark_index_advisory_rows", "Advisory records.")
	descVEX        = describe("hallmark_index_vex_documents", "VEX documents.")
	descEpoch      = describe("hallmark_index_sequence", "The store's change this replica has followed to.")
	descSeq        = describe("hallmark_store_sequence", "The store's newest change.")
	descRetries    = describe("hallmark_store_retries_total", "Transactions that were tried again.")
	descAffected   = describe("hallmark_affected_images", "Images by the worst severity found in them.", "severity")
	descBuilt      = describe("hallmark_advisory_database_built_timestamp_seconds", "When a source of advisories was made.", "source")
	descImported   = describe("hallmark_advisory_last_import_timestamp_seconds", "When a source of advisories was imported.", "source")
	descOldest     = describe("hallmark_evidence_oldest_timestamp_seconds", "The oldest evidence that an image rests on.")
)

// Describe lists what Collect gives.
func (s *sizes) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, out) }

// Collect reads the memory.
func (s *sizes) Collect(out chan<- prometheus.Metric) {
	give := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	stats := s.memory.Index().Stats()
	for _, g := range []struct {
		desc  *prometheus.Desc
		value float64
	}{
		{descImages, float64(stats.Images)}, {descUnverified, float64(stats.Unverified)}, {descRefused, float64(stats.Refused)},
		{descPackages, float64(stats.Packages)}, {descFindings, float64(stats.Findings)}, {descRows, float64(stats.Advisories)},
		{descVEX, float64(stats.VEX)}, {descEpoch, float64(stats.Epoch)},
	} {
		give(g.desc, prometheus.GaugeValue, g.value)
	}
	give(descRetries, prometheus.CounterValue, float64(s.memory.Store.Retries()))
	worst, oldest := s.exposure(stats.Epoch)
	for v := finding.Unknown; v <= finding.Critical; v++ {
		give(descAffected, prometheus.GaugeValue, float64(worst[v]), v.String())
	}
	if !oldest.IsZero() {
		give(descOldest, prometheus.GaugeValue, unix(oldest))
	}
	seq, sources, err := s.memory.Freshness()
	if err != nil {
		return // readyz and the log tell it; half a scrape is better than none
	}
	give(descSeq, prometheus.GaugeValue, float64(seq))
	for source, i := range sources {
		give(descImported, prometheus.GaugeValue, unix(i.At), source)
		if !i.Built.IsZero() {
			give(descBuilt, prometheus.GaugeValue, unix(i.Built), source)
		}
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func (s *sizes) exposure(epoch uint64) (map[finding.Severity]int, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worst == nil || epoch != s.epoch && time.Since(s.counted) > exposureEvery {
		s.worst, s.oldest = s.memory.Index().Exposure()
		s.counted, s.epoch = time.Now(), epoch
	}
	return s.worst, s.oldest
}

func writeJSON(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }
