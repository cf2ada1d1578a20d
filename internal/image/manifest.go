package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// documentLimit bounds each JSON document of an image, in bytes; registries
// take manifests of 4 MiB.
const documentLimit = 8 << 20

// readDocument reads a JSON document no larger than documentLimit.
func readDocument(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, documentLimit+1))
	if err == nil && len(b) > documentLimit {
		err = fmt.Errorf("it is larger than %d bytes", documentLimit)
	}
	return b, err
}

// parseManifest reads an image manifest, OCI or docker schema 2.
func parseManifest(raw []byte) (*v1.Manifest, error) {
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("parsing manifest: %w", err)
	}
	if m.MediaType == "" {
		m.MediaType = types.OCIManifestSchema1
	}
	if m.SchemaVersion != 2 || !m.MediaType.IsImage() {
		return nil, hint.Add(fmt.Errorf("manifest has schema version %d and media type %s", m.SchemaVersion, m.MediaType),
			"build the image as an OCI or docker schema 2 image")
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if err := checkDescriptor(d); err != nil {
			return nil, fmt.Errorf("parsing manifest: %w", err)
		}
	}
	return m, nil
}

// parseIndex reads an image index or docker manifest list.
func parseIndex(raw []byte) (*v1.IndexManifest, error) {
	i, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("parsing index: %w", err)
	}
	if i.MediaType == "" {
		i.MediaType = types.OCIImageIndex
	}
	if i.SchemaVersion != 2 || !i.MediaType.IsIndex() {
		return nil, fmt.Errorf("index has schema version %d and media type %s", i.SchemaVersion, i.MediaType)
	}
	for _, d := range i.Manifests {
		if err := checkDescriptor(d); err != nil {
			return nil, fmt.Errorf("parsing index: %w", err)
		}
	}
	return i, nil
}

func checkDescriptor(d v1.Descriptor) error {
	switch {
	case d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 64:
		return fmt.Errorf("descriptor has no sha256 digest: %q", d.Digest)
	case d.Size < 0:
		return fmt.Errorf("descriptor of %s has the size %d", d.Digest, d.Size)
	case len(d.URLs) > 0 || !d.MediaType.IsDistributable():
		return hint.Add(fmt.Errorf("layer %s (%s) is kept elsewhere, not in the image", d.Digest, d.MediaType),
			"build from a base image without foreign layers: what is not in the image can be neither scanned nor vouched for")
	}
	return nil
}

// layerCompression tells how a layer with the given media type is stored.
func layerCompression(m types.MediaType) (compression, error) {
	switch m {
	case types.OCILayer, types.DockerLayer:
		return gzipped, nil
	case types.OCILayerZStd:
		return zstandard, nil
	case types.OCIUncompressedLayer, types.DockerUncompressedLayer:
		return plain, nil
	}
	return "", fmt.Errorf("layer has the unknown media type %q", m)
}

// isConfig says that the media type is that of an image's config.
func isConfig(m types.MediaType) bool {
	return m == types.OCIConfigJSON || m == types.DockerConfigJSON
}

// parseConfig reads an image config as far as hallmark must know it.
func parseConfig(raw []byte) (*v1.ConfigFile, error) {
	c, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("parsing config: %w", err)
	}
	if c.OS == "" || c.Architecture == "" {
		return nil, errors.New("parsing config: it names no os or architecture")
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := checkDescriptor(v1.Descriptor{Digest: d, MediaType: types.OCILayer}); err != nil {
			return nil, fmt.Errorf("parsing config: diff ID: %w", err)
		}
	}
	return c, nil
}

// platformName gives os/arch[/variant].
func platformName(os, arch, variant string) string {
	if variant == "" {
		return os + "/" + arch
	}
	return os + "/" + arch + "/" + variant
}

// isAttestation says that an entry of an index is BuildKit's attestation
// manifest about another entry, not an image that could run.
func isAttestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// parseJSON decodes one JSON value that must be the whole of raw.
func parseJSON(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows the JSON value")
	}
	return nil
}
