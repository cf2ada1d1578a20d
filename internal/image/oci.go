package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// outcome is what a builder put into a store.
type outcome struct {
	subject   v1.Descriptor
	platforms []Platform
	materials []Material
	tools     map[string]string
}

// layout brings an image from an OCI layout into a store. What it takes is
// checked whole: documents, digests, sizes and the diff ID of every layer.
type layout struct {
	files files
	store *store
	// bare leaves manifests and configs out of the store: the layers are for
	// building upon.
	bare bool
	// blobs are what has to be taken, by digest, once each.
	blobs map[v1.Hash]*wanted
}

// wanted is one blob to be taken.
type wanted struct {
	desc        v1.Descriptor
	compression compression
	// diffIDs are what configs say of the layer; none for an opaque blob.
	diffIDs []v1.Hash
}

// readLayout takes the image with the stated digest; without one, the layout
// must hold exactly one image.
func readLayout(ctx context.Context, s *store, f files, stated string) (outcome, error) {
	l := &layout{files: f, store: s, blobs: make(map[v1.Hash]*wanted)}
	if err := l.checkVersion(ctx); err != nil {
		return outcome{}, err
	}
	subject, err := l.choose(ctx, stated)
	if err != nil {
		return outcome{}, err
	}
	var out outcome
	out.subject = subject
	if subject.MediaType.IsIndex() {
		out.platforms, err = l.index(ctx, subject)
	} else {
		var p Platform
		p, err = l.image(ctx, subject)
		out.platforms = []Platform{p}
	}
	if err != nil {
		return outcome{}, err
	}
	return out, l.take(ctx)
}

func (l *layout) checkVersion(ctx context.Context) error {
	raw, err := l.document(ctx, "oci-layout")
	if err != nil {
		return hint.Add(err, "name a folder or tar that holds an OCI image layout")
	}
	var marker struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := parseJSON(raw, &marker); err != nil {
		return fmt.Errorf("parsing oci-layout: %w", err)
	}
	if marker.Version != "1.0.0" {
		return fmt.Errorf("the layout has the version %q, not 1.0.0", marker.Version)
	}
	return nil
}

// document reads a JSON file of the layout.
func (l *layout) document(ctx context.Context, name string) ([]byte, error) {
	b, err := l.files.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading layout: %w", err)
	}
	defer b.Close()
	raw, err := readDocument(b)
	if err != nil {
		return nil, fmt.Errorf("reading layout: %s: %w", name, err)
	}
	return raw, nil
}

// choose finds the subject in index.json. A stated digest may also be that of
// one image within an index which index.json names.
func (l *layout) choose(ctx context.Context, stated string) (v1.Descriptor, error) {
	raw, err := l.document(ctx, "index.json")
	if err != nil {
		return v1.Descriptor{}, err
	}
	top, err := parseIndex(raw)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("reading index.json: %w", err)
	}
	var there []v1.Descriptor
	for _, d := range top.Manifests {
		twice := slices.ContainsFunc(there, func(o v1.Descriptor) bool { return o.Digest == d.Digest })
		if !twice && !isAttestation(d) {
			there = append(there, d)
		}
	}
	if stated == "" {
		if len(there) == 1 {
			return there[0], nil
		}
		return v1.Descriptor{}, hint.Add(fmt.Errorf("the layout holds %d images%s", len(there), list(there)),
			"say which one: set digest under build.layout")
	}
	for _, d := range there {
		if d.Digest.String() == stated {
			return d, nil
		}
	}
	for _, d := range there {
		if !d.MediaType.IsIndex() {
			continue
		}
		if inner, err := l.readIndex(ctx, d); err == nil {
			for _, child := range inner.Manifests {
				if child.Digest.String() == stated {
					return child, nil
				}
			}
		}
	}
	return v1.Descriptor{}, hint.Add(fmt.Errorf("the layout does not hold %s%s", stated, list(there)),
		"the image is not the one that was stated: build it again, or state the digest that was meant")
}

func list(there []v1.Descriptor) string {
	var b strings.Builder
	for i, d := range there {
		b.WriteString([]string{": ", ", "}[min(i, 1)])
		b.WriteString(d.Digest.String())
		if d.Platform != nil {
			fmt.Fprintf(&b, " (%s)", platformName(d.Platform.OS, d.Platform.Architecture, d.Platform.Variant))
		}
	}
	return b.String()
}

// manifest reads the document d describes and keeps it.
func (l *layout) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	raw, err := l.document(ctx, blobName(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Add(fmt.Errorf("blob %s is missing from the layout", d.Digest),
			"export the image whole; if only one platform is there, state that platform's digest")
	}
	if err != nil {
		return nil, err
	}
	if got := digestOf(raw); got != d.Digest {
		return nil, fmt.Errorf("blob %s is not what its name says: its digest is %s", d.Digest, got)
	}
	if int64(len(raw)) != d.Size {
		return nil, fmt.Errorf("blob %s has %d bytes, its descriptor says %d", d.Digest, len(raw), d.Size)
	}
	if l.bare {
		return raw, nil
	}
	_, err = l.store.put(d.MediaType, raw)
	return raw, err
}

func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

func (l *layout) readIndex(ctx context.Context, d v1.Descriptor) (*v1.IndexManifest, error) {
	raw, err := l.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	index, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("reading index %s: %w", d.Digest, err)
	}
	if index.MediaType != d.MediaType {
		return nil, fmt.Errorf("index %s calls itself %s, its descriptor %s", d.Digest, index.MediaType, d.MediaType)
	}
	return index, nil
}

// index takes all that an index names, and lists the images in it.
func (l *layout) index(ctx context.Context, d v1.Descriptor) ([]Platform, error) {
	index, err := l.readIndex(ctx, d)
	if err != nil {
		return nil, err
	}
	var platforms []Platform
	for _, child := range index.Manifests {
		switch {
		case !child.MediaType.IsImage():
			return nil, fmt.Errorf("index %s holds %s of the type %q, which is no image", d.Digest, child.Digest, child.MediaType)
		case isAttestation(child):
			if err := l.attestation(ctx, child); err != nil {
				return nil, err
			}
		default:
			p, err := l.image(ctx, child)
			if err != nil {
				return nil, err
			}
			platforms = append(platforms, p)
		}
	}
	if len(platforms) == 0 {
		return nil, fmt.Errorf("index %s holds no image", d.Digest)
	}
	return platforms, nil
}

func (l *layout) readManifest(ctx context.Context, d v1.Descriptor) (*v1.Manifest, error) {
	raw, err := l.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", d.Digest, err)
	}
	if m.MediaType != d.MediaType {
		return nil, fmt.Errorf("manifest %s calls itself %s, its descriptor %s", d.Digest, m.MediaType, d.MediaType)
	}
	return m, nil
}

// attestation keeps a manifest that is not judged, with its blobs.
func (l *layout) attestation(ctx context.Context, d v1.Descriptor) error {
	m, err := l.readManifest(ctx, d)
	if err != nil {
		return err
	}
	for _, b := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if err := l.want(b, opaque, v1.Hash{}); err != nil {
			return err
		}
	}
	return nil
}

// image takes one image and gives its platform.
func (l *layout) image(ctx context.Context, d v1.Descriptor) (Platform, error) {
	m, config, err := l.readImage(ctx, d)
	if err != nil {
		return Platform{}, err
	}
	if err := l.wantLayers(d, m, config); err != nil {
		return Platform{}, err
	}
	variant := config.Variant
	if d.Platform != nil && d.Platform.Variant != "" {
		variant = d.Platform.Variant
	}
	return Platform{Name: platformName(config.OS, config.Architecture, variant), Digest: d.Digest}, nil
}

// wantLayers notes the layers of the image that d describes.
func (l *layout) wantLayers(d v1.Descriptor, m *v1.Manifest, config *v1.ConfigFile) error {
	for i, layer := range m.Layers {
		c, err := layerCompression(layer.MediaType)
		if err != nil {
			return fmt.Errorf("image %s: %w", d.Digest, err)
		}
		if err := l.want(layer, c, config.RootFS.DiffIDs[i]); err != nil {
			return err
		}
	}
	return nil
}

// readImage reads an image's manifest and config and holds them together.
func (l *layout) readImage(ctx context.Context, d v1.Descriptor) (*v1.Manifest, *v1.ConfigFile, error) {
	m, err := l.readManifest(ctx, d)
	if err != nil {
		return nil, nil, err
	}
	if !isConfig(m.Config.MediaType) {
		return nil, nil, hint.Add(fmt.Errorf("manifest %s is an artifact of the type %q, not an image", d.Digest, m.Config.MediaType),
			"name a layout that holds a container image")
	}
	raw, err := l.manifest(ctx, m.Config)
	if err != nil {
		return nil, nil, err
	}
	config, err := parseConfig(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("reading config %s: %w", m.Config.Digest, err)
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return nil, nil, fmt.Errorf("image %s has %d layers, its config lists %d",
			d.Digest, len(m.Layers), len(config.RootFS.DiffIDs))
	}
	if p := d.Platform; p != nil && (p.OS != config.OS || p.Architecture != config.Architecture) {
		return nil, nil, fmt.Errorf("image %s is listed as %s/%s, its config says %s/%s",
			d.Digest, p.OS, p.Architecture, config.OS, config.Architecture)
	}
	return m, config, nil
}

// want notes a blob to be taken. One blob may be wanted by many manifests, as
// long as they agree about it.
func (l *layout) want(d v1.Descriptor, c compression, diffID v1.Hash) error {
	w, ok := l.blobs[d.Digest]
	if !ok {
		w = &wanted{desc: d, compression: c}
		l.blobs[d.Digest] = w
	}
	if w.desc.Size != d.Size {
		return fmt.Errorf("blob %s is described with two sizes, %d and %d", d.Digest, w.desc.Size, d.Size)
	}
	switch {
	case c == opaque:
		return nil
	case w.compression == opaque:
		w.compression = c
	case w.compression != c:
		return fmt.Errorf("layer %s is described with two media types", d.Digest)
	}
	w.diffIDs = append(w.diffIDs, diffID)
	return nil
}

// take checks and keeps all wanted blobs, the largest first, on all cores.
func (l *layout) take(ctx context.Context) error {
	all := make([]*wanted, 0, len(l.blobs))
	for _, w := range l.blobs {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b *wanted) int {
		return cmp.Or(cmp.Compare(b.desc.Size, a.desc.Size), cmp.Compare(a.desc.Digest.Hex, b.desc.Digest.Hex))
	})
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, w := range all {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return l.takeOne(ctx, w)
		})
	}
	return g.Wait()
}

func (l *layout) takeOne(ctx context.Context, w *wanted) error {
	b, err := l.files.open(ctx, blobName(w.desc.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return hint.Add(fmt.Errorf("blob %s is missing from the layout", w.desc.Digest),
			"export the image whole; if only one platform is there, state that platform's digest")
	}
	if err != nil {
		return fmt.Errorf("reading layout: %w", err)
	}
	defer b.Close()
	got, err := l.store.take(ctx, b, w.desc, w.compression)
	if err != nil {
		return err
	}
	for _, want := range w.diffIDs {
		if got != want {
			return fmt.Errorf("layer %s has the diff ID %s, its config says %s", w.desc.Digest, got, want)
		}
	}
	return nil
}
