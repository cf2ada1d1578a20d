package image

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

var (
	layerA = layerOf("etc/a", strings.Repeat("the first layer ", 40_000))
	layerB = layerOf("etc/b", "the second layer")
)

// checkBuilt holds a result against the image it must be, with another
// implementation of the formats, and by taking it a second time.
func checkBuilt(t *testing.T, built Built, layers ...[]byte) {
	t.Helper()
	if built.Builder != "layout" {
		t.Errorf("Builder = %q", built.Builder)
	}
	for _, p := range built.Platforms {
		img, err := built.Image(p)
		if err != nil {
			t.Fatal(err)
		}
		var how []validate.Option
		for _, d := range must(img.Manifest()).Layers {
			if c, _ := layerCompression(d.MediaType); c != gzipped {
				how = []validate.Option{validate.Fast} // it reads no other layers
			}
		}
		if err := validate.Image(img, how...); err != nil {
			t.Errorf("image %s: %v", p.Name, err)
		}
		got, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(layers) {
			t.Fatalf("%d layers, want %d", len(got), len(layers))
		}
		for i, l := range got {
			if !bytes.Equal(readAll(t, l.Uncompressed), layers[i]) {
				t.Errorf("layer %d has another content", i)
			}
			if _, isFile := must(l.Uncompressed()).(*os.File); !isFile {
				t.Errorf("layer %d is inflated again", i)
			}
		}
	}
	if built.IsIndex() {
		if err := validate.Index(must(built.Index())); err != nil {
			t.Errorf("index: %v", err)
		}
	}
	again, err := takeLayout(t, built.Dir, built.Digest.String())
	if err != nil {
		t.Fatalf("taking the result again: %v", err)
	}
	if again.Digest != built.Digest {
		t.Errorf("taken again it is %s", again.Digest)
	}
	index := must(parseIndex(must(os.ReadFile(filepath.Join(built.Dir, "index.json")))))
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != built.Digest {
		t.Errorf("index.json names %v", index.Manifests)
	}
}

func TestLayoutKinds(t *testing.T) {
	for _, kind := range []types.MediaType{
		types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer,
	} {
		l := tree{}
		subject := l.image(linux, kind, layerA, layerB, layerA)
		l.finish(subject)
		plainTar := tarOf(l, nil)
		paths := map[string]string{
			"folder":   l.writeTo(t.TempDir()),
			"tar":      writeFile(t, plainTar),
			"gzip tar": writeFile(t, gzipOf(plainTar)),
			"zstd tar": writeFile(t, zstdOf(plainTar)),
		}
		for form, path := range paths {
			t.Run(form+" "+string(kind), func(t *testing.T) {
				before := contents(t, filepath.Dir(path))
				built, err := takeLayout(t, path, subject.Digest.String())
				if err != nil {
					t.Fatal(err)
				}
				want := []Platform{{Name: "linux/amd64", Digest: subject.Digest}}
				if diff := cmp.Diff(want, built.Platforms); diff != "" || built.Digest != subject.Digest || built.IsIndex() {
					t.Errorf("got %s, platforms (-want +got):\n%s", built.Digest, diff)
				}
				checkBuilt(t, built, layerA, layerB, layerA)
				if diff := cmp.Diff(before, contents(t, filepath.Dir(path))); diff != "" {
					t.Errorf("the layout given was changed:\n%s", diff)
				}
			})
		}
	}
}

func TestDockerArchiveKinds(t *testing.T) {
	old := docker(layerA, layerB)
	oldLinked := docker(layerA, layerB, layerA)
	var entries []saved
	check(parseJSON(oldLinked["manifest.json"], &entries))
	first := entries[0]
	delete(oldLinked, first.Layers[2])
	up := links{first.Layers[2]: "../" + first.Layers[0]}

	modern := func(kind types.MediaType) tree {
		l := tree{}
		d := l.image(linux, kind, layerA, layerB)
		var m v1.Manifest
		check(parseJSON(l[blobName(d.Digest)], &m))
		e := saved{Config: blobName(m.Config.Digest)}
		for _, layer := range m.Layers {
			e.Layers = append(e.Layers, blobName(layer.Digest))
		}
		l["manifest.json"] = mustJSON([]saved{e})
		return l.finish(d)
	}
	two, three := [][]byte{layerA, layerB}, [][]byte{layerA, layerB, layerA}
	cases := map[string]struct {
		tar    []byte
		layers [][]byte
		config bool // the stated digest is that of the config
	}{
		"old":             {tarOf(old, nil), two, true},
		"old, gzip":       {gzipOf(tarOf(old, nil)), two, true},
		"old with links":  {tarOf(oldLinked, up), three, true},
		"old, gzip layer": {tarOf(archiveOf(layerA, gzipOf(layerA)), nil), [][]byte{layerA}, true},
		"old, zstd layer": {tarOf(archiveOf(layerB, zstdOf(layerB)), nil), [][]byte{layerB}, true},
		"new, plain":      {tarOf(modern(types.OCIUncompressedLayer), nil), two, true},
		"new, gzip":       {tarOf(modern(types.OCILayer), nil), two, false},
		"no layer":        {tarOf(docker(), nil), nil, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, c.tar)
			built, err := takeLayout(t, path, "")
			if err != nil {
				t.Fatal(err)
			}
			checkBuilt(t, built, c.layers...)
			config := must(must(built.Image(built.Platforms[0])).ConfigName())
			if want := digestOf(configOf(linux, c.layers...)); config != want {
				t.Errorf("config %s, want %s unchanged", config, want)
			}
			again, err := takeLayout(t, path, config.String())
			if err != nil {
				t.Fatalf("with the config digest stated: %v", err)
			}
			if c.config && again.Digest != built.Digest {
				t.Errorf("the same archive gave %s and %s", built.Digest, again.Digest)
			}
			for _, d := range must(must(built.Image(built.Platforms[0])).Manifest()).Layers {
				if !strings.Contains(string(d.MediaType), "tar+") {
					t.Errorf("layer of media type %s would be pushed uncompressed", d.MediaType)
				}
			}
		})
	}
}

// archiveOf is a docker archive with one layer that is stored as given.
func archiveOf(layer, stored []byte) tree {
	t := docker(layer)
	for name := range t {
		if strings.HasSuffix(name, "/layer.tar") {
			t[name] = stored
		}
	}
	return t
}

func TestIndexWithAttestation(t *testing.T) {
	l := tree{}
	arm := l.image(v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, types.OCILayer, layerB)
	amd := l.image(linux, types.OCILayer, layerB)
	statement := l.addJSON(types.OCIManifestSchema1, v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        l.add(types.OCIConfigJSON, []byte(`{}`)),
		Layers:        []v1.Descriptor{l.add("application/vnd.in-toto+json", []byte(`{"a":1}`))},
	})
	statement.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	statement.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	subject := l.addJSON(types.OCIImageIndex, v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{arm, amd, statement},
	})
	path := l.finish(subject).writeTo(t.TempDir())

	built, err := takeLayout(t, path, subject.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	want := []Platform{{"linux/arm64/v8", arm.Digest}, {"linux/amd64", amd.Digest}}
	if diff := cmp.Diff(want, built.Platforms); diff != "" || !built.IsIndex() {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
	for _, p := range built.Platforms {
		if err := validate.Image(must(built.Image(p))); err != nil {
			t.Error(err)
		}
	}
	index := must(built.Index())
	if got := must(index.Digest()); got != subject.Digest {
		t.Errorf("index %s, want %s", got, subject.Digest)
	}
	if _, err := must(index.Image(statement.Digest)).Layers(); err != nil {
		t.Errorf("the attestation cannot be read: %v", err)
	}
	kept := must(must(index.Image(statement.Digest)).Manifest()).Layers[0].Digest
	if _, err := os.Stat(blobPath(built.Dir, kept)); err != nil {
		t.Errorf("the attestation's statement was not kept: %v", err)
	}

	one, err := takeLayout(t, path, arm.Digest.String())
	if err != nil {
		t.Fatalf("one platform of the index: %v", err)
	}
	if one.Digest != arm.Digest || one.IsIndex() {
		t.Errorf("one platform of the index: %+v", one)
	}
}

// BuildKit lists an image twice when it has two tags.
func TestSameImageTwice(t *testing.T) {
	l := tree{}
	d := l.image(linux, types.OCILayer, layerB)
	built, err := takeLayout(t, l.finish(d, d).writeTo(t.TempDir()), "")
	if err != nil {
		t.Fatal(err)
	}
	checkBuilt(t, built, layerB)
}

// Bazel keeps blobs as symbolic links to where they were made.
func TestBlobsThatAreLinks(t *testing.T) {
	l := tree{}
	real := l.finish(l.image(linux, types.OCILayer, layerB)).writeTo(t.TempDir())
	dir := t.TempDir()
	check(os.CopyFS(dir, os.DirFS(real)))
	for _, e := range must(os.ReadDir(filepath.Join(dir, "blobs", "sha256"))) {
		name := filepath.Join("blobs", "sha256", e.Name())
		check(os.Remove(filepath.Join(dir, name)))
		check(os.Symlink(filepath.Join(real, name), filepath.Join(dir, name)))
	}
	built, err := takeLayout(t, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	checkBuilt(t, built, layerB)
	for _, e := range must(os.ReadDir(filepath.Join(built.Dir, "blobs", "sha256"))) {
		if !e.Type().IsRegular() {
			t.Errorf("blob %s of the result is a %v", e.Name(), e.Type())
		}
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	l := tree{}
	path := l.finish(l.image(linux, types.OCILayer, layerA)).writeTo(t.TempDir())
	for name, path := range map[string]string{"layout": path, "archive": writeFile(t, tarOf(docker(layerA), nil))} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			ctx, cancel := context.WithCancelCause(t.Context())
			stopped := errors.New("stopped by the test")
			cancel(stopped)
			_, err := Build(ctx, source.Source{}, policy.Build{Layout: &policy.LayoutBuild{Path: path}},
				Options{Dir: filepath.Join(parent, "image")})
			if !errors.Is(err, stopped) {
				t.Errorf("error %v", err)
			}
			if left := must(os.ReadDir(parent)); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A build that was killed leaves its .partial folder; the next one replaces it.
func TestLeftoverOfAKilledBuild(t *testing.T) {
	l := tree{}
	path := l.finish(l.image(linux, types.OCILayer, layerB)).writeTo(t.TempDir())
	dir := filepath.Join(t.TempDir(), "image")
	tree{"layout/blobs/sha256/half": []byte("h")}.writeTo(dir + ".partial")
	built, err := Build(t.Context(), source.Source{}, policy.Build{Layout: &policy.LayoutBuild{Path: path}}, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(must(os.ReadDir(filepath.Join(built.Dir, "blobs", "sha256")))); n != 3 {
		t.Errorf("%d blobs", n)
	}
	if got := must(os.ReadDir(filepath.Dir(dir))); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestMaxBytes(t *testing.T) {
	l := tree{}
	// A megabyte of zeros packs into a kilobyte.
	path := l.finish(l.image(linux, types.OCILayer, layerOf("zero", strings.Repeat("\x00", 1<<20)))).writeTo(t.TempDir())
	parent := t.TempDir()
	_, err := Build(t.Context(), source.Source{}, policy.Build{Layout: &policy.LayoutBuild{Path: path}},
		Options{Dir: filepath.Join(parent, "image"), MaxBytes: 100_000})
	if err == nil || !strings.Contains(err.Error(), "takes more than 100000 bytes") || hint.Of(err) == "" {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
	if left := must(os.ReadDir(parent)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBuilderChoice(t *testing.T) {
	for name, c := range map[string]struct {
		build policy.Build
		err   string
	}{
		"none":  {policy.Build{}, "no builder, and there is no Dockerfile"},
		"two":   {policy.Build{Layout: &policy.LayoutBuild{}, Go: &policy.GoBuild{}}, "more than one builder"},
		"empty": {policy.Build{Layout: &policy.LayoutBuild{}}, "no layout is named"},
		"gone":  {policy.Build{Layout: &policy.LayoutBuild{Path: "nowhere"}}, "no such file"},
	} {
		_, err := Build(t.Context(), source.Source{Dir: t.TempDir()}, c.build, Options{Dir: filepath.Join(t.TempDir(), "image")})
		if err == nil || !strings.Contains(err.Error(), c.err) || hint.Of(err) == "" {
			t.Errorf("%s: error %v, hint %q", name, err, hint.Of(err))
		}
	}
}

// The digest must not tell how many cores the machine has.
func TestPackOnAnyNumberOfCores(t *testing.T) {
	path := writeFile(t, tarOf(docker(layerOf("big", strings.Repeat("some text that packs well ", 500_000))), nil))
	var digests []v1.Hash
	for _, cores := range []int{1, 2, 7} {
		before := runtime.GOMAXPROCS(cores)
		built, err := takeLayout(t, path, "")
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, built.Digest)
	}
	if digests[0] != digests[1] || digests[1] != digests[2] {
		t.Errorf("digests %v", digests)
	}
}

func TestFullFolder(t *testing.T) {
	dir := t.TempDir()
	check(os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644))
	_, err := Build(t.Context(), source.Source{}, policy.Build{Layout: &policy.LayoutBuild{Path: dir}}, Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("error %v", err)
	}
	names(t, dir, "mine")
}

func TestSniff(t *testing.T) {
	for want, b := range map[compression][]byte{gzipped: gzipOf(layerB), zstandard: zstdOf(layerB), plain: layerB} {
		if got := sniff(b[:sniffBytes]); got != want {
			t.Errorf("sniff = %s, want %s", got, want)
		}
	}
	if got := sniff(nil); got != plain {
		t.Errorf("sniff(nil) = %s", got)
	}
	if !slices.Equal(gzipOf(nil)[:2], []byte{0x1f, 0x8b}) {
		t.Error("the test's own gzip is none")
	}
}
