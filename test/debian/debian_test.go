//go:build docker

package debian_test

import (
	"archive/tar"
	"io"
	"path"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/hallmark-sh/hallmark/test/debian"
)

func TestBase(t *testing.T) {
	base, err := debian.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		name string
		in   []debian.Package
	}{
		{"libc6", base.Debian}, {"python3-flask", base.Debian}, {"python3-cryptography", base.Debian},
		{"Flask", base.Python}, {"requests", base.Python}, {"cryptography", base.Python},
	} {
		if !contains(want.in, want.name) {
			t.Errorf("no %s among %v", want.name, want.in)
		}
	}
}

func contains(packages []debian.Package, name string) bool {
	for _, p := range packages {
		if p.Name == name {
			return true
		}
	}
	return false
}

// TestBuild builds the application upon the base and looks for both in the archive.
func TestBuild(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "storefront.tar")
	if err := debian.Build(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 4 { // the base, two COPY and one RUN
		t.Errorf("%d layers, want 4", len(layers))
	}
	files := map[string]bool{"opt/storefront/storefront-1.4.0.dist-info/METADATA": false, "var/lib/dpkg/status": false}
	flat := mutate.Extract(img)
	defer flat.Close()
	for tr := tar.NewReader(flat); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := files[path.Clean(h.Name)]; ok {
			files[path.Clean(h.Name)] = true
		}
	}
	for name, seen := range files {
		if !seen {
			t.Errorf("the image has no %s", name)
		}
	}
}
