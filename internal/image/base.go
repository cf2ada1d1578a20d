package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// base is an image to build upon, named by its digest.
type base struct {
	material Material
	subject  v1.Descriptor

	mu     sync.Mutex
	layout *layout
}

// baseImage is a base for one platform, its layers in the store.
type baseImage struct {
	config *v1.ConfigFile
	layers []v1.Descriptor
}

// openBase finds an image by repository@digest in a registry, or by
// oci:FOLDER@digest in an OCI layout, FOLDER being relative to the policy.
func openBase(ctx context.Context, s *store, ref string, opts Options) (*base, error) {
	where, digest, ok := strings.Cut(ref, "@")
	hash, err := v1.NewHash(digest)
	if !ok || err != nil {
		return nil, hint.Add(fmt.Errorf("base image %q has no digest", ref),
			"name it by digest, such as ghcr.io/acme/base@sha256:..., so that the same commit gives the same image")
	}
	l := &layout{store: s, bare: true, blobs: make(map[v1.Hash]*wanted)}
	if dir, ok := strings.CutPrefix(where, "oci:"); ok {
		path := filepath.FromSlash(dir)
		if !filepath.IsAbs(path) {
			path = filepath.Join(opts.PolicyDir, path)
		}
		l.files = folder(path)
		subject, err := l.choose(ctx, digest)
		if err != nil {
			return nil, err
		}
		return &base{material: Material{URI: "oci:" + dir, Digest: hash}, subject: subject, layout: l}, nil
	}
	named, err := name.NewDigest(ref)
	if err != nil {
		return nil, err
	}
	r, subject, err := openRemote(ctx, named, opts)
	if err != nil {
		return nil, err
	}
	l.files = r
	return &base{material: Material{URI: "docker://" + named.Context().Name(), Digest: hash}, subject: subject, layout: l}, nil
}

// image takes the base for one platform into the store.
func (b *base) image(ctx context.Context, p v1.Platform) (baseImage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, err := b.choose(ctx, p)
	if err != nil {
		return baseImage{}, err
	}
	m, config, err := b.layout.readImage(ctx, d)
	if err != nil {
		return baseImage{}, err
	}
	if config.OS != p.OS || config.Architecture != p.Architecture {
		return baseImage{}, hint.Add(fmt.Errorf("%s@%s is for %s/%s, not for %s", b.material.URI, d.Digest, config.OS, config.Architecture, p),
			"name the digest of an index that has the platform, or drop the platform")
	}
	if err := b.layout.wantLayers(d, m, config); err != nil {
		return baseImage{}, err
	}
	if err := b.layout.take(ctx); err != nil {
		return baseImage{}, err
	}
	clear(b.layout.blobs)
	out := baseImage{config: config}
	for _, l := range m.Layers {
		l.MediaType = ociLayer(l.MediaType)
		out.layers = append(out.layers, v1.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size})
	}
	return out, nil
}

func (b *base) choose(ctx context.Context, p v1.Platform) (v1.Descriptor, error) {
	if !b.subject.MediaType.IsIndex() {
		return b.subject, nil
	}
	index, err := b.layout.readIndex(ctx, b.subject)
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, d := range index.Manifests {
		if d.Platform != nil && d.Platform.Satisfies(p) && !isAttestation(d) {
			return d, nil
		}
	}
	return v1.Descriptor{}, hint.Add(fmt.Errorf("%s@%s has no image for %s%s", b.material.URI, b.subject.Digest, p, list(index.Manifests)),
		"drop the platform, or choose a base that has it")
}

// ociLayer gives the OCI name of a docker layer: the bytes are the same, and a
// manifest should not mix the two.
func ociLayer(m types.MediaType) types.MediaType {
	switch m {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	}
	return m
}

// remoteFiles shows a repository of a registry as if it were a layout, as far
// as it can be reached from one digest.
type remoteFiles struct {
	puller *remote.Puller
	repo   name.Repository

	mu        sync.Mutex
	manifests map[v1.Hash]bool
}

func openRemote(ctx context.Context, ref name.Digest, opts Options) (*remoteFiles, v1.Descriptor, error) {
	if opts.Transport == nil {
		opts.Transport = http.DefaultTransport
	}
	if opts.Keychain == nil {
		opts.Keychain = authn.NewMultiKeychain()
	}
	puller, err := remote.NewPuller(remote.WithTransport(opts.Transport), remote.WithAuthFromKeychain(opts.Keychain))
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	d, err := puller.Get(ctx, ref)
	if err != nil {
		return nil, v1.Descriptor{}, explainRemote(err, ref)
	}
	r := &remoteFiles{puller: puller, repo: ref.Context(), manifests: map[v1.Hash]bool{d.Digest: true}}
	return r, v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, nil
}

func explainRemote(err error, ref name.Reference) error {
	err = fmt.Errorf("fetching %s: %w", ref, err)
	var refused *transport.Error
	if errors.As(err, &refused) {
		switch refused.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return hint.Add(err, "log in to %s, for example with docker login", ref.Context().RegistryStr())
		case http.StatusNotFound:
			return hint.Add(err, "the registry does not have this digest; see that base under build.go is right")
		}
	}
	return hint.Add(err, "see that %s can be reached", ref.Context().RegistryStr())
}

func (r *remoteFiles) open(ctx context.Context, file string) (blob, error) {
	hex, ok := strings.CutPrefix(file, "blobs/sha256/")
	if !ok {
		return blob{}, fmt.Errorf("%s: %w", file, fs.ErrNotExist)
	}
	h := v1.Hash{Algorithm: "sha256", Hex: hex}
	ref := r.repo.Digest(h.String())
	r.mu.Lock()
	isManifest := r.manifests[h]
	r.mu.Unlock()
	if isManifest {
		return r.manifest(ctx, ref)
	}
	layer, err := r.puller.Layer(ctx, ref)
	if err != nil {
		return blob{}, explainRemote(err, ref)
	}
	content, err := layer.Compressed()
	if err != nil {
		return blob{}, explainRemote(err, ref)
	}
	return blob{ReadCloser: content, size: unknownSize}, nil
}

// manifest fetches a manifest or index, and learns what an index names.
func (r *remoteFiles) manifest(ctx context.Context, ref name.Digest) (blob, error) {
	d, err := r.puller.Get(ctx, ref)
	if err != nil {
		return blob{}, explainRemote(err, ref)
	}
	if d.MediaType.IsIndex() {
		index, err := parseIndex(d.Manifest)
		if err != nil {
			return blob{}, fmt.Errorf("fetching %s: %w", ref, err)
		}
		r.mu.Lock()
		for _, child := range index.Manifests {
			r.manifests[child.Digest] = true
		}
		r.mu.Unlock()
	}
	return blob{ReadCloser: io.NopCloser(bytes.NewReader(d.Manifest)), size: int64(len(d.Manifest))}, nil
}
