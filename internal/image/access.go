package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image reads one image of b. Its layers' compressed form are the layout's own
// bytes; their uncompressed form is read from the copy the build kept.
func (b Built) Image(p Platform) (v1.Image, error) {
	manifest, err := os.ReadFile(blobPath(b.Dir, p.Digest))
	if err != nil {
		return nil, fmt.Errorf("reading image %s: %w", p.Digest, err)
	}
	parsed, err := parseManifest(manifest)
	if err != nil {
		return nil, fmt.Errorf("reading image %s: %w", p.Digest, err)
	}
	base, err := partial.CompressedToImage(&storedImage{built: b, raw: manifest, manifest: parsed})
	if err != nil {
		return nil, fmt.Errorf("reading image %s: %w", p.Digest, err)
	}
	return flatImage{Image: base, built: b}, nil
}

// Index reads the subject of b, which must be an index.
func (b Built) Index() (v1.ImageIndex, error) {
	raw, err := os.ReadFile(blobPath(b.Dir, b.Digest))
	if err != nil {
		return nil, fmt.Errorf("reading index %s: %w", b.Digest, err)
	}
	index, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("reading index %s: %w", b.Digest, err)
	}
	return storedIndex{built: b, raw: raw, index: index}, nil
}

// storedImage is what partial needs to know of an image in a layout.
type storedImage struct {
	built    Built
	raw      []byte
	manifest *v1.Manifest
}

func (i *storedImage) MediaType() (types.MediaType, error) { return i.manifest.MediaType, nil }
func (i *storedImage) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *storedImage) Manifest() (*v1.Manifest, error)     { return i.manifest.DeepCopy(), nil }

func (i *storedImage) RawConfigFile() ([]byte, error) {
	return os.ReadFile(blobPath(i.built.Dir, i.manifest.Config.Digest))
}

func (i *storedImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range append([]v1.Descriptor{i.manifest.Config}, i.manifest.Layers...) {
		if d.Digest == h {
			return storedBlob{built: i.built, desc: d}, nil
		}
	}
	return nil, fmt.Errorf("image has no layer %s", h)
}

// storedBlob is one blob as a compressed layer.
type storedBlob struct {
	built Built
	desc  v1.Descriptor
}

func (b storedBlob) Digest() (v1.Hash, error)            { return b.desc.Digest, nil }
func (b storedBlob) Size() (int64, error)                { return b.desc.Size, nil }
func (b storedBlob) MediaType() (types.MediaType, error) { return b.desc.MediaType, nil }
func (b storedBlob) Descriptor() (*v1.Descriptor, error) { return &b.desc, nil }
func (b storedBlob) Compressed() (io.ReadCloser, error) {
	return os.Open(blobPath(b.built.Dir, b.desc.Digest))
}

// flatImage is an image whose layers know their uncompressed copies.
type flatImage struct {
	v1.Image
	built Built
}

func (i flatImage) Layers() ([]v1.Layer, error) {
	config, err := i.ConfigFile()
	if err != nil {
		return nil, err
	}
	layers, err := i.Image.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != len(config.RootFS.DiffIDs) {
		// Only an attestation manifest, which is kept as it is, may be so.
		return layers, nil
	}
	for n := range layers {
		layers[n] = flatLayer{Layer: layers[n], built: i.built, diffID: config.RootFS.DiffIDs[n]}
	}
	return layers, nil
}

func (i flatImage) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	layer, err := i.Image.LayerByDiffID(h)
	if err != nil {
		return nil, err
	}
	return flatLayer{Layer: layer, built: i.built, diffID: h}, nil
}

func (i flatImage) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	layer, err := i.Image.LayerByDigest(h)
	if err != nil {
		return nil, err
	}
	diffID, err := partial.BlobToDiffID(i, h)
	if err != nil {
		// The config may be asked for as if it were a layer.
		return layer, nil
	}
	return flatLayer{Layer: layer, built: i.built, diffID: diffID}, nil
}

// flatLayer reads its uncompressed form from the build's copy.
type flatLayer struct {
	v1.Layer
	built  Built
	diffID v1.Hash
}

func (l flatLayer) DiffID() (v1.Hash, error) { return l.diffID, nil }

func (l flatLayer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(l.built.flat, l.diffID.Hex))
	if errors.Is(err, fs.ErrNotExist) {
		return l.Layer.Uncompressed()
	}
	return f, err
}

// storedIndex is an index in a layout.
type storedIndex struct {
	built Built
	raw   []byte
	index *v1.IndexManifest
}

func (i storedIndex) MediaType() (types.MediaType, error)       { return i.index.MediaType, nil }
func (i storedIndex) Digest() (v1.Hash, error)                  { return i.built.Digest, nil }
func (i storedIndex) Size() (int64, error)                      { return int64(len(i.raw)), nil }
func (i storedIndex) IndexManifest() (*v1.IndexManifest, error) { return i.index.DeepCopy(), nil }
func (i storedIndex) RawManifest() ([]byte, error)              { return i.raw, nil }

func (i storedIndex) Image(h v1.Hash) (v1.Image, error) { return i.built.Image(Platform{Digest: h}) }

func (i storedIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return nil, fmt.Errorf("index %s holds no index %s", i.built.Digest, h)
}
