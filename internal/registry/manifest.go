package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/image"
)

// manifestLimit is the largest image manifest or index read, in bytes. The
// specification asks registries to take this much.
const manifestLimit = 4 << 20

// seenLimit bounds how many manifests a client remembers.
const seenLimit = 256

// manifest is one manifest or index with its true descriptor: media type,
// size, digest.
type manifest struct {
	descriptor v1.Descriptor
	raw        []byte
}

var acceptManifests = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.OCIImageIndex),
	string(types.DockerManifestSchema2), string(types.DockerManifestList),
}, ", ")

// Manifest fetches a manifest or index by digest. The bytes have that digest.
func (c *Client) Manifest(ctx context.Context, d name.Digest) ([]byte, v1.Descriptor, error) {
	s, err := c.open(ctx, d.Context(), false)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	m, err := s.byDigest(ctx, d.DigestStr())
	return m.raw, m.descriptor, err
}

// Resolve gives the descriptor of what a tag stands for now, or of a digest.
// The digest is computed from the content, not taken from the registry's word.
func (c *Client) Resolve(ctx context.Context, ref name.Reference) (v1.Descriptor, error) {
	s, err := c.open(ctx, ref.Context(), false)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if d, ok := ref.(name.Digest); ok {
		m, err := s.byDigest(ctx, d.DigestStr())
		return m.descriptor, err
	}
	m, err := s.fetch(ctx, ref.Identifier())
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("resolving %s: %w", ref, err)
	}
	return m.descriptor, nil
}

// Platforms lists the images of an index, in its order, or the one image that
// the digest stands for. Entries of an index that are no images of a platform,
// such as BuildKit's own attestations, are left out.
func (c *Client) Platforms(ctx context.Context, d name.Digest) ([]image.Platform, error) {
	s, err := c.open(ctx, d.Context(), false)
	if err != nil {
		return nil, err
	}
	m, err := s.byDigest(ctx, d.DigestStr())
	if err != nil {
		return nil, err
	}
	if !m.descriptor.MediaType.IsIndex() {
		return s.onePlatform(ctx, m)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(m.raw))
	if err != nil {
		return nil, fmt.Errorf("reading index %s: %w", d, err)
	}
	var list []image.Platform
	for _, child := range index.Manifests {
		if child.Platform == nil || child.Platform.OS == "unknown" || !child.MediaType.IsImage() {
			continue
		}
		list = append(list, image.Platform{Name: platformName(*child.Platform), Digest: child.Digest})
	}
	return list, nil
}

// onePlatform reads the platform of a single image from its configuration.
func (s *session) onePlatform(ctx context.Context, m manifest) ([]image.Platform, error) {
	parsed, err := v1.ParseManifest(bytes.NewReader(m.raw))
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", m.descriptor.Digest, err)
	}
	raw, err := s.blob(ctx, parsed.Config.Digest, manifestLimit)
	if err != nil {
		return nil, fmt.Errorf("fetching the configuration of %s: %w", m.descriptor.Digest, err)
	}
	var config v1.Platform
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("reading the configuration of %s: %w", m.descriptor.Digest, err)
	}
	return []image.Platform{{Name: platformName(config), Digest: m.descriptor.Digest}}, nil
}

func platformName(p v1.Platform) string {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	return text
}

// byDigest gives a manifest by its digest, remembered or fetched. What a
// digest stands for never changes, so memory is as good as the registry.
func (s *session) byDigest(ctx context.Context, digest string) (manifest, error) {
	want, err := v1.NewHash(digest)
	if err != nil || want.Algorithm != "sha256" {
		return manifest{}, fmt.Errorf("fetching manifest %s: only sha256 digests are supported", digest)
	}
	if m, ok := s.remembered(want); ok {
		return m, nil
	}
	m, err := s.fetch(ctx, digest)
	if err != nil {
		return manifest{}, fmt.Errorf("fetching manifest %s: %w", digest, err)
	}
	s.remember(m)
	return m, nil
}

// fetch gets a manifest by tag or digest and checks it against the digest
// asked for and the one that the registry claims.
func (s *session) fetch(ctx context.Context, reference string) (manifest, error) {
	m, _, err := s.lookup(ctx, reference)
	if err == nil && m.raw == nil {
		err = explain(&StatusError{Method: http.MethodGet, URL: s.at("manifests/%s", reference), Status: http.StatusNotFound, Code: "MANIFEST_UNKNOWN"}, s.repo)
	}
	return m, err
}

// lookup is fetch where absence is no error: then the manifest has no bytes.
// It also gives the answer's ETag.
func (s *session) lookup(ctx context.Context, reference string) (manifest, string, error) {
	address := s.at("manifests/%s", reference)
	a, err := s.do(ctx, call{
		method: http.MethodGet, url: address, limit: manifestLimit,
		header: map[string]string{"Accept": acceptManifests},
		want:   []int{http.StatusOK, http.StatusNotFound},
	})
	if err != nil || a.status == http.StatusNotFound {
		return manifest{}, "", err
	}
	m, err := newManifest(a.body, types.MediaType(a.header.Get("Content-Type")))
	if err != nil {
		return manifest{}, "", fmt.Errorf("reading %s: %w", address, err)
	}
	if err := claimed(a, m.descriptor.Digest, "reading "+address); err != nil {
		return manifest{}, "", err
	}
	if want, err := v1.NewHash(reference); err == nil && want != m.descriptor.Digest {
		return manifest{}, "", &DigestError{What: "reading " + address, Want: want, Got: m.descriptor.Digest}
	}
	return m, a.header.Get("ETag"), nil
}

// newManifest takes the media type from the document, where it has one, and
// refuses one that the registry contradicts.
func newManifest(raw []byte, contentType types.MediaType) (manifest, error) {
	var self struct {
		MediaType types.MediaType `json:"mediaType"`
	}
	if err := json.Unmarshal(raw, &self); err != nil {
		return manifest{}, fmt.Errorf("manifest is not JSON: %w", err)
	}
	contentType, _, _ = cutParameters(contentType)
	if self.MediaType == "" {
		self.MediaType = contentType
	}
	if contentType != "" && contentType != self.MediaType {
		return manifest{}, fmt.Errorf("manifest says it is %q and the registry says %q", self.MediaType, tame(string(contentType)))
	}
	h, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return manifest{}, err
	}
	return manifest{raw: raw, descriptor: v1.Descriptor{MediaType: self.MediaType, Size: size, Digest: h}}, nil
}

func cutParameters(t types.MediaType) (types.MediaType, string, bool) {
	kind, parameters, found := strings.Cut(string(t), ";")
	return types.MediaType(strings.TrimSpace(kind)), parameters, found
}

// put writes a manifest under its digest or a tag and gives the answer. A
// registry that claims another digest is an error.
func (s *session) put(ctx context.Context, reference string, m manifest, header map[string]string) (answer, error) {
	address := s.at("manifests/%s", reference)
	headers := map[string]string{"Content-Type": string(m.descriptor.MediaType)}
	for key, value := range header {
		headers[key] = value
	}
	a, err := s.do(ctx, call{
		method: http.MethodPut, url: address, header: headers,
		body: content(m.raw), size: int64(len(m.raw)), limit: errorLimit,
		want: []int{http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent},
	})
	if err != nil {
		return a, err
	}
	return a, claimed(a, m.descriptor.Digest, "writing "+address)
}

// claimed checks the digest that an answer claims, if it claims one.
func claimed(a answer, want v1.Hash, what string) error {
	claim := a.header.Get("Docker-Content-Digest")
	if claim == "" || claim == want.String() {
		return nil
	}
	got, err := v1.NewHash(claim)
	if err != nil {
		return fmt.Errorf("%s: the registry answers with the digest %q", what, tame(claim))
	}
	return &DigestError{What: what, Want: want, Got: got}
}

func (s *session) remembered(h v1.Hash) (manifest, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.seen[s.repo.Name()+"@"+h.String()]
	return m, ok
}

func (s *session) remember(m manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) >= seenLimit {
		clear(s.seen)
	}
	s.seen[s.repo.Name()+"@"+m.descriptor.Digest.String()] = m
}
