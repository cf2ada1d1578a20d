package registry

import (
	"bytes"
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Legacy is one layer of what cosign 2 and older keep under a tag made from
// the subject's digest. It is raw: payload and annotations as they were stored.
type Legacy struct {
	// Kind is sig, att or sbom: the ending of the tag.
	Kind string
	// Tag is the tag it was found under, and Manifest what that stands for.
	Tag      string
	Manifest v1.Hash
	// MediaType is the layer's type, Payload its content.
	MediaType string
	Payload   []byte
	// Signature is the base64 signature of the payload, for sig.
	Signature string
	// Certificate and Chain are PEM; empty when a key signed.
	Certificate, Chain string
	// Bundle is the transparency log's promise, and Timestamp the RFC 3161
	// one, both in cosign's JSON.
	Bundle, Timestamp string
	// PredicateType is the annotation of an attestation; often empty.
	PredicateType string
}

// legacy reads the tags of cosign 2. Tags that do not exist are no error; one
// that holds something else is, because it could be hiding a signature.
func (s *session) legacy(ctx context.Context, subject v1.Hash) ([]Legacy, error) {
	kinds := []string{"sig", "att", "sbom"}
	lists := make([][]Legacy, len(kinds))
	group, ctx := errgroup.WithContext(ctx)
	for i, kind := range kinds {
		group.Go(func() (err error) {
			tag := fallbackTag(subject) + "." + kind
			lists[i], err = s.legacyTag(ctx, tag, kind)
			if err != nil {
				return fmt.Errorf("reading cosign tag %s: %w", tag, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []Legacy
	for _, list := range lists {
		all = append(all, list...)
	}
	return all, nil
}

func (s *session) legacyTag(ctx context.Context, tag, kind string) ([]Legacy, error) {
	m, _, err := s.lookup(ctx, tag)
	if err != nil || m.raw == nil {
		return nil, err
	}
	parsed, err := v1.ParseManifest(bytes.NewReader(m.raw))
	if err != nil || m.descriptor.MediaType.IsIndex() {
		return nil, fmt.Errorf("it holds %q and no image manifest", tame(string(m.descriptor.MediaType)))
	}
	if len(parsed.Layers) > CountLimit {
		return nil, fmt.Errorf("%w: %d layers", ErrTooLarge, len(parsed.Layers))
	}
	list := make([]Legacy, len(parsed.Layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Jobs)
	for i, layer := range parsed.Layers {
		group.Go(func() error {
			if layer.Size > BundleLimit || layer.Size < 0 {
				return fmt.Errorf("layer %s: %w", layer.Digest, ErrTooLarge)
			}
			payload, err := s.blob(ctx, layer.Digest, layer.Size)
			list[i] = Legacy{
				Kind: kind, Tag: tag, Manifest: m.descriptor.Digest,
				MediaType: string(layer.MediaType), Payload: payload,
				Signature:     layer.Annotations["dev.cosignproject.cosign/signature"],
				Certificate:   layer.Annotations["dev.sigstore.cosign/certificate"],
				Chain:         layer.Annotations["dev.sigstore.cosign/chain"],
				Bundle:        layer.Annotations["dev.sigstore.cosign/bundle"],
				Timestamp:     layer.Annotations["dev.sigstore.cosign/rfc3161timestamp"],
				PredicateType: layer.Annotations["predicateType"],
			}
			return err
		})
	}
	return list, group.Wait()
}
