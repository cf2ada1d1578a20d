package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Bounds of what is read about one subject.
const (
	// BundleLimit is the largest bundle, in bytes.
	BundleLimit = 64 << 20
	// TotalLimit is the most that all bundles of a subject may have together,
	// in bytes.
	TotalLimit = 256 << 20
	// CountLimit is the most referrers looked into. More is an error and not
	// a selection: the missing one could be the one that matters.
	CountLimit = 200
)

// Via says how something was found.
type Via string

// The ways evidence is found.
const (
	ViaReferrers Via = "referrers"
	ViaFallback  Via = "fallback-tag"
	ViaLegacy    Via = "legacy-tag"
)

// Found is everything a registry holds about one subject. None of it is
// verified.
type Found struct {
	Bundles []Stored
	Legacy  []Legacy
	// Skipped lists referrers that hold no readable bundle, with the reason.
	Skipped []Skipped
}

// Signed gives the bundles without where they came from.
func (f Found) Signed() []evidence.Signed {
	list := make([]evidence.Signed, len(f.Bundles))
	for i, b := range f.Bundles {
		list[i] = b.Signed
	}
	return list
}

// Stored is a bundle with the manifest that keeps it.
type Stored struct {
	evidence.Signed
	Manifest v1.Hash
	Via      Via
}

// Skipped is a referrer that was not read as evidence.
type Skipped struct {
	Manifest v1.Hash
	// ArtifactType is what the registry calls it.
	ArtifactType string
	Reason       string
}

// Find lists and fetches all evidence about a subject: Sigstore bundles by the
// referrers API and by the fallback tag, and what cosign 2 left under its
// tags. A bundle is recognised by its manifest, because some registries list
// referrers under the wrong type.
func (c *Client) Find(ctx context.Context, subject name.Digest) (Found, error) {
	s, err := c.open(ctx, subject.Context(), false)
	if err != nil {
		return Found{}, err
	}
	found, err := s.find(ctx, subject)
	if err != nil {
		return Found{}, fmt.Errorf("fetching evidence of %s: %w", subject, err)
	}
	return found, nil
}

// Evidence is Find for those who want nothing but the bundles.
func (c *Client) Evidence(ctx context.Context, subject name.Digest) ([]evidence.Signed, error) {
	found, err := c.Find(ctx, subject)
	return found.Signed(), err
}

func (s *session) find(ctx context.Context, subject name.Digest) (Found, error) {
	h, err := v1.NewHash(subject.DigestStr())
	if err != nil {
		return Found{}, err
	}
	var found Found
	var api listing
	var tag fallback
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) { api, err = s.listReferrers(inner, h); return err })
	group.Go(func() (err error) { tag, err = s.readFallback(inner, h); return err })
	group.Go(func() (err error) { found.Legacy, err = s.legacy(inner, h); return err })
	if err := group.Wait(); err != nil {
		return Found{}, err
	}
	var candidates []candidate
	for _, source := range []struct {
		via  Via
		list []v1.Descriptor
	}{{ViaReferrers, api.referrers}, {ViaFallback, tag.listed}} {
		for _, d := range source.list {
			switch {
			case known(candidates, d.Digest):
			case mayHoldBundle(d.ArtifactType):
				candidates = append(candidates, candidate{d, source.via})
			default:
				found.skip(d, "is of another type")
			}
		}
	}
	if len(candidates) > CountLimit {
		err := fmt.Errorf("%d referrers may be evidence: %w: more than %d", len(candidates), ErrTooLarge, CountLimit)
		return Found{}, hint.Add(err, "delete the referrers that are not needed; admission controllers refuse such an image too")
	}
	return found, s.fetchAll(ctx, h, candidates, &found)
}

type candidate struct {
	v1.Descriptor
	via Via
}

func known(list []candidate, h v1.Hash) bool {
	for _, c := range list {
		if c.Digest == h {
			return true
		}
	}
	return false
}

func (f *Found) skip(d v1.Descriptor, reason string) {
	f.Skipped = append(f.Skipped, Skipped{Manifest: d.Digest, ArtifactType: tame(d.ArtifactType), Reason: reason})
}

const bundleType = "application/vnd.dev.sigstore.bundle"

// mayHoldBundle lets through what could be a bundle under a wrong name:
// registries are seen to report the configuration's type, or none.
func mayHoldBundle(artifactType string) bool {
	switch artifactType {
	case "", "application/vnd.oci.empty.v1+json", "application/vnd.oci.image.config.v1+json", "application/vnd.unknown.config.v1+json":
		return true
	}
	return strings.HasPrefix(artifactType, bundleType)
}

// fetchAll fetches the candidates side by side and keeps their order.
func (s *session) fetchAll(ctx context.Context, subject v1.Hash, candidates []candidate, found *Found) error {
	results := make([]Stored, len(candidates))
	reasons := make([]string, len(candidates))
	var total atomic.Int64
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(2 * s.opts.Jobs)
	for i, c := range candidates {
		group.Go(func() error {
			var no unfit
			var err error
			results[i], err = s.fetchBundle(inner, subject, c, &total)
			if errors.As(err, &no) {
				reasons[i], err = string(no), nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, c := range candidates {
		if reasons[i] != "" {
			found.skip(c.Descriptor, reasons[i])
			continue
		}
		found.Bundles = append(found.Bundles, results[i])
	}
	return nil
}

// unfit is why a referrer holds no bundle about the subject.
type unfit string

func (u unfit) Error() string { return string(u) }

func (s *session) fetchBundle(ctx context.Context, subject v1.Hash, c candidate, total *atomic.Int64) (Stored, error) {
	m, err := s.byDigest(ctx, c.Digest.String())
	if IsNotFound(err) {
		return Stored{}, unfit("is listed and missing")
	}
	if err != nil {
		return Stored{}, err
	}
	parsed, err := v1.ParseManifest(bytes.NewReader(m.raw))
	switch {
	case err != nil || m.descriptor.MediaType.IsIndex():
		return Stored{}, unfit("is no image manifest")
	case parsed.Subject == nil || parsed.Subject.Digest != subject:
		return Stored{}, unfit("names another subject")
	case len(parsed.Layers) != 1 || !strings.HasPrefix(string(parsed.Layers[0].MediaType), bundleType):
		return Stored{}, unfit("holds no single bundle")
	case parsed.Layers[0].Size > BundleLimit:
		return Stored{}, unfit(fmt.Sprintf("is larger than %d MiB", BundleLimit>>20))
	}
	layer := parsed.Layers[0]
	if total.Add(max(layer.Size, 0)) > TotalLimit {
		return Stored{}, fmt.Errorf("bundles are together %w: more than %d MiB", ErrTooLarge, TotalLimit>>20)
	}
	raw, err := s.blob(ctx, layer.Digest, max(layer.Size, 0))
	if IsNotFound(err) {
		return Stored{}, unfit("lacks its bundle")
	}
	if err != nil {
		return Stored{}, err
	}
	return Stored{
		Signed:   evidence.Signed{PredicateType: parsed.Annotations[annotationPredicate], Subjects: []v1.Hash{subject}, Bundle: raw},
		Manifest: c.Digest,
		Via:      c.via,
	}, nil
}
