package image

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// baseLayout is an index of two platforms to build upon.
func baseLayout(kind types.MediaType) (tree, v1.Descriptor) {
	l := tree{}
	images := []v1.Descriptor{
		l.image(linux, kind, layerA),
		l.image(v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, kind, layerB),
	}
	index := l.addJSON(types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: images})
	return l.finish(index), index
}

func TestGoBuildOnBase(t *testing.T) {
	for _, kind := range []types.MediaType{types.OCILayer, types.DockerLayer, types.OCIUncompressedLayer} {
		l, index := baseLayout(kind)
		dir := l.writeTo(t.TempDir())
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		defer server.Close()
		repo := must(name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/base"))
		taken := must(takeLayout(t, dir, ""))
		check(remote.WriteIndex(repo.Digest(index.Digest.String()), must(taken.Index())))

		src := commitTree(t, program)
		settings := policy.GoBuild{Platforms: []string{"linux/amd64", "linux/arm64"}}
		var digests []v1.Hash
		for uri, ref := range map[string]string{"docker://" + repo.Name(): repo.Name(), "oci:" + dir: "oci:" + dir} {
			settings.Base = ref + "@" + index.Digest.String()
			built, err := runGo(t, src, settings)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]Material{{URI: uri, Digest: index.Digest}}, built.Materials); diff != "" {
				t.Errorf("Materials (-want +got):\n%s", diff)
			}
			digests = append(digests, built.Digest)
			for i, want := range [][]byte{layerA, layerB} {
				img := must(built.Image(built.Platforms[i]))
				if err := validate.Image(img, validate.Fast); err != nil {
					t.Error(err)
				}
				layers := must(img.Layers())
				if len(layers) != 2 || !bytes.Equal(readAll(t, layers[0].Uncompressed), want) {
					t.Errorf("platform %d has not the base below", i)
				}
				if m := must(layers[0].MediaType()); !strings.HasPrefix(string(m), "application/vnd.oci.") {
					t.Errorf("a layer of type %s in an OCI manifest", m)
				}
			}
			if blobs := must(os.ReadDir(filepath.Join(built.Dir, "blobs", "sha256"))); len(blobs) != 9 {
				t.Errorf("%d blobs: more than the image needs", len(blobs))
			}
		}
		if digests[0] != digests[1] {
			t.Errorf("the base from a registry and from a folder give %v", digests)
		}
	}
}

func TestGoBuildKeepsTheBaseConfig(t *testing.T) {
	l := tree{}
	var base v1.ConfigFile
	check(json.Unmarshal(configOf(linux, layerB), &base))
	base.Config = v1.Config{
		User: "app", Env: []string{"A=b"}, WorkingDir: "/srv", Cmd: []string{"sh"}, Entrypoint: []string{"/init"},
		Labels: map[string]string{"kept": "yes", "org.opencontainers.image.revision": "base"},
	}
	base.History = []v1.History{{CreatedBy: "base"}}
	d := l.addJSON(types.OCIManifestSchema1, v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: l.addJSON(types.OCIConfigJSON, base), Layers: []v1.Descriptor{l.add(types.OCILayer, gzipOf(layerB))},
	})
	dir := l.finish(d).writeTo(t.TempDir())
	src := commitTree(t, program)
	built, err := runGo(t, src, policy.GoBuild{Base: "oci:" + dir + "@" + d.Digest.String()})
	if err != nil {
		t.Fatal(err)
	}
	got := must(must(built.Image(built.Platforms[0])).ConfigFile())
	want := base.Config
	want.Entrypoint, want.Cmd = []string{"/app/app"}, nil
	want.Labels = map[string]string{
		"kept":                              "yes",
		"org.opencontainers.image.created":  "2024-05-06T05:08:09Z",
		"org.opencontainers.image.revision": src.Commit,
		"org.opencontainers.image.source":   "https://example.com/acme/checkout",
	}
	if diff := cmp.Diff(want, got.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if len(got.History) != 2 || got.History[0].CreatedBy != "base" {
		t.Errorf("history %+v", got.History)
	}
	if _, err := runGo(t, src, policy.GoBuild{Base: "oci:" + dir + "@" + d.Digest.String(), Platforms: []string{"linux/arm64"}}); err == nil ||
		!strings.Contains(err.Error(), "is for linux/amd64, not for linux/arm64") || hint.Of(err) == "" {
		t.Errorf("base of another platform: %v", err)
	}
}

// A registry may say what it likes of a blob it serves.
func TestGoBuildOnLyingBase(t *testing.T) {
	v := newValid()
	name := v.layer(0)
	whole := v.tree[name]
	server := httptest.NewServer(v.tree)
	defer server.Close()
	src := commitTree(t, program)
	ref := func() string {
		return strings.TrimPrefix(server.URL, "http://") + "/base@" + v.subject.Digest.String()
	}
	if _, err := runGo(t, src, policy.GoBuild{Base: ref()}); err != nil {
		t.Fatal("the honest one:", err)
	}
	v.tree[name] = altered(whole, 4)
	if _, err := runGo(t, src, policy.GoBuild{Base: ref()}); err == nil || !strings.Contains(err.Error(), v.manifest.Layers[0].Digest.Hex) {
		t.Errorf("another blob: error %v", err)
	}
	v.tree[name] = whole
	v.manifest.Layers[0].Size++
	v.remanifest()
	if _, err := runGo(t, src, policy.GoBuild{Base: ref()}); err == nil || !strings.Contains(err.Error(), "its descriptor says") {
		t.Errorf("another size: error %v", err)
	}
}

// ServeHTTP serves the layout as the repository base of a registry.
func (t tree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, digest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/base/"), "/")
	b, ok := t["blobs/"+strings.Replace(digest, ":", "/", 1)]
	switch {
	case r.URL.Path == "/v2/":
		return
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		return
	case kind == "manifests":
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
	}
	_, _ = w.Write(b)
}

func TestGoBuildBaseRefusals(t *testing.T) {
	_, index := baseLayout(types.OCILayer)
	status := http.StatusNotFound
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/base@" + index.Digest.String()
	src := commitTree(t, program)
	for code, want := range map[int]string{404: "does not have this digest", 401: "log in", 403: "log in"} {
		status = code
		_, err := runGo(t, src, policy.GoBuild{Base: ref})
		if err == nil || !strings.Contains(hint.Of(err), want) {
			t.Errorf("%d: error %v, hint %q", code, err, hint.Of(err))
		}
	}
	l, index := baseLayout(types.OCILayer)
	dir := l.writeTo(t.TempDir())
	_, err := runGo(t, src, policy.GoBuild{Base: "oci:" + dir + "@" + index.Digest.String(), Platforms: []string{"linux/s390x"}})
	if err == nil || !strings.Contains(err.Error(), "has no image for linux/s390x") {
		t.Errorf("platform the base lacks: %v", err)
	}
}
