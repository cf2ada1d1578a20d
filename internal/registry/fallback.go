package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

const (
	// extendLimit bounds how often the fallback tag is written anew because
	// other writers overwrote it.
	extendLimit = 20
	// settleFactor times the duration of a write is how long an overlapping
	// write by someone else may still take; settleLimit bounds that.
	settleFactor = 4
	settleLimit  = 3 * time.Second
)

// ErrContended says that other writers kept overwriting the fallback tag.
var ErrContended = errors.New("other writers keep overwriting the fallback tag")

// extendFallback adds descriptors to the index under the fallback tag and
// makes sure that they stay.
//
// The tag is read, merged and written whole, so a writer that read it before
// this write and writes after it takes the new entries out again. Registries
// that honour If-Match refuse that. For the others the tag is read again once
// such a writer must have finished, and repaired until every entry stays. The
// writers of this process go one after another.
func (s *session) extendFallback(ctx context.Context, subject v1.Hash, want []v1.Descriptor) error {
	tag := fallbackTag(subject)
	release, err := s.turn(ctx, tag)
	if err != nil {
		return err
	}
	defer release()
	for attempt := 1; attempt <= extendLimit; attempt++ {
		began := time.Now()
		wrote, err := s.amendFallback(ctx, subject, want)
		if err != nil || !wrote {
			return err
		}
		if attempt > 1 {
			s.opts.Log(fmt.Sprintf("tag %.19s: another writer took entries out; written again", tag))
		}
		settle := max(s.opts.Settle, min(settleFactor*time.Since(began), settleLimit))
		if err := pause(ctx, settle+rand.N(settle*time.Duration(min(attempt, 5)))); err != nil {
			return err
		}
	}
	return hint.Add(fmt.Errorf("extending tag %s: %w", tag, ErrContended), "run again when the other releases of this image are done; what was stored stays")
}

// amendFallback writes what is missing, if anything is, and says so.
func (s *session) amendFallback(ctx context.Context, subject v1.Hash, want []v1.Descriptor) (bool, error) {
	current, err := s.readFallback(ctx, subject)
	if err != nil {
		return false, err
	}
	missing := current.lacking(want)
	if len(missing) == 0 {
		return false, nil
	}
	return true, s.writeFallback(ctx, subject, current, missing)
}

// writeFallback writes once. That someone else was first is no error: the
// caller reads again.
func (s *session) writeFallback(ctx context.Context, subject v1.Hash, current fallback, missing []v1.Descriptor) error {
	m, err := current.with(missing)
	if err != nil {
		return err
	}
	condition := map[string]string{"If-None-Match": "*"}
	if current.exists {
		condition = nil
		if current.etag != "" && !strings.HasPrefix(current.etag, "W/") {
			condition = map[string]string{"If-Match": current.etag}
		}
	}
	tag := fallbackTag(subject)
	_, err = s.put(ctx, tag, m, condition)
	if lacksPart(err) {
		if m, err = s.pruned(ctx, current, missing); err == nil {
			_, err = s.put(ctx, tag, m, condition)
		}
	}
	if err == nil || !isRefusal(err) {
		return err
	}
	now, readErr := s.readFallback(ctx, subject)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if now.digest != current.digest {
		return nil
	}
	if !current.exists || !soundsImmutable(err) {
		return fmt.Errorf("writing fallback tag %s: %w", tag, err)
	}
	refusal := &ImmutableTagError{Tag: s.repo.Tag(tag), Err: err}
	for _, d := range missing {
		refusal.Missing = append(refusal.Missing, d.Digest)
	}
	return hint.Add(refusal, "exclude tags that begin with sha256- from tag immutability, or use a registry with the OCI referrers API; a release must attach all its evidence in one run here")
}

// lacksPart says that a registry refuses an index because it lacks one of the
// manifests listed.
func lacksPart(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && (status.Code == "MANIFEST_BLOB_UNKNOWN" || status.Code == "MANIFEST_UNKNOWN" || status.Code == "BLOB_UNKNOWN")
}

// pruned makes the index anew without the entries whose manifest the registry
// has not any more: somebody deleted it, and the entry leads nowhere.
func (s *session) pruned(ctx context.Context, current fallback, missing []v1.Descriptor) (manifest, error) {
	gone := make([]bool, len(current.listed))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Jobs)
	for i, d := range current.listed {
		group.Go(func() error {
			m, _, err := s.lookup(inner, d.Digest.String())
			gone[i] = m.raw == nil
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return manifest{}, fmt.Errorf("looking for the entries of a fallback tag: %w", err)
	}
	kept := current.entries[:0:0]
	for i, entry := range current.entries {
		if gone[i] {
			s.opts.Log(fmt.Sprintf("fallback tag: dropping %s, which was deleted", current.listed[i].Digest))
			continue
		}
		kept = append(kept, entry)
	}
	current.entries = kept
	return current.with(missing)
}

// soundsImmutable says that a refusal to write an existing tag, which did not move
// meanwhile, speaks of immutability. Registries have no common code for it.
func soundsImmutable(err error) bool {
	var status *StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status {
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusMethodNotAllowed:
		return true
	}
	text := strings.ToLower(status.Code + " " + status.Message)
	for _, word := range []string{"immutable", "immutability", "tag_invalid", "already exists", "overwritten"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// turn lets the writers of one tag in this process go one after another.
func (s *session) turn(ctx context.Context, tag string) (func(), error) {
	key := s.repo.Name() + ":" + tag
	s.mu.Lock()
	lock := s.writing[key]
	if lock == nil {
		lock = make(chan struct{}, 1)
		s.writing[key] = lock
	}
	s.mu.Unlock()
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
