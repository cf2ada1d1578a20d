package cli

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Spans must reach a collector that speaks OTLP, one for each question and
// none for health, and tell neither what was asked for nor a token.
func TestSpansReachACollector(t *testing.T) {
	var mu sync.Mutex
	var spans []string
	var raw bytes.Buffer
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		data, err := io.ReadAll(body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(data, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		raw.Write(data)
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					spans = append(spans, span.Name)
				}
			}
		}
		answer, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(answer)
	}))
	defer receiver.Close()
	a := &app{env: newEnvironment([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + receiver.URL})}
	wrap, end, err := a.tracing(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	handler := wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for _, path := range []string{"/v1/affected/CVE-2021-44228", "/healthz"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer secret-of-mine")
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	end()
	mu.Lock()
	defer mu.Unlock()
	if len(spans) != 1 || spans[0] != "GET /v1/affected" {
		t.Errorf("the collector has %q, want one GET /v1/affected", spans)
	}
	if strings.Contains(raw.String(), "secret-of-mine") {
		t.Error("the collector was told a token")
	}
}
