package query

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/span"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// answer is the body of a response.
type answer[T any] struct{ Body T }

// Common are the parameters of every question. They are embedded and their type
// must be exported: huma passes over what it cannot reach from outside.
type Common struct {
	AsOf time.Time `query:"as-of" doc:"Answer with what was known at this time, RFC 3339"`
	VEX  bool      `query:"vex" doc:"Leave out what VEX statements clear, instead of showing their status only"`
}

// Paged are those of questions that answer in pages.
type Paged struct {
	Common
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The size of the page"`
	Cursor string `query:"cursor" maxLength:"64" doc:"The next of the page before"`
}

func (c Common) options() index.Options { return index.Options{AsOf: c.AsOf, VEX: c.VEX} }

func (p Paged) options() index.Options {
	return index.Options{AsOf: p.AsOf, VEX: p.VEX, Limit: p.Limit, Cursor: p.Cursor}
}

// ask registers a question: GET, without effect, for whoever may read.
func ask[I, O any](s *Service, name, path, summary string, f func(context.Context, *I) (O, error)) {
	huma.Register(s.api, huma.Operation{
		OperationID: name, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"questions"},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, func(ctx context.Context, in *I) (*answer[O], error) {
		start := time.Now()
		asking, answered := span.Start(ctx, name)
		out, err := f(asking, in)
		err = status(err)
		answered(err)
		s.Metrics.question(name, err, time.Since(start))
		if err != nil {
			return nil, err
		}
		return &answer[O]{out}, nil
	})
}

// status gives an error the HTTP status of its kind.
func status(err error) error {
	var already huma.StatusError
	switch {
	case err == nil || errors.As(err, &already):
		return err
	case errors.Is(err, index.ErrUnknownImage), errors.Is(err, index.ErrUnknownAdvisory), errors.Is(err, index.ErrUnknownPackage), errors.Is(err, store.ErrUnknown):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, index.ErrAmbiguous), errors.Is(err, store.ErrBusy):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, store.ErrFull):
		return huma.NewError(http.StatusInsufficientStorage, err.Error())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, store.ErrClosed):
		return huma.Error503ServiceUnavailable("it took too long or the service is ending; try again")
	}
	return huma.Error400BadRequest(err.Error())
}

type whoHasInput struct {
	Paged
	Package string `query:"package" required:"true" minLength:"1" maxLength:"2048" doc:"A name, NAME@RANGE, or a package URL"`
	Type    string `query:"type" maxLength:"64" doc:"Only packages of this package URL type"`
	Distro  string `query:"distro" maxLength:"64" doc:"Only packages of this distribution, as debian-12 or debian"`
}

type affectedInput struct {
	Paged
	ID       string `path:"id" maxLength:"256" doc:"Any name of the vulnerability: CVE, GHSA, PYSEC, GO, DSA, …"`
	Severity string `query:"severity" enum:"unknown,negligible,low,medium,high,critical" doc:"The least severity that counts"`
	Fixable  bool   `query:"fixable" doc:"Only where a fix is known"`
	KEV      bool   `query:"kev" doc:"Only what is known to be exploited"`
}

type imageInput struct {
	Common
	Ref string `query:"ref" required:"true" minLength:"1" maxLength:"1024" doc:"A digest, REPOSITORY@DIGEST, REPOSITORY:TAG, or a repository with one image"`
}

type diffInput struct {
	Common
	A string `query:"a" required:"true" minLength:"1" maxLength:"1024" doc:"The image to compare from, as in image"`
	B string `query:"b" required:"true" minLength:"1" maxLength:"1024" doc:"The image to compare to"`
}

type licencesInput struct {
	Paged
	Licence string `query:"licence" maxLength:"1024" doc:"Also name the packages that carry this licence"`
}

type topInput struct {
	Common
	Kind  string `query:"kind" enum:"images,packages,oldest" default:"images" doc:"The ranking"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"20" doc:"How many places"`
}

type explainInput struct {
	Common
	ID   string `query:"id" required:"true" minLength:"1" maxLength:"256" doc:"Any name of the vulnerability"`
	PURL string `query:"purl" required:"true" minLength:"1" maxLength:"2048" doc:"The package, by package URL"`
}

type listInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many"`
}

// Refusals are images whose evidence was refused, the latest first.
type Refusals struct {
	Refusals []store.Refusal `json:"refusals"`
}

// Events are the events that were told, the newest first.
type Events struct {
	Batches []memory.Batch `json:"batches"`
}

// Status is what the memory holds and how fresh that is.
type Status struct {
	Version string      `json:"version"`
	Index   index.Stats `json:"index"`
	// StoreSequence is the store's newest change; Index.Epoch is how far this
	// replica has followed.
	StoreSequence int64          `json:"storeSequence"`
	Imports       []store.Import `json:"imports"`
	// Unverified says that the service lets loose documents in.
	Unverified bool `json:"unverified"`
}

func (s *Service) questions() {
	ix := s.Memory.Index()
	ask(s, "who-has", "/v1/who-has", "Which images hold a package", func(_ context.Context, in *whoHasInput) (index.WhoHas, error) {
		return ix.WhoHas(index.PackageQuery{Text: in.Package, Type: in.Type, Distro: in.Distro}, in.options())
	})
	ask(s, "affected", "/v1/affected/{id}", "Which images an advisory hits", func(_ context.Context, in *affectedInput) (index.Affected, error) {
		q := index.AffectedQuery{ID: in.ID, Fixable: in.Fixable, KEV: in.KEV}
		if in.Severity != "" {
			var err error
			if q.Severity, err = finding.ParseSeverity(in.Severity); err != nil {
				return index.Affected{}, err
			}
		}
		return ix.Affected(q, in.options())
	})
	ask(s, "image", "/v1/image", "What an image holds and what is found in it", func(_ context.Context, in *imageInput) (index.ImageReport, error) {
		return ix.Image(in.Ref, in.options())
	})
	ask(s, "diff", "/v1/diff", "What changed from one image to another", func(_ context.Context, in *diffInput) (index.Diff, error) {
		return ix.Compare(in.A, in.B, in.options())
	})
	ask(s, "licences", "/v1/licences", "Which licences packages carry", func(_ context.Context, in *licencesInput) (index.Licences, error) {
		return ix.Licences(in.Licence, in.options())
	})
	ask(s, "top", "/v1/top", "The worst images, the commonest packages, the oldest images", func(_ context.Context, in *topInput) (index.Top, error) {
		o := in.options()
		o.Limit = in.Limit
		return ix.Top(in.Kind, o)
	})
	ask(s, "explain", "/v1/explain", "Why an advisory does or does not hit a package", func(_ context.Context, in *explainInput) (index.Explanation, error) {
		return ix.Explain(in.ID, in.PURL, in.options())
	})
	ask(s, "refusals", "/v1/refusals", "Which evidence was refused, and why", func(ctx context.Context, in *listInput) (Refusals, error) {
		list, err := s.Memory.Store.Refusals(ctx, in.Limit)
		if list == nil {
			list = []store.Refusal{}
		}
		return Refusals{list}, s.inside(err)
	})
	ask(s, "events", "/v1/events", "What was found to be newly affected", s.events)
	ask(s, "status", "/v1/status", "What the memory holds, and how fresh that is", func(ctx context.Context, _ *struct{}) (Status, error) {
		imports, err := s.Memory.Store.Imports(ctx)
		if err != nil {
			return Status{}, s.inside(err)
		}
		seq, err := s.Memory.Store.Sequence(ctx)
		imports = imports[max(0, len(imports)-50):]
		if imports == nil {
			imports = []store.Import{}
		}
		return Status{s.Version, ix.Stats(), seq, imports, s.Intake.Unverified}, s.inside(err)
	})
}

func (s *Service) events(ctx context.Context, in *listInput) (Events, error) {
	list, err := s.Memory.Store.Events(ctx, in.Limit)
	if err != nil {
		return Events{}, s.inside(err)
	}
	out := Events{Batches: []memory.Batch{}}
	for _, e := range list {
		b, err := memory.ReadBatch(e.Body)
		if err != nil {
			return out, s.inside(err)
		}
		out.Batches = append(out.Batches, b)
	}
	return out, nil
}

// inside logs an error of the service's own and hides it from the caller: it
// may name what is nobody's business.
func (s *Service) inside(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrClosed) {
		return err
	}
	s.Log.Error("the store failed", "error", err)
	s.Metrics.storeErrors.Inc()
	if errors.Is(err, store.ErrFull) {
		return huma.NewError(http.StatusInsufficientStorage, store.ErrFull.Error())
	}
	return huma.Error503ServiceUnavailable("the store failed; the service's log says how")
}
