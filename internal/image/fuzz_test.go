package image

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// FuzzArchive takes arbitrary bytes for an image. What is accepted must hold
// up when it is taken again from the result; what is refused must leave
// nothing; and nothing is ever written outside the folder that was named.
func FuzzArchive(f *testing.F) {
	small := layerOf("a", "b")
	l := tree{}
	l.finish(l.image(linux, types.OCILayer, small))
	modern := tree{}
	d := modern.image(linux, types.OCIUncompressedLayer, small)
	modern.finish(d)
	for _, seed := range [][]byte{
		tarOf(l, nil), tarOf(modern, nil), tarOf(docker(small), nil), gzipOf(tarOf(docker(small), nil)),
		tarOf(docker(small, small), links{"x": "../../y"}), tarOf(tree{"../a": []byte("a")}, nil), {},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		room := t.TempDir()
		input := filepath.Join(room, "in", "image.tar")
		check(os.Mkdir(filepath.Dir(input), 0o755))
		check(os.WriteFile(input, b, 0o644))
		dir := filepath.Join(room, "out", "image")
		check(os.Mkdir(filepath.Dir(dir), 0o755))

		build := policy.Build{Layout: &policy.LayoutBuild{Path: input}}
		built, err := Build(t.Context(), source.Source{}, build, Options{Dir: dir, MaxBytes: 64 << 20})
		names(t, room, "in", "out")
		names(t, filepath.Dir(input), "image.tar")
		if err != nil {
			names(t, filepath.Dir(dir))
			return
		}
		names(t, filepath.Dir(dir), "image")
		names(t, dir, "flat", "layout")
		again, err := takeLayout(t, built.Dir, built.Digest.String())
		if err != nil {
			t.Fatalf("the result does not hold up: %v", err)
		}
		if again.Digest != built.Digest || len(again.Platforms) != len(built.Platforms) {
			t.Fatalf("taken again it is %+v, not %+v", again, built)
		}
		for _, p := range built.Platforms {
			if _, err := must(built.Image(p)).Layers(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzDocuments takes arbitrary bytes for the documents of a layout.
func FuzzDocuments(f *testing.F) {
	v := newValid()
	f.Add(v.tree["index.json"], v.tree[blobName(v.subject.Digest)], v.tree[blobName(v.manifest.Config.Digest)])
	f.Add([]byte(`{"schemaVersion":2,"manifests":null}`), []byte(`{}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, index, manifest, config []byte) {
		if i, err := parseIndex(index); err == nil {
			for _, d := range i.Manifests {
				if check := checkDescriptor(d); check != nil {
					t.Errorf("accepted %+v: %v", d, check)
				}
			}
		}
		if m, err := parseManifest(manifest); err == nil {
			if check := checkDescriptor(m.Config); check != nil {
				t.Errorf("accepted %+v: %v", m.Config, check)
			}
		}
		if c, err := parseConfig(config); err == nil && (c.OS == "" || c.Architecture == "") {
			t.Errorf("accepted %+v", c)
		}
	})
}

func names(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	for _, e := range must(os.ReadDir(dir)) {
		got = append(got, e.Name())
	}
	if len(got) != len(want) {
		t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s holds %q, want %q", dir, got, want)
		}
	}
}
