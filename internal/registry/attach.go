package registry

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
)

// emptyConfig is the content of application/vnd.oci.empty.v1+json (image
// specification, "Guidance for an Empty Descriptor").
var emptyConfig = []byte("{}")

// The annotations of a bundle's manifest, as cosign 3 writes them.
const (
	annotationContent   = "dev.sigstore.bundle.content"
	annotationPredicate = "dev.sigstore.bundle.predicateType"
	annotationCreated   = "org.opencontainers.image.created"
)

// Attach stores signed evidence so that it is found by the subject: one
// manifest per bundle, in the form cosign 3 gives them. All new manifests of a
// call are made visible together, so evidence that belongs together should be
// attached in one call. What is there already is not written again.
//
// Where the registry lacks the referrers API, the fallback tag is extended
// once for all of them, and again when a concurrent writer overwrote it. If
// the registry does not let the tag be extended the error is an
// *ImmutableTagError.
func (c *Client) Attach(ctx context.Context, subject name.Digest, signed []evidence.Signed) error {
	if len(signed) == 0 {
		return nil
	}
	s, err := c.open(ctx, subject.Context(), true)
	if err != nil {
		return err
	}
	if err := s.attach(ctx, subject, signed); err != nil {
		return fmt.Errorf("attaching evidence to %s: %w", subject, err)
	}
	return nil
}

func (s *session) attach(ctx context.Context, subject name.Digest, signed []evidence.Signed) error {
	about, err := s.byDigest(ctx, subject.DigestStr())
	if err != nil {
		return err
	}
	artifacts, err := newArtifacts(about.descriptor, signed)
	if err != nil {
		return err
	}
	h := about.descriptor.Digest
	before, err := s.listReferrers(ctx, h)
	if err != nil {
		return err
	}
	missing, err := s.missing(ctx, h, before, artifacts)
	if err != nil || len(missing) == 0 {
		return err
	}
	announced, err := s.store(ctx, h, missing)
	if err != nil {
		return err
	}
	return s.publish(ctx, h, missing, before.supported || announced, announced)
}

// missing gives the artifacts that the subject does not have yet. The word of
// the referrers API is taken for it. A fallback tag is written by clients and
// may list what has been deleted since, so there each is looked for.
func (s *session) missing(ctx context.Context, subject v1.Hash, api listing, artifacts []artifact) ([]artifact, error) {
	there := make([]bool, len(artifacts))
	for i, a := range artifacts {
		there[i] = api.has(a.descriptor.Digest)
	}
	if !api.supported {
		tag, err := s.readFallback(ctx, subject)
		if err != nil {
			return nil, err
		}
		group, inner := errgroup.WithContext(ctx)
		group.SetLimit(s.opts.Jobs)
		for i, a := range artifacts {
			if len(tag.lacking([]v1.Descriptor{a.descriptor})) > 0 {
				continue
			}
			group.Go(func() error {
				m, _, err := s.lookup(inner, a.descriptor.Digest.String())
				there[i] = m.raw != nil
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	var list []artifact
	for i, a := range artifacts {
		if !there[i] {
			list = append(list, a)
		}
	}
	return list, nil
}

// artifact is a bundle with the manifest that refers to the subject.
type artifact struct {
	manifest
	layer blob
	// annotations are the manifest's, repeated where it is listed.
	annotations map[string]string
}

// listed is the descriptor under which a list of referrers shows a.
func (a artifact) listed() v1.Descriptor {
	d := a.descriptor
	d.ArtifactType = evidence.BundleMediaType
	d.Annotations = a.annotations
	return d
}

// newArtifacts makes the manifests. They depend on nothing but the bundles and
// the subject, so the same evidence always has the same digest.
func newArtifacts(subject v1.Descriptor, signed []evidence.Signed) ([]artifact, error) {
	config := bytesBlob(emptyConfig)
	seen := map[v1.Hash]bool{}
	var list []artifact
	for _, one := range signed {
		created, err := madeAt(one.Bundle)
		if err != nil {
			return nil, fmt.Errorf("reading bundle of %s: %w", one.PredicateType, err)
		}
		a := artifact{layer: bytesBlob(one.Bundle), annotations: map[string]string{
			annotationContent:   "dsse-envelope",
			annotationPredicate: one.PredicateType,
			annotationCreated:   created.UTC().Format(time.RFC3339),
		}}
		raw, err := json.Marshal(v1.Manifest{
			SchemaVersion: 2,
			MediaType:     types.OCIManifestSchema1,
			ArtifactType:  evidence.BundleMediaType,
			Config: v1.Descriptor{
				MediaType: "application/vnd.oci.empty.v1+json", ArtifactType: evidence.BundleMediaType,
				Digest: config.digest, Size: config.size,
			},
			Layers:      []v1.Descriptor{{MediaType: evidence.BundleMediaType, Digest: a.layer.digest, Size: a.layer.size}},
			Subject:     &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
			Annotations: a.annotations,
		})
		if err != nil {
			return nil, err
		}
		if a.manifest, err = newManifest(raw, ""); err != nil {
			return nil, err
		}
		if !seen[a.descriptor.Digest] {
			seen[a.descriptor.Digest] = true
			list = append(list, a)
		}
	}
	return list, nil
}

// madeAt dates a bundle by what it holds, never by the clock: when the log
// took it in, or when the certificate's short life began. A bundle with
// neither is dated 1970.
func madeAt(bundle []byte) (time.Time, error) {
	var b struct {
		VerificationMaterial struct {
			Certificate          *certificate
			X509CertificateChain *struct{ Certificates []certificate }
			TlogEntries          []struct{ IntegratedTime string }
		}
	}
	if err := json.Unmarshal(bundle, &b); err != nil {
		return time.Time{}, err
	}
	material := b.VerificationMaterial
	for _, entry := range material.TlogEntries {
		if seconds, err := strconv.ParseInt(entry.IntegratedTime, 10, 64); err == nil && seconds > 0 {
			return time.Unix(seconds, 0), nil
		}
	}
	leaf := material.Certificate
	if chain := material.X509CertificateChain; leaf == nil && chain != nil && len(chain.Certificates) > 0 {
		leaf = &chain.Certificates[0]
	}
	if leaf == nil {
		return time.Unix(0, 0), nil
	}
	parsed, err := x509.ParseCertificate(leaf.RawBytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the certificate: %w", err)
	}
	return parsed.NotBefore, nil
}

type certificate struct{ RawBytes []byte }

// store writes blobs, then manifests by digest. It says whether the registry
// announced that it lists them itself, with the OCI-Subject header.
func (s *session) store(ctx context.Context, subject v1.Hash, artifacts []artifact) (bool, error) {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Jobs)
	group.Go(func() error {
		config := bytesBlob(emptyConfig)
		if there, err := s.hasBlob(inner, config.digest); err != nil || there {
			return err
		}
		return s.upload(inner, config, func(int64) {})
	})
	for _, a := range artifacts {
		group.Go(func() error { return s.upload(inner, a.layer, func(int64) {}) })
	}
	if err := group.Wait(); err != nil {
		return false, err
	}
	announced := make([]bool, len(artifacts))
	group, inner = errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Jobs)
	for i, a := range artifacts {
		group.Go(func() error {
			answer, err := s.put(inner, a.descriptor.Digest.String(), a.manifest, nil)
			announced[i] = answer.header.Get("OCI-Subject") == subject.String()
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return false, err
	}
	for _, yes := range announced {
		if !yes {
			return false, nil
		}
	}
	return true, nil
}

// publish makes sure that the manifests are found by their subject: by the
// referrers API, read back, or else by the fallback tag.
func (s *session) publish(ctx context.Context, subject v1.Hash, artifacts []artifact, api, announced bool) error {
	want := make([]v1.Descriptor, len(artifacts))
	for i, a := range artifacts {
		want[i] = a.listed()
	}
	for attempt := 1; api; attempt++ {
		now, err := s.listReferrers(ctx, subject)
		if err != nil {
			return err
		}
		missing := fallback{listed: now.referrers}.lacking(want)
		if len(missing) == 0 {
			return nil
		}
		wait, again := s.opts.Retry.wait(attempt, 0)
		if !again && announced {
			err := fmt.Errorf("the registry took %d referrers of %s and does not list %s", len(want), subject, missing[0].Digest)
			return hint.Add(err, "run again; if it stays so, the registry's referrers API is broken")
		}
		if !again {
			break
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
	return s.extendFallback(ctx, subject, want)
}

// isRefusal says that a registry answered no, rather than "not now".
func isRefusal(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Status >= 400 && status.Status < 500 && !passing(status.Status)
}
