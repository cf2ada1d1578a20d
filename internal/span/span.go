// Package span marks what a request spends its time on, for traces as
// OpenTelemetry has them.
//
// A part belongs to the span that its context carries and goes where that one
// goes. So no room needs to know whether, or to whom, anything is told, and
// where nothing is traced nothing is made. What was asked for is in no span.
package span

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// tracer names the maker of the spans.
const tracer = "github.com/hallmark-sh/hallmark"

// Start begins a part of the span that ctx carries. Call what it gives when the
// part ends, with its error: that there was one is told, and not which, since
// an error names images.
func Start(ctx context.Context, name string) (part context.Context, end func(error)) {
	whole := trace.SpanFromContext(ctx)
	if !whole.IsRecording() {
		return ctx, func(error) {}
	}
	part, s := whole.TracerProvider().Tracer(tracer).Start(ctx, name)
	return part, func(err error) {
		if err != nil {
			s.SetStatus(codes.Error, "")
		}
		s.End()
	}
}
