package query_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A question is a part of the request that asks it.
func TestQuestionsAreTraced(t *testing.T) {
	server := service(t, false)
	told := tracetest.NewSpanRecorder()
	ctx, whole := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(told)).Tracer("test").Start(t.Context(), "whole")
	r := httptest.NewRequest(http.MethodGet, "http://localhost/v1/status", nil).WithContext(ctx)
	w := httptest.NewRecorder()
	server.Config.Handler.ServeHTTP(w, r)
	whole.End()
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	spans := told.Ended()
	if len(spans) != 2 || spans[0].Name() != "status" || spans[0].Parent().SpanID() != whole.SpanContext().SpanID() {
		t.Errorf("spans: %v", spans)
	}
}
