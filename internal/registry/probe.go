package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Probe is what a registry can do for a repository.
type Probe struct {
	// Referrers says that it has the referrers API; without it evidence lies
	// under a fallback tag.
	Referrers bool
	// Clock is the registry's time, by the Date header of an answer; zero when
	// it gives none.
	Clock time.Time
	// Written says that writing was tried, and Mutable that a tag could be
	// moved.
	Written, Mutable bool
	// Left is what the trial left behind because the registry does not delete;
	// empty for nothing.
	Left string
}

// probeTag is the tag that a trial of writing uses, always the same one.
const probeTag = "hallmark-doctor"

// Probe asks what the registry can do, with the right to read. With write it
// also begins an upload and takes it back, and sets a tag of its own twice to
// see whether tags can be moved, and deletes what it made. An error is that of
// the first thing that is not allowed or does not work.
func (c *Client) Probe(ctx context.Context, repo name.Repository, write bool) (Probe, error) {
	var p Probe
	s, err := c.open(ctx, repo, false)
	if err != nil {
		return p, err
	}
	began := time.Now()
	a, err := s.do(ctx, call{method: http.MethodGet, url: s.at("tags/list"), limit: listLimit, want: []int{http.StatusOK, http.StatusNotFound}})
	if err != nil {
		return p, fmt.Errorf("reading %s: %w", repo, err)
	}
	if at, err := http.ParseTime(a.header.Get("Date")); err == nil {
		// The header has whole seconds, and was written on the way.
		p.Clock = at.Add(time.Since(began) / 2)
	}
	list, err := s.listReferrers(ctx, v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)})
	if err != nil {
		return p, err
	}
	p.Referrers = list.supported
	if !write {
		return p, nil
	}
	if s, err = c.open(ctx, repo, true); err != nil {
		return p, err
	}
	if err := s.tryUpload(ctx); err != nil {
		return p, fmt.Errorf("writing to %s: %w", repo, err)
	}
	p.Written = true
	p.Mutable, p.Left, err = s.tryTag(ctx)
	return p, err
}

// tryUpload begins an upload and takes it back.
func (s *session) tryUpload(ctx context.Context) error {
	u := upload{session: s}
	if err := u.begin(ctx); err != nil {
		return err
	}
	// A registry that can't take it back forgets it by itself.
	_, _ = s.do(ctx, call{method: http.MethodDelete, url: u.location, limit: errorLimit,
		want: []int{http.StatusNoContent, http.StatusOK, http.StatusNotFound, http.StatusMethodNotAllowed}})
	return nil
}

// tryTag sets a tag to two empty indexes, one after the other.
func (s *session) tryTag(ctx context.Context) (mutable bool, left string, err error) {
	for n, mark := range []string{"one", "two"} {
		m := emptyIndex(mark)
		_, err := s.put(ctx, probeTag, m, nil)
		switch {
		case err != nil && (n > 0 || isRefusal(err) && s.has(ctx, probeTag)):
			return false, s.remove(ctx, n+1), nil
		case err != nil:
			return false, "", fmt.Errorf("setting the tag %s: %w", probeTag, err)
		}
	}
	return true, s.remove(ctx, 2), nil
}

func (s *session) has(ctx context.Context, tag string) bool {
	m, _, err := s.lookup(ctx, tag)
	return err == nil && m.raw != nil
}

// remove deletes the first n empty indexes, and says what stays.
func (s *session) remove(ctx context.Context, n int) string {
	for _, mark := range []string{"one", "two"}[:n] {
		_, _ = s.do(ctx, call{method: http.MethodDelete, url: s.at("manifests/%s", emptyIndex(mark).descriptor.Digest), limit: errorLimit,
			want: []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent, http.StatusNotFound}})
	}
	if s.has(ctx, probeTag) {
		return s.repo.Name() + ":" + probeTag
	}
	return ""
}

func emptyIndex(mark string) manifest {
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"sh.hallmark.doctor":%q}}`, types.OCIImageIndex, mark)
	sum := sha256.Sum256(raw)
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	return manifest{raw: raw, descriptor: v1.Descriptor{MediaType: types.OCIImageIndex, Digest: digest, Size: int64(len(raw))}}
}
