package intake_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// What an intake spends its time on hangs on the span of who asked for it, and
// tells of no image.
func TestSpans(t *testing.T) {
	s := newScene(t, nil)
	s.release("v1", purls...)
	s.put("v2", "unsigned")
	told := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(told))
	for tag, want := range map[string]struct {
		result store.Result
		parts  []string
	}{"v1": {store.Stored, []string{"prove", "read SBOM", "store"}}, "v2": {intake.Refused, []string{"prove"}}} {
		told.Reset()
		ctx, whole := provider.Tracer("test").Start(t.Context(), "whole")
		r, err := s.intake.Image(ctx, s.Repository.Tag(tag))
		whole.End()
		if err != nil || r.Result != want.result {
			t.Fatalf("%s: %+v, %v", tag, r, err)
		}
		var parts []string
		for _, span := range told.Ended() {
			if span.Name() == "whole" {
				continue
			}
			parts = append(parts, span.Name())
			if span.Parent().SpanID() != whole.SpanContext().SpanID() || span.Status().Code == codes.Error || len(span.Attributes()) > 0 {
				t.Errorf("%s, %s: parent %v, status %v, attributes %v", tag, span.Name(), span.Parent().SpanID(), span.Status(), span.Attributes())
			}
		}
		slices.Sort(parts)
		if diff := cmp.Diff(want.parts, parts); diff != "" {
			t.Errorf("%s: %s", tag, diff)
		}
	}

	// A registry that is down is an error of the part, whose text stays here.
	told.Reset()
	s.Close()
	ctx, whole := provider.Tracer("test").Start(t.Context(), "whole")
	if _, err := s.intake.Image(ctx, s.Repository.Tag("v1")); err == nil {
		t.Fatal("an image was taken in from a registry that is down")
	}
	whole.End()
	if spans := told.Ended(); len(spans) != 2 || spans[0].Name() != "prove" || spans[0].Status().Code != codes.Error || spans[0].Status().Description != "" {
		t.Errorf("spans: %v", spans)
	}
}
