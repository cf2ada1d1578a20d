package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// buildLayout takes an image built elsewhere, without changing it.
func buildLayout(ctx context.Context, s *store, b policy.LayoutBuild, opts Options) (outcome, error) {
	if b.Path == "" {
		return outcome{}, hint.Add(errors.New("no layout is named"), "set path under build.layout")
	}
	name := b.Path
	if !filepath.IsAbs(name) {
		name = filepath.Join(opts.PolicyDir, filepath.FromSlash(name))
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return outcome{}, hint.Add(fmt.Errorf("reading image: %w", err),
			"build the image first, for example with docker buildx build --output type=oci,dest=%s", filepath.Base(name))
	}
	if err != nil {
		return outcome{}, fmt.Errorf("reading image: %w", err)
	}
	if info.IsDir() {
		return readLayout(ctx, s, folder(name), b.Digest)
	}
	if !info.Mode().IsRegular() {
		return outcome{}, fmt.Errorf("reading image: %s is neither a folder nor a file", name)
	}
	tar, err := openArchive(ctx, s, name)
	if err != nil {
		return outcome{}, err
	}
	defer tar.close()
	return readArchive(ctx, s, tar, b.Digest)
}

// readArchive takes an image from a tar of either kind. What docker 25 and
// later save is both at once: it counts as an OCI layout when its layers are
// compressed, so that the digest is the one a registry would know, and as a
// docker archive when they are not, or when the stated digest is its config's.
func readArchive(ctx context.Context, s *store, tar *archive, stated string) (outcome, error) {
	isLayout, isDocker := tar.has("oci-layout") && tar.has("index.json"), tar.has("manifest.json")
	docker := dockerArchive{tar: tar, store: s}
	switch {
	case isLayout && isDocker:
		if docker.wanted(ctx, stated) {
			return docker.read(ctx, stated)
		}
		return readLayout(ctx, s, tar, stated)
	case isLayout:
		return readLayout(ctx, s, tar, stated)
	case isDocker:
		return docker.read(ctx, stated)
	}
	return outcome{}, hint.Add(errors.New("the tar is neither an OCI layout nor a docker archive: it has no index.json and no manifest.json"),
		"make it with docker save, or with docker buildx build --output type=oci")
}

// wanted says that an archive of both kinds is to be read as a docker archive.
func (a dockerArchive) wanted(ctx context.Context, stated string) bool {
	entry, _, err := a.choose(ctx, stated)
	if stated != "" {
		return err == nil
	}
	if err != nil || len(entry.Layers) == 0 {
		return false
	}
	b, err := a.tar.open(ctx, path.Clean(entry.Layers[0]))
	if err != nil {
		return false
	}
	defer b.Close()
	head := make([]byte, sniffBytes)
	n, _ := b.Read(head)
	return sniff(head[:n]) == plain
}
