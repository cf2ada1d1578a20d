//go:build docker

package image

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// A full disk, which only root can make: a file system of one megabyte.
func TestDiskFull(t *testing.T) {
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() { check(syscall.Unmount(small, 0)) })
	noise := make([]byte, 2<<20)
	random := rand.NewChaCha8([32]byte{})
	must(random.Read(noise))
	big := layerOf("noise", string(noise))
	l := tree{}
	for name, path := range map[string]string{
		"layout":  l.finish(l.image(linux, types.OCILayer, big)).writeTo(t.TempDir()),
		"archive": writeFile(t, tarOf(docker(big), nil)),
		"gzip":    writeFile(t, gzipOf(tarOf(docker(big), nil))),
	} {
		_, err := Build(t.Context(), source.Source{}, policy.Build{Layout: &policy.LayoutBuild{Path: path}},
			Options{Dir: filepath.Join(small, "image")})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(hint.Of(err), "free space") {
			t.Errorf("%s: error %v, hint %q", name, err, hint.Of(err))
		}
		names(t, small)
	}
}
