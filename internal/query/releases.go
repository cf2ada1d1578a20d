package query

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The outcomes of a release.
const (
	Released = "released" // verified from the registry, and tagged
	Refused  = "refused"  // by the gate: the registry never saw it
	Failed   = "failed"   // anything else; a second run completes it
)

// Release is what hallmark release tells of its outcome. It is counted and
// believed for nothing else: an image is known by its evidence alone, and of one
// that the gate refused there is none.
type Release struct {
	Repository string `json:"repository" minLength:"1" maxLength:"1024" doc:"REGISTRY/REPOSITORY"`
	Commit     string `json:"commit" pattern:"^[0-9a-f]{40}([0-9a-f]{24})?$" doc:"The commit that was to be released"`
	Outcome    string `json:"outcome" enum:"released,refused,failed"`
	// Digest is that of the image, where there is one in the registry.
	Digest string `json:"digest,omitempty" maxLength:"128"`
	// Reasons are the kinds of reasons of the gate, each once.
	Reasons []string `json:"reasons,omitempty" maxItems:"16" enum:"severity,kev,unknown-severity,unfixed,database-age,database-future,empty-database,uncovered,uncomparable,unused-exception,invalid-exception"`
}

type releaseRequest struct{ Body Release }

func (s *Service) releases() {
	huma.Register(s.api, s.do("report-release", http.MethodPost, "/v1/releases", "Count a release, or what the gate refused", huma.Operation{DefaultStatus: http.StatusNoContent}),
		func(ctx context.Context, in *releaseRequest) (*struct{}, error) {
			r := in.Body
			if r.Digest != "" {
				if _, err := v1.NewHash(r.Digest); err != nil {
					return nil, huma.Error400BadRequest(err.Error())
				}
			}
			s.Metrics.release(r)
			s.Log.InfoContext(ctx, "release", "repository", r.Repository, "commit", r.Commit, "outcome", r.Outcome, "digest", r.Digest, "reasons", r.Reasons)
			return nil, nil
		})
}

// release counts an outcome, and each kind of reason once.
func (m *Metrics) release(r Release) {
	m.releases.WithLabelValues(r.Outcome).Inc()
	if r.Outcome != Refused {
		return
	}
	kinds := slices.Clone(r.Reasons)
	slices.Sort(kinds)
	for _, kind := range slices.Compact(kinds) {
		m.gateRefusals.WithLabelValues(kind).Inc()
	}
}
