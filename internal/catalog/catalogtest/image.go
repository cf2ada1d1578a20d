// Package catalogtest makes small images in memory for tests: a few files, as
// package managers leave them behind.
package catalogtest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Files maps a path without leading slash to its content.
type Files map[string]string

// Image makes a linux/amd64 image with one layer for each set of files.
func Image(t testing.TB, layers ...Files) v1.Image {
	t.Helper()
	var adds []v1.Layer
	for _, files := range layers {
		raw := Tar(t, files)
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(raw)), nil
		}, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			t.Fatal(err)
		}
		adds = append(adds, layer)
	}
	return WithLayers(t, adds...)
}

// WithLayers makes a linux/amd64 image of layers.
func WithLayers(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, layers...); err != nil {
		t.Fatal(err)
	}
	return img
}

// Tar writes files in the order of their names, as executables, each folder
// before what is in it.
func Tar(t testing.TB, files Files) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	made := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for i, r := range name {
			if dir := name[:i]; r == '/' && !made[dir] {
				made[dir] = true
				if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
					t.Fatal(err)
				}
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(files[name]))}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Merge joins sets of files into one.
func Merge(sets ...Files) Files {
	out := Files{}
	for _, s := range sets {
		maps.Copy(out, s)
	}
	return out
}

// Debian is the release file of Debian 12.
func Debian() Files {
	return Files{"etc/os-release": "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n" +
		"VERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n"}
}

// Dpkg is a package database of packages written "name version [source]".
func Dpkg(packages ...string) Files {
	var status strings.Builder
	for _, p := range packages {
		f := strings.Fields(p)
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: %s\n", f[0], f[1])
		if len(f) > 2 {
			fmt.Fprintf(&status, "Source: %s\n", f[2])
		}
		status.WriteString("\n")
	}
	return Files{"var/lib/dpkg/status": status.String()}
}

// Wheel is a Python package installed by pip under /usr/local.
func Wheel(name, version string) Files {
	dir := fmt.Sprintf("usr/local/lib/python3.11/site-packages/%s-%s.dist-info/", name, version)
	return Files{
		dir + "METADATA": fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", name, version),
		dir + "RECORD":   name + "/__init__.py,,\n",
	}
}

// Npm is a package installed by npm below /app.
func Npm(name, version string) Files {
	return Files{"app/node_modules/" + name + "/package.json": fmt.Sprintf(`{"name":%q,"version":%q}`, name, version)}
}
