package query

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/sbom"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// errBusy asks to come back.
func errBusy() error {
	return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable("too many images are being taken in; try again"), http.Header{"Retry-After": {"2"}})
}

// turn waits for a place among the intakes.
func (s *Service) turn(ctx context.Context) (done func(), err error) {
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case s.turns <- struct{}{}:
	case <-wait.Done():
		return nil, errBusy()
	}
	s.Metrics.inFlight.Inc()
	return func() { <-s.turns; s.Metrics.inFlight.Dec() }, nil
}

// takeIn takes one image in, counted.
func (s *Service) takeIn(ctx context.Context, source string, f func(context.Context) (intake.Result, error)) (intake.Result, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return intake.Result{}, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, intakeTime)
	defer cancel()
	start := time.Now()
	r, err := f(ctx)
	s.Metrics.intake(r, err, source, time.Since(start))
	return r, s.intakeError(err)
}

// intakeError keeps what the caller can act on and hides what is the store's.
func (s *Service) intakeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, intake.ErrNoPolicy), errors.Is(err, intake.ErrUnverified):
		return huma.Error403Forbidden(err.Error())
	case errors.Is(err, sbom.ErrDocument), errors.Is(err, io.ErrUnexpectedEOF):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrCorrupt):
		return s.inside(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrBusy):
		return status(err)
	}
	return huma.Error502BadGateway(err.Error())
}

type imageRequest struct {
	Body struct {
		Image string `json:"image" minLength:"1" maxLength:"1024" doc:"REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@DIGEST"`
	}
}

type sweepRequest struct {
	Body struct {
		Repository string `json:"repository" minLength:"1" maxLength:"1024" doc:"REGISTRY/REPOSITORY"`
	}
}

type notification struct {
	Host    string `query:"host" maxLength:"256" doc:"The registry's name in references, where the event does not tell it or tells another"`
	RawBody []byte
}

type ecrNotification struct {
	RawBody []byte
}

// Notified is what became of the images that a notification named.
type Notified struct {
	Results []intake.Result `json:"results"`
}

type documentRequest struct {
	Image string `query:"image" required:"true" maxLength:"1024" doc:"The image the document is about, as REPOSITORY@DIGEST"`
	body  io.Reader
}

// Resolve keeps the body as a stream.
func (d *documentRequest) Resolve(ctx huma.Context) []error {
	d.body = ctx.BodyReader()
	return nil
}

type retireRequest struct {
	Digest string `path:"digest" maxLength:"128" doc:"The image's digest"`
}

func (s *Service) do(name, method, path, summary string, o huma.Operation) huma.Operation {
	o.OperationID, o.Method, o.Path, o.Summary, o.Tags = name, method, path, summary, []string{"writing"}
	o.Errors = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
		http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusInsufficientStorage}
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = maxBody
	}
	return o
}

func (s *Service) writing() {
	huma.Register(s.api, s.do("ingest", http.MethodPost, "/v1/images", "Take an image in, once its evidence is proven", huma.Operation{}),
		func(ctx context.Context, in *imageRequest) (*answer[intake.Result], error) {
			ref, err := name.ParseReference(in.Body.Image, name.StrictValidation)
			if err != nil {
				return nil, huma.Error400BadRequest(err.Error())
			}
			r, err := s.takeIn(ctx, "api", func(ctx context.Context) (intake.Result, error) { return s.Intake.Image(ctx, ref) })
			return &answer[intake.Result]{r}, err
		})
	huma.Register(s.api, s.do("sweep", http.MethodPost, "/v1/sweeps", "Take in all images of a repository, by its tags and referrers", huma.Operation{}),
		func(ctx context.Context, in *sweepRequest) (*answer[intake.Sweep], error) {
			repository, err := name.NewRepository(in.Body.Repository, name.StrictValidation)
			if err != nil {
				return nil, huma.Error400BadRequest(err.Error())
			}
			done, err := s.turn(ctx)
			if err != nil {
				return nil, err
			}
			defer done()
			start := time.Now()
			swept, err := s.Intake.Sweep(ctx, repository, func(r intake.Result) {
				s.Metrics.intake(r, nil, "sweep", time.Since(start))
				start = time.Now()
			})
			return &answer[intake.Sweep]{swept}, s.intakeError(err)
		})
	huma.Register(s.api, s.do("notify-distribution", http.MethodPost, "/v1/notifications/distribution", "Take in what a CNCF Distribution registry says was pushed", huma.Operation{}),
		func(ctx context.Context, in *notification) (*answer[Notified], error) {
			refs, err := intake.Distribution(in.RawBody, in.Host)
			return s.notified(ctx, "distribution", refs, err)
		})
	huma.Register(s.api, s.do("notify-ecr", http.MethodPost, "/v1/notifications/ecr", "Take in what an Amazon ECR event, from EventBridge or SQS, says was pushed", huma.Operation{}),
		func(ctx context.Context, in *ecrNotification) (*answer[Notified], error) {
			refs, err := intake.ECR(in.RawBody)
			return s.notified(ctx, "ecr", refs, err)
		})
	document := huma.Operation{RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {}}}}
	huma.Register(s.api, s.do("ingest-unverified", http.MethodPost, "/v1/sboms", "Take in a loose SBOM that nobody vouches for, where the service allows it", document),
		func(ctx context.Context, in *documentRequest) (*answer[intake.Result], error) {
			image, err := name.NewDigest(in.Image, name.StrictValidation)
			if err != nil {
				return nil, huma.Error400BadRequest(err.Error())
			}
			r, err := s.takeIn(ctx, "file", func(ctx context.Context) (intake.Result, error) { return s.Intake.Document(ctx, image, in.body) })
			return &answer[intake.Result]{r}, err
		})
	huma.Register(s.api, s.do("retire", http.MethodDelete, "/v1/images/{digest}", "Answer no longer about an image, except as of an earlier time", huma.Operation{DefaultStatus: http.StatusNoContent}),
		func(ctx context.Context, in *retireRequest) (*struct{}, error) {
			digest, err := v1.NewHash(in.Digest)
			if err != nil {
				return nil, huma.Error400BadRequest(err.Error())
			}
			return nil, status(s.inside(s.Memory.Retire(ctx, digest)))
		})
}

// notified takes in what a notification names, before it is acknowledged: a
// registry that is told of a failure sends it again, so nothing is lost when
// the service dies in between.
func (s *Service) notified(ctx context.Context, source string, refs []name.Reference, err error) (*answer[Notified], error) {
	if err != nil {
		return nil, huma.Error400BadRequest(err.Error())
	}
	out := Notified{Results: []intake.Result{}}
	for _, ref := range refs {
		r, err := s.takeIn(ctx, source, func(ctx context.Context) (intake.Result, error) { return s.Intake.Notified(ctx, ref) })
		if err != nil {
			return nil, err
		}
		out.Results = append(out.Results, r)
	}
	return &answer[Notified]{out}, nil
}
