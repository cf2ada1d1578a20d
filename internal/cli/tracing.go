package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// tracing sends a span for each request to the collector that the standard
// variables of OpenTelemetry name, or nowhere. A collector that is down costs
// the spans and nothing else.
func (a *app) tracing(ctx context.Context, log *slog.Logger) (wrap func(http.Handler) http.Handler, end func(), err error) {
	endpoint := a.env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if base := a.env.get("OTEL_EXPORTER_OTLP_ENDPOINT"); endpoint == "" && base != "" {
		endpoint = strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	if endpoint == "" || a.env.get("OTEL_SDK_DISABLED") == "true" {
		return func(h http.Handler) http.Handler { return h }, func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, nil, fmt.Errorf("opening OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	service := a.env.get("OTEL_SERVICE_NAME")
	if service == "" {
		service = "hallmark"
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(resource.NewSchemaless(
		attribute.String("service.name", service), attribute.String("service.version", version))))
	log.Info("tracing", "endpoint", endpoint)
	wrap = func(h http.Handler) http.Handler {
		return otelhttp.NewHandler(h, "hallmark", otelhttp.WithTracerProvider(provider), otelhttp.WithPropagators(propagation.TraceContext{}),
			otelhttp.WithFilter(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/") }),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method + " " + spanPath(r.URL.Path) }))
	}
	end = func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := provider.Shutdown(last); err != nil {
			log.Warn("sending the last traces", "error", err)
		}
	}
	return wrap, end, nil
}

// spanPath is a path without what was asked for.
func spanPath(path string) string {
	parts := strings.SplitN(path, "/", 4)
	return strings.Join(parts[:min(3, len(parts))], "/")
}
