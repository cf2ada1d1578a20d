package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/image"
)

// Progress is how far a push is.
type Progress struct {
	// Sent and Total are bytes of the blobs that the registry lacks; Total
	// grows while the registry is asked which those are.
	Sent, Total int64
	// Present and Blobs count the blobs: there already, and all.
	Present, Blobs int
}

// Push stores an image or index under its digest, with everything it consists
// of, and reads every manifest back. It sets no tag. What the registry has
// already is not sent again, so a push that broke off is completed by another.
// The callback may be nil; it is called by one goroutine at a time.
func (c *Client) Push(ctx context.Context, built image.Built, repo name.Repository, progress func(Progress)) (name.Digest, error) {
	target := repo.Digest(built.Digest.String())
	tree, err := readTree(built)
	if err != nil {
		return name.Digest{}, fmt.Errorf("reading image layout %s: %w", built.Dir, err)
	}
	s, err := c.open(ctx, repo, true)
	if err != nil {
		return name.Digest{}, err
	}
	absent, err := s.absent(ctx, tree)
	if err != nil {
		return name.Digest{}, fmt.Errorf("pushing %s: %w", target, err)
	}
	meter := newMeter(progress)
	if err := s.pushBlobs(ctx, blobsOf(absent), meter); err != nil {
		return name.Digest{}, fmt.Errorf("pushing %s: %w", target, err)
	}
	if err := s.pushManifests(ctx, absent); err != nil {
		return name.Digest{}, fmt.Errorf("pushing %s: %w", target, err)
	}
	return target, nil
}

// node is a manifest of the layout with the blobs it names. A tree lists
// nodes so that every index comes after what it names.
type node struct {
	manifest
	blobs []blob
}

// readTree reads the layout from its subject down.
func readTree(built image.Built) ([]node, error) {
	path, err := layout.FromPath(built.Dir)
	if err != nil {
		return nil, err
	}
	index, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}
	top, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	t := &tree{path: path, dir: built.Dir, seen: map[v1.Hash]bool{}}
	for _, d := range top.Manifests {
		if d.Digest == built.Digest {
			err := t.add(d, 0)
			return t.nodes, err
		}
	}
	return nil, fmt.Errorf("index.json does not list %s", built.Digest)
}

type tree struct {
	path  layout.Path
	dir   string
	seen  map[v1.Hash]bool
	nodes []node
}

func (t *tree) add(d v1.Descriptor, depth int) error {
	h := d.Digest
	if t.seen[h] {
		return nil
	}
	t.seen[h] = true
	if depth > 3 {
		return fmt.Errorf("index %s is nested too deep", h)
	}
	raw, err := t.path.Bytes(h)
	if err != nil {
		return err
	}
	m, err := newManifest(raw, d.MediaType)
	if err != nil {
		return fmt.Errorf("%s: %w", h, err)
	}
	if m.descriptor.Digest != h {
		return fmt.Errorf("file of manifest %s has digest %s", h, m.descriptor.Digest)
	}
	n := node{manifest: m}
	if m.descriptor.MediaType.IsIndex() {
		index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
		if err != nil {
			return fmt.Errorf("index %s: %w", h, err)
		}
		for _, child := range index.Manifests {
			if err := t.add(child, depth+1); err != nil {
				return err
			}
		}
	} else {
		parsed, err := v1.ParseManifest(bytes.NewReader(raw))
		if err != nil {
			return fmt.Errorf("manifest %s: %w", h, err)
		}
		for _, d := range append([]v1.Descriptor{parsed.Config}, parsed.Layers...) {
			if d.MediaType.IsDistributable() {
				n.blobs = append(n.blobs, t.blob(d))
			}
		}
	}
	t.nodes = append(t.nodes, n)
	return nil
}

func (t *tree) blob(d v1.Descriptor) blob {
	return blob{digest: d.Digest, size: d.Size, open: func() (io.ReadSeekCloser, error) {
		return os.Open(filepath.Join(t.dir, "blobs", d.Digest.Algorithm, d.Digest.Hex))
	}}
}

func blobsOf(nodes []node) []blob {
	seen := map[v1.Hash]bool{}
	var all []blob
	for _, n := range nodes {
		for _, b := range n.blobs {
			if !seen[b.digest] {
				seen[b.digest] = true
				all = append(all, b)
			}
		}
	}
	return all
}

// absent gives the nodes whose manifest the registry lacks. One that it has
// was checked by the registry when it came: its parts are there.
func (s *session) absent(ctx context.Context, nodes []node) ([]node, error) {
	there := make([]bool, len(nodes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Jobs)
	for i, n := range nodes {
		group.Go(func() error {
			m, _, err := s.lookup(ctx, n.descriptor.Digest.String())
			if err == nil && m.raw != nil {
				there[i] = true
				s.remember(m)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var list []node
	for i, n := range nodes {
		if !there[i] {
			list = append(list, n)
		}
	}
	return list, nil
}

func (s *session) pushBlobs(ctx context.Context, blobs []blob, meter *meter) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Jobs)
	meter.expect(len(blobs))
	for _, b := range blobs {
		group.Go(func() error {
			there, err := s.hasBlob(ctx, b.digest)
			if err != nil {
				return err
			}
			if there {
				meter.present()
				return nil
			}
			return s.upload(ctx, b, meter.begin(b.size))
		})
	}
	return group.Wait()
}

// pushManifests writes images side by side and then the indexes over them,
// and reads each back: the registry must give what it was given.
func (s *session) pushManifests(ctx context.Context, nodes []node) error {
	var images, indexes []node
	for _, n := range nodes {
		if n.descriptor.MediaType.IsIndex() {
			indexes = append(indexes, n)
		} else {
			images = append(images, n)
		}
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Jobs)
	for _, n := range images {
		group.Go(func() error { return s.pushManifest(inner, n.manifest) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, n := range indexes {
		if err := s.pushManifest(ctx, n.manifest); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) pushManifest(ctx context.Context, m manifest) error {
	digest := m.descriptor.Digest.String()
	if _, err := s.put(ctx, digest, m, nil); err != nil {
		return err
	}
	back, err := s.fetch(ctx, digest)
	if err != nil {
		return fmt.Errorf("reading back manifest %s: %w", digest, err)
	}
	if back.descriptor.MediaType != m.descriptor.MediaType {
		return fmt.Errorf("reading back manifest %s: it was stored as %s and came back as %q", digest, m.descriptor.MediaType, tame(string(back.descriptor.MediaType)))
	}
	s.remember(back)
	return nil
}

// meter sums up what the uploads tell it.
type meter struct {
	mu    sync.Mutex
	state Progress
	tell  func(Progress)
}

func newMeter(tell func(Progress)) *meter {
	if tell == nil {
		tell = func(Progress) {}
	}
	return &meter{tell: tell}
}

func (m *meter) change(f func(*Progress)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.state)
	m.tell(m.state)
}

func (m *meter) expect(blobs int) { m.change(func(p *Progress) { p.Blobs = blobs }) }
func (m *meter) present()         { m.change(func(p *Progress) { p.Present++ }) }

// begin adds an upload and gives the function that is told its bytes.
func (m *meter) begin(size int64) func(int64) {
	var last int64
	m.change(func(p *Progress) { p.Total += size })
	return func(n int64) {
		m.change(func(p *Progress) {
			p.Sent += n - last
			last = n
		})
	}
}
