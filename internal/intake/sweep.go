package intake

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"
)

// sideBySide is how many images of a sweep are taken in at once.
const sideBySide = 8

// Sweep is what a sweep of a repository came to.
type Sweep struct {
	Repository string `json:"repository"`
	// Tags counts those looked at.
	Tags int `json:"tags"`
	// Results are what became of the images, by tag, in the registry's order.
	Results []Result `json:"results"`
	// Problems are images about which nothing could be found out.
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is an image about which nothing could be found out.
type Problem struct {
	Image string `json:"image"`
	Error string `json:"error"`
}

// evidenceTag is a tag that is no image's: the fallback tag of the referrers
// API, and those of cosign 2. They name the digest they are about.
var evidenceTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})(\.(sig|att|sbom))?$`)

// Sweep takes in all images of a repository: those that have a tag, and those
// without one that evidence is kept for under a tag. each is told every result
// as it comes, one at a time; it may be nil.
func (in *Intake) Sweep(ctx context.Context, repository name.Repository, each func(Result)) (Sweep, error) {
	s := Sweep{Repository: repository.Name(), Results: []Result{}}
	if _, err := in.Judge(ctx, repository.Name()); err != nil {
		return s, fmt.Errorf("sweeping %s: %w", repository, err)
	}
	tags, err := in.Registry.Tags(ctx, repository)
	if err != nil {
		return s, fmt.Errorf("sweeping %s: %w", repository, err)
	}
	s.Tags = len(tags)
	refs := imagesOf(repository, tags)
	results := make([]Result, len(refs))
	errs := make([]error, len(refs))
	var mu sync.Mutex
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	for i, ref := range refs {
		group.Go(func() error {
			results[i], errs[i] = in.Image(inner, ref)
			if errs[i] == nil && each != nil {
				mu.Lock()
				defer mu.Unlock()
				each(results[i])
			}
			return inner.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return s, fmt.Errorf("sweeping %s: %w", repository, err)
	}
	for i, ref := range refs {
		if errs[i] != nil {
			s.Problems = append(s.Problems, Problem{ref.String(), errs[i].Error()})
			continue
		}
		s.Results = append(s.Results, results[i])
	}
	return s, nil
}

// imagesOf are the images that a repository's tags lead to.
func imagesOf(repository name.Repository, tags []string) []name.Reference {
	var refs []name.Reference
	subjects := map[string]bool{}
	for _, tag := range tags {
		if !evidenceTag.MatchString(tag) {
			refs = append(refs, repository.Tag(tag))
		}
	}
	for _, tag := range tags {
		if m := evidenceTag.FindStringSubmatch(tag); m != nil && !subjects[m[1]] {
			subjects[m[1]] = true
			refs = append(refs, repository.Digest("sha256:"+strings.ToLower(m[1])))
		}
	}
	return refs
}
