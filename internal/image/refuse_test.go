package image

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// valid is a good layout together with its parts, for a test to spoil.
type valid struct {
	tree
	subject  v1.Descriptor
	manifest v1.Manifest
	config   v1.ConfigFile
}

func newValid() *valid {
	v := &valid{tree: tree{}}
	v.subject = v.image(linux, types.OCILayer, layerA, layerB)
	check(parseJSON(v.tree[blobName(v.subject.Digest)], &v.manifest))
	check(parseJSON(v.tree[blobName(v.manifest.Config.Digest)], &v.config))
	v.finish(v.subject)
	return v
}

// reseal writes config, manifest and index.json anew after a change to one.
func (v *valid) reseal() {
	v.manifest.Config = v.addJSON(v.manifest.Config.MediaType, v.config)
	v.remanifest()
}

func (v *valid) remanifest() {
	platform := v.subject.Platform
	v.subject = v.addJSON(types.OCIManifestSchema1, v.manifest)
	v.subject.Platform = platform
	v.finish(v.subject)
}

func (v *valid) layer(i int) string { return blobName(v.manifest.Layers[i].Digest) }

func TestLayoutRefuses(t *testing.T) {
	other := strings.Repeat("0", 64)
	cases := map[string]struct {
		spoil  func(*valid)
		stated string
		err    string
		hint   string
	}{
		"no oci-layout": {func(v *valid) { delete(v.tree, "oci-layout") }, "", "no such file", "holds an OCI image layout"},
		"other version": {func(v *valid) { v.tree["oci-layout"] = []byte(`{"imageLayoutVersion":"2"}`) }, "", `version "2"`, ""},
		"no index.json": {func(v *valid) { delete(v.tree, "index.json") }, "", "index.json: no such file", ""},
		"index no JSON": {func(v *valid) { v.tree["index.json"] = []byte("{") }, "", "parsing index", ""},
		"index empty":   {func(v *valid) { v.finish() }, "", "holds 0 images", "digest under build.layout"},
		"index too big": {func(v *valid) { v.tree["index.json"] = make([]byte, documentLimit+1) }, "", "larger than", ""},
		"two images":    {func(v *valid) { v.finish(v.subject, v.image(linux, types.OCILayer, layerB)) }, "", "holds 2 images: sha256:", "digest under build.layout"},
		"other digest":  {nil, "sha256:" + other, "does not hold sha256:000", "not the one that was stated"},
		"manifest gone": {func(v *valid) { delete(v.tree, blobName(v.subject.Digest)) }, "", "is missing from the layout", "export the image whole"},
		"layer gone":    {func(v *valid) { delete(v.tree, v.layer(0)) }, "", "is missing from the layout", "export the image whole"},
		"config gone":   {func(v *valid) { delete(v.tree, blobName(v.manifest.Config.Digest)) }, "", "is missing from the layout", "export the image whole"},
		"layer cut off": {func(v *valid) { v.tree[v.layer(0)] = v.tree[v.layer(0)][:100] }, "", "has 100 bytes, its descriptor says", ""},
		"layer altered": {func(v *valid) { v.tree[v.layer(0)] = altered(v.tree[v.layer(0)], 4) }, "", "is not what its name says", ""},
		"layer garbled": {func(v *valid) { v.tree[v.layer(0)] = altered(v.tree[v.layer(0)], 60) }, "", "is not what its name says", ""},
		"manifest altered": {func(v *valid) {
			name := blobName(v.subject.Digest)
			v.tree[name] = bytes.Replace(v.tree[name], []byte("amd64"), []byte("arm64"), 1)
			v.tree[name] = append(v.tree[name], ' ')
		}, "", "is not what its name says", ""},
		"config altered": {func(v *valid) {
			name := blobName(v.manifest.Config.Digest)
			v.tree[name] = bytes.Replace(v.tree[name], []byte("amd64"), []byte("arm64"), 1)
		}, "", "is not what its name says", ""},
		"manifest size": {func(v *valid) { v.subject.Size++; v.finish(v.subject) }, "", "its descriptor says", ""},
		"diff ID":       {func(v *valid) { v.config.RootFS.DiffIDs[1].Hex = other; v.reseal() }, "", "its config says sha256:000", ""},
		"diff IDs swapped": {func(v *valid) {
			d := v.config.RootFS.DiffIDs
			d[0], d[1] = d[1], d[0]
			v.reseal()
		}, "", "has the diff ID", ""},
		"too few diff IDs": {func(v *valid) { v.config.RootFS.DiffIDs = v.config.RootFS.DiffIDs[:1]; v.reseal() }, "", "has 2 layers, its config lists 1", ""},
		"no os":            {func(v *valid) { v.config.OS = ""; v.reseal() }, "", "names no os", ""},
		"other platform":   {func(v *valid) { v.config.Architecture = "arm64"; v.reseal() }, "", "is listed as linux/amd64, its config says linux/arm64", ""},
		"foreign layer": {func(v *valid) {
			v.manifest.Layers[0].MediaType = types.DockerForeignLayer
			v.remanifest()
		}, "", "is kept elsewhere", "neither scanned nor vouched for"},
		"layer with URL": {func(v *valid) { v.manifest.Layers[0].URLs = []string{"https://x"}; v.remanifest() }, "", "is kept elsewhere", "neither scanned"},
		"negative size":  {func(v *valid) { v.manifest.Layers[0].Size = -1; v.remanifest() }, "", "has the size -1", ""},
		"absurd size":    {func(v *valid) { v.manifest.Layers[0].Size = 1 << 62; v.remanifest() }, "", "its descriptor says 4611686018427387904", ""},
		"unknown layer":  {func(v *valid) { v.manifest.Layers[0].MediaType = "application/x-tar"; v.remanifest() }, "", "unknown media type", ""},
		"gzip called zstd": {func(v *valid) {
			v.manifest.Layers[0].MediaType = types.OCILayerZStd
			v.remanifest()
		}, "", "inflating blob", ""},
		"gzip called plain": {func(v *valid) {
			v.manifest.Layers[0].MediaType = types.OCIUncompressedLayer
			v.remanifest()
		}, "", "has the diff ID", ""},
		"bytes behind gzip": {func(v *valid) {
			d := v.add(types.OCILayer, append(bytes.Clone(v.tree[v.layer(0)]), "hidden"...))
			v.manifest.Layers[0] = d
			v.remanifest()
		}, "", "inflating blob", ""},
		"schema 1":   {func(v *valid) { v.manifest.SchemaVersion = 1; v.remanifest() }, "", "schema version 1", "schema 2"},
		"other type": {func(v *valid) { v.subject.MediaType = types.DockerManifestSchema2; v.finish(v.subject) }, "", "calls itself", ""},
		"an artifact": {func(v *valid) {
			v.manifest.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
			v.remanifest()
		}, "", "not an image", "container image"},
		"sha512":         {func(v *valid) { swap(v, "index.json", "sha256:", "sha512:") }, "", "sha512", ""},
		"path as digest": {func(v *valid) { swap(v, "index.json", v.subject.Digest.Hex, "../../../../etc/passwd") }, "", "parsing index", ""},
		"index in index": {func(v *valid) {
			inner := v.addJSON(types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{v.subject}})
			v.finish(v.addJSON(types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{inner}}))
		}, "", "which is no image", ""},
		"index of nothing": {func(v *valid) {
			v.finish(v.addJSON(types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}))
		}, "", "holds no image", ""},
		"platform missing": {func(v *valid) {
			gone := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digestOf([]byte("gone")), Size: 4}
			v.finish(v.addJSON(types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{v.subject, gone}}))
		}, "", "is missing from the layout", "that platform's digest"},
		"two sizes": {func(v *valid) {
			second := v.manifest
			second.Layers = append([]v1.Descriptor(nil), v.manifest.Layers...)
			second.Layers[0].Size++
			d := v.addJSON(types.OCIManifestSchema1, second)
			v.finish(v.addJSON(types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{v.subject, d}}))
		}, "", "two sizes", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := newValid()
			if c.spoil != nil {
				c.spoil(v)
			}
			for form, path := range map[string]string{"folder": v.writeTo(t.TempDir()), "tar": writeFile(t, tarOf(v.tree, nil))} {
				if form == "tar" && (name == "no oci-layout" || name == "no index.json") {
					continue // then the tar is no layout at all
				}
				refused(t, form, path, c.stated, strings.ReplaceAll(c.err, "no such file", map[string]string{
					"folder": "no such file", "tar": "file does not exist",
				}[form]), c.hint)
			}
		})
	}
}

func TestFolderWithOddFiles(t *testing.T) {
	v := newValid()
	dir := v.writeTo(t.TempDir())
	check(os.Remove(filepath.Join(dir, v.layer(0))))
	check(syscall.Mkfifo(filepath.Join(dir, v.layer(0)), 0o600))
	refused(t, "pipe", dir, "", "is not a regular file", "")
	check(os.Remove(filepath.Join(dir, v.layer(0))))
	check(os.Symlink("/etc/passwd", filepath.Join(dir, v.layer(0))))
	refused(t, "link out", dir, "", "its descriptor says", "")
}

func TestArchiveRefuses(t *testing.T) {
	whole := tarOf(docker(layerA, layerB), nil)
	edit := func(change func(*saved, tree)) []byte {
		d := docker(layerA, layerB)
		var entries []saved
		check(parseJSON(d["manifest.json"], &entries))
		change(&entries[0], d)
		d["manifest.json"] = mustJSON(entries)
		return tarOf(d, nil)
	}
	cases := map[string]struct {
		tar    []byte
		stated string
		err    string
		hint   string
	}{
		"empty file":     {nil, "", "neither an OCI layout nor a docker archive", "docker save"},
		"no tar":         {[]byte(strings.Repeat("not a tar ", 200)), "", "reading tar", "make it again"},
		"cut in header":  {whole[:700], "", "reading tar", "make it again"},
		"cut in layer":   {whole[:len(whole)/2], "", "reading tar", "make it again"},
		"gzip cut":       {gzipOf(whole)[:500], "", "inflating", "cut off"},
		"gzip of junk":   {gzipOf([]byte(strings.Repeat("junk", 500))), "", "reading tar", "make it again"},
		"other tar":      {layerA, "", "neither an OCI layout nor", "docker save"},
		"manifest JSON":  {tarOf(tree{"manifest.json": []byte("[")}, nil), "", "parsing manifest.json", ""},
		"manifest twice": {tarOf(tree{"manifest.json": []byte("[] []")}, nil), "", "parsing manifest.json", ""},
		"no image":       {tarOf(tree{"manifest.json": []byte("[]")}, nil), "", "holds 0 images", ""},
		"two images": {edit(func(e *saved, d tree) {
			d["manifest.json"] = nil
			other := configOf(linux, layerB)
			d["other.json"] = other
		}), "sha256:" + strings.Repeat("1", 64), "does not hold sha256:111", "not the one that was stated"},
		"config gone":      {edit(func(e *saved, d tree) { delete(d, e.Config) }), "", "file does not exist", ""},
		"config no JSON":   {edit(func(e *saved, d tree) { d[e.Config] = []byte("{") }), "", "parsing config", ""},
		"config too large": {edit(func(e *saved, d tree) { d[e.Config] = make([]byte, documentLimit+1) }), "", "larger than", ""},
		"layer gone":       {edit(func(e *saved, d tree) { delete(d, e.Layers[0]) }), "", "file does not exist", "not whole"},
		"layer altered":    {edit(func(e *saved, d tree) { d[e.Layers[0]] = altered(d[e.Layers[0]], 700) }), "", "has the diff ID", ""},
		"layers swapped":   {edit(func(e *saved, d tree) { e.Layers[0], e.Layers[1] = e.Layers[1], e.Layers[0] }), "", "has the diff ID", ""},
		"layer too few":    {edit(func(e *saved, d tree) { e.Layers = e.Layers[:1] }), "", "lists 1 layers, the image's config 2", ""},
		"layer outside":    {edit(func(e *saved, d tree) { e.Layers[0] = "../../etc/passwd" }), "", "file does not exist", ""},
		"config outside":   {edit(func(e *saved, d tree) { e.Config = "/etc/passwd" }), "", "file does not exist", ""},
		"name outside":     {tarOf(tree{"../evil": []byte("x")}, nil), "", "outside the archive", ""},
		"name absolute":    {tarOf(tree{"/evil": []byte("x")}, nil), "", "outside the archive", ""},
		"link loop":        {tarOf(tree{}, links{"manifest.json": "manifest.json"}), "", "neither", ""},
		"link outside":     {tarOf(tree{}, links{"manifest.json": "../../../etc/passwd"}), "", "neither", ""},
		"device":           {special(tar.TypeChar), "", "which no image archive has", ""},
		"sparse":           {sparse(), "", "sparse", ""},
		"same name twice":  {append(bytes.Clone(whole[:len(whole)-1024]), whole...), "", "two members named", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			refused(t, name, writeFile(t, c.tar), c.stated, c.err, c.hint)
		})
	}
}

func TestArchiveWithTwoImages(t *testing.T) {
	d, other := docker(layerA, layerB), configOf(linux, layerB)
	var entries []saved
	check(parseJSON(d["manifest.json"], &entries))
	d["other.json"] = other
	entries = append(entries, saved{Config: "other.json", RepoTags: []string{"b:2", "c:3"}, Layers: entries[0].Layers[1:]})
	d["manifest.json"] = mustJSON(entries)
	path := writeFile(t, tarOf(d, nil))

	refused(t, "not stated", path, "", "holds 2 images: sha256:", "config digest")
	refused(t, "not stated", path, "", "(b:2, c:3)", "config digest")
	built, err := takeLayout(t, path, digestOf(other).String())
	if err != nil {
		t.Fatal(err)
	}
	checkBuilt(t, built, layerB)
}

// refused takes an image that must not be accepted, and looks that nothing is
// left of it.
func refused(t *testing.T, what, path, stated, want, wantHint string) {
	t.Helper()
	built, err := takeLayout(t, path, stated)
	if err == nil {
		t.Errorf("%s: accepted as %s", what, built.Digest)
		return
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %q lacks %q", what, err, want)
	}
	if got := hint.Of(err); !strings.Contains(got, wantHint) {
		t.Errorf("%s: hint %q lacks %q (error %v)", what, got, wantHint, err)
	}
}

func altered(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x55
	return b
}

func swap(v *valid, name, from, to string) {
	v.tree[name] = bytes.ReplaceAll(v.tree[name], []byte(from), []byte(to))
}

func special(kind byte) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	check(w.WriteHeader(&tar.Header{Name: "null", Typeflag: kind}))
	check(w.Close())
	return buf.Bytes()
}

// sparse is a tar whose one member is stored with its holes left out.
func sparse() []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	body := "1\n0\n512\n"
	check(w.WriteHeader(&tar.Header{
		Name: "GNUSparseFile.0/x", Typeflag: tar.TypeReg, Size: int64(512 + 512), Format: tar.FormatPAX,
		PAXRecords: map[string]string{"HALLMARK.test": strings.Repeat("x", 64)},
	}))
	must(w.Write(append([]byte(body), make([]byte, 1024-len(body))...)))
	check(w.Close())
	// The writer refuses to write these keys, so they take the place of one
	// of the same length.
	record := "HALLMARK.test=" + strings.Repeat("x", 64)
	fake := "GNU.sparse.major=1"
	return bytes.Replace(buf.Bytes(), []byte(record), append([]byte(fake), bytes.Repeat([]byte("0"), len(record)-len(fake))...), 1)
}
