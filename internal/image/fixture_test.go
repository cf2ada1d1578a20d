package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// tree is a set of files by slash-separated name: an OCI layout or docker
// archive in the making.
type tree map[string][]byte

// links are symbolic links a tar of a tree may hold, by name.
type links map[string]string

// add puts b among the blobs.
func (t tree) add(mediaType types.MediaType, b []byte) v1.Descriptor {
	h := digestOf(b)
	t[blobName(h)] = b
	return v1.Descriptor{MediaType: mediaType, Digest: h, Size: int64(len(b))}
}

func (t tree) addJSON(mediaType types.MediaType, v any) v1.Descriptor {
	return t.add(mediaType, mustJSON(v))
}

// finish writes the two files that make blobs a layout.
func (t tree) finish(subjects ...v1.Descriptor) tree {
	t["oci-layout"] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
	t["index.json"] = mustJSON(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: subjects})
	return t
}

// image adds an image whose layers are compressed as their media types say.
func (t tree) image(p v1.Platform, kind types.MediaType, layers ...[]byte) v1.Descriptor {
	config := configOf(p, layers...)
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: t.add(types.OCIConfigJSON, config)}
	for _, l := range layers {
		m.Layers = append(m.Layers, t.add(kind, compressed(kind, l)))
	}
	d := t.addJSON(types.OCIManifestSchema1, m)
	d.Platform = &p
	return d
}

func configOf(p v1.Platform, layers ...[]byte) []byte {
	c := v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digestOf(l))
	}
	return mustJSON(c)
}

func compressed(kind types.MediaType, b []byte) []byte {
	switch kind {
	case types.OCILayer, types.DockerLayer:
		return gzipOf(b)
	case types.OCILayerZStd:
		return zstdOf(b)
	}
	return b
}

func gzipOf(b []byte) []byte {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	must(z.Write(b))
	check(z.Close())
	return buf.Bytes()
}

func zstdOf(b []byte) []byte {
	z := must(zstd.NewWriter(nil))
	defer z.Close()
	return z.EncodeAll(b, nil)
}

// tarOf is a tar of the files, in the order of their names.
func tarOf(files tree, symlinks links) []byte {
	var buf bytes.Buffer
	t := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		check(t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}))
		must(t.Write(files[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(symlinks)) {
		check(t.WriteHeader(&tar.Header{Name: name, Linkname: symlinks[name], Typeflag: tar.TypeSymlink}))
	}
	check(t.Close())
	return buf.Bytes()
}

// layerOf is a layer with one file.
func layerOf(name, content string) []byte { return tarOf(tree{name: []byte(content)}, nil) }

// docker is a docker archive in the old form.
func docker(layers ...[]byte) tree {
	config := configOf(linux, layers...)
	t := tree{digestOf(config).Hex + ".json": config}
	e := saved{Config: digestOf(config).Hex + ".json", RepoTags: []string{"app:1"}}
	for i, l := range layers {
		name := fmt.Sprintf("%064x/layer.tar", i)
		t[name] = l
		e.Layers = append(e.Layers, name)
	}
	t["manifest.json"] = mustJSON([]saved{e})
	return t
}

var linux = v1.Platform{OS: "linux", Architecture: "amd64"}

// writeTo writes the files below dir.
func (t tree) writeTo(dir string) string {
	for name, b := range t {
		full := filepath.Join(dir, filepath.FromSlash(name))
		check(os.MkdirAll(filepath.Dir(full), 0o755))
		check(os.WriteFile(full, b, 0o644))
	}
	return dir
}

func writeFile(tb testing.TB, b []byte) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "image.tar")
	check(os.WriteFile(name, b, 0o644))
	return name
}

// takeLayout runs the layout builder into a fresh folder.
func takeLayout(tb testing.TB, path, digest string) (Built, error) {
	tb.Helper()
	return Build(tb.Context(), source.Source{}, policy.Build{Layout: &policy.LayoutBuild{Path: path, Digest: digest}},
		Options{Dir: filepath.Join(tb.TempDir(), "image")})
}

// contents gives every file below dir with its content.
func contents(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := make(map[string]string)
	check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = info.Mode().String() + " " + info.ModTime().String() + " " + string(b)
		return err
	}))
	return out
}

func readAll(tb testing.TB, open func() (io.ReadCloser, error)) []byte {
	tb.Helper()
	r, err := open()
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func mustJSON(v any) []byte { return must(json.Marshal(v)) }

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
