package registry_test

import (
	"bytes"
	"fmt"
	"math/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// quick retries without waiting long.
var quick = registry.Retry{Attempts: 4, Base: time.Millisecond, Longest: 2 * time.Second}

// noCredentials keeps a developer's own docker configuration out of a test.
func noCredentials(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("GITHUB_TOKEN", "")
}

func newClient(t *testing.T, opts registry.Options) *registry.Client {
	t.Helper()
	if opts.Retry == (registry.Retry{}) {
		opts.Retry = quick
	}
	opts.Log = func(line string) { t.Log(line) }
	client, err := registry.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// login is a keychain with one user for every host.
func login(user, password string) authn.Keychain { return oneUser{user, password} }

type oneUser struct{ user, password string }

func (u oneUser) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: u.user, Password: u.password}, nil
}

// anImage is a layout with one image of the given number and size of layers;
// the same seed gives the same image.
func anImage(t *testing.T, seed, layers, size int64) image.Built {
	t.Helper()
	return inLayout(t, forPlatform(t, seed, layers, size, v1.Platform{OS: "linux", Architecture: "amd64"}))
}

func forPlatform(t *testing.T, seed, layers, size int64, p v1.Platform) v1.Image {
	t.Helper()
	img, err := random.Image(size, layers, random.WithSource(rand.NewSource(seed)))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return mutate.MediaType(img, types.OCIManifestSchema1)
}

func inLayout(t *testing.T, img v1.Image) image.Built {
	t.Helper()
	path := newLayout(t)
	if err := path.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return image.Built{Dir: string(path), Digest: h, Platforms: []image.Platform{{Name: "linux/amd64", Digest: h}}}
}

func newLayout(t *testing.T) layout.Path {
	t.Helper()
	path, err := layout.Write(t.TempDir(), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// anIndex is a layout with an index of two platforms.
func anIndex(t *testing.T, seed int64) image.Built {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	built := image.Built{}
	for i, platform := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64", Variant: "v8"}} {
		img := forPlatform(t, seed+int64(i), 2, 2000, platform)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &platform}})
		h, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		built.Platforms = append(built.Platforms, image.Platform{Name: platform.OS + "/" + platform.Architecture, Digest: h})
	}
	built.Platforms[1].Name += "/v8"
	path := newLayout(t)
	if err := path.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	h, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	built.Dir, built.Digest = string(path), h
	return built
}

// aBundle stands for a Sigstore bundle: the registry reads no more of one than
// its date.
func aBundle(n int) evidence.Signed {
	return evidence.Signed{
		PredicateType: fmt.Sprintf("https://example.test/predicate/%d", n),
		Bundle: fmt.Appendf(nil, `{"mediaType":%q,"verificationMaterial":{"tlogEntries":[{"integratedTime":"%d"}]},"dsseEnvelope":{"n":%d}}`,
			evidence.BundleMediaType, 1_700_000_000+n, n),
	}
}

func bundles(n int) []evidence.Signed {
	list := make([]evidence.Signed, n)
	for i := range list {
		list[i] = aBundle(i)
	}
	return list
}

// pushed is an image at the server.
func pushed(t *testing.T, client *registry.Client, repo name.Repository) name.Digest {
	t.Helper()
	d, err := client.Push(t.Context(), anImage(t, 1, 2, 1000), repo, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantEvidence checks that exactly these bundles are found by the subject, by
// a client that remembers nothing.
func wantEvidence(t *testing.T, d name.Digest, want []evidence.Signed) {
	t.Helper()
	found, err := newClient(t, registry.Options{}).Evidence(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	content := func(list []evidence.Signed) map[string]int {
		counts := map[string]int{}
		for _, s := range list {
			counts[s.PredicateType+" "+string(s.Bundle)]++
		}
		return counts
	}
	if diff := cmp.Diff(content(want), content(found)); diff != "" {
		t.Errorf("evidence of %s (-want +got):\n%s", d, diff)
	}
}

// raw fetches a manifest as any client would.
func raw(t *testing.T, d name.Digest) []byte {
	t.Helper()
	b, _, err := newClient(t, registry.Options{}).Manifest(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, s *registrytest.Server, repo name.Repository, reference string, mediaType types.MediaType, body []byte) {
	t.Helper()
	if err := registrytest.Put(t.Context(), "http://"+s.Host+"/v2/"+repo.RepositoryStr()+"/manifests/"+reference, string(mediaType), bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

// whole checks with another library that an image is complete and sound.
func whole(t *testing.T, d name.Digest) {
	t.Helper()
	img, err := remote.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Errorf("image %s: %v", d, err)
	}
}

// damage pushes an image after something was done to the file of its layer,
// and expects that to fail and to leave no manifest.
func damage(t *testing.T, server *registrytest.Server, do func(layer string)) {
	t.Helper()
	built := anImage(t, 10, 1, 1000)
	img, err := layout.Path(built.Dir).Image(built.Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	do(filepath.Join(built.Dir, "blobs", h.Algorithm, h.Hex))
	client := newClient(t, registry.Options{})
	repo := server.Repository(t, "damaged")
	if _, err := client.Push(t.Context(), built, repo, nil); err == nil {
		t.Error("a damaged layout was pushed")
	}
	if _, err := client.Resolve(t.Context(), repo.Digest(built.Digest.String())); !registry.IsNotFound(err) {
		t.Errorf("after pushing a damaged layout: %v, want no manifest", err)
	}
}
