package image

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The folders below Options.Dir.
const (
	layoutDir  = "layout"
	flatDir    = "flat"
	scratchDir = "scratch"
)

// store is an image being made: an OCI layout to be, beside it the layers'
// uncompressed forms by diff ID, and a place for what is thrown away. Files
// get their final name only once their content is known to be right.
type store struct {
	dir    string
	budget *budget
}

func newStore(dir string, limit int64) (*store, error) {
	s := &store{dir: dir, budget: &budget{limit: limit}}
	for _, sub := range []string{filepath.Join(layoutDir, "blobs", "sha256"), flatDir, scratchDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *store) blob(h v1.Hash) string { return blobPath(filepath.Join(s.dir, layoutDir), h) }

func (s *store) flat(diffID v1.Hash) string { return filepath.Join(s.dir, flatDir, diffID.Hex) }

// blobPath is where an OCI layout keeps a blob.
func blobPath(layout string, h v1.Hash) string {
	return filepath.Join(layout, "blobs", h.Algorithm, h.Hex)
}

// put keeps b as a blob and gives its descriptor.
func (s *store) put(mediaType types.MediaType, b []byte) (v1.Descriptor, error) {
	h, n, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		return v1.Descriptor{}, err
	}
	if err := s.budget.spend(n); err != nil {
		return v1.Descriptor{}, err
	}
	if err := os.WriteFile(s.blob(h), b, 0o644); err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: mediaType, Digest: h, Size: n}, nil
}

// putJSON keeps v in its JSON form, whose bytes depend on v alone.
func (s *store) putJSON(mediaType types.MediaType, v any) (v1.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return s.put(mediaType, b)
}

// putImage keeps a manifest over a config and layers.
func (s *store) putImage(config []byte, layers []v1.Descriptor, annotations map[string]string) (v1.Descriptor, error) {
	c, err := s.put(types.OCIConfigJSON, config)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return s.putJSON(types.OCIManifestSchema1, v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        c,
		Layers:        layers,
		Annotations:   annotations,
	})
}

// finish makes the layout whole: an index.json with the one subject.
func (s *store) finish(subject v1.Descriptor) error {
	index, err := json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests:     []v1.Descriptor{{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest}},
	})
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`),
		"index.json": index,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, layoutDir, name), content, 0o644); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(s.dir, scratchDir))
}
