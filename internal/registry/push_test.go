package registry_test

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

func TestPush(t *testing.T) {
	noCredentials(t)
	tests := []struct {
		name  string
		built image.Built
	}{
		{"image", anImage(t, 1, 3, 1000)},
		{"image with large layers", anImage(t, 2, 2, 3<<20)},
		{"index", anIndex(t, 3)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := registrytest.Start(t, registrytest.Options{})
			repo := server.Repository(t, "team/app")
			d, err := newClient(t, registry.Options{}).Push(t.Context(), test.built, repo, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.DigestStr(); got != test.built.Digest.String() {
				t.Errorf("pushed %s, want %s", got, test.built.Digest)
			}
			// Another client, with another library, must find it whole.
			got, err := remote.Get(d)
			if err != nil {
				t.Fatal(err)
			}
			if got.MediaType.IsIndex() {
				index, err := got.ImageIndex()
				if err != nil {
					t.Fatal(err)
				}
				err = validate.Index(index)
				if err != nil {
					t.Error(err)
				}
			} else {
				img, err := got.Image()
				if err != nil {
					t.Fatal(err)
				}
				if err := validate.Image(img); err != nil {
					t.Error(err)
				}
			}
			if tags, err := remote.List(repo); err != nil || len(tags) != 0 {
				t.Errorf("a push set tags %v (%v)", tags, err)
			}

			server.Forget()
			if _, err := newClient(t, registry.Options{}).Push(t.Context(), test.built, repo, nil); err != nil {
				t.Fatal(err)
			}
			if writes := server.Writes(); len(writes) != 0 {
				t.Errorf("second push wrote %v", writes)
			}
		})
	}
}

func TestPushTellsProgress(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	built := anImage(t, 4, 4, 50_000)
	var mu sync.Mutex
	var last registry.Progress
	_, err := newClient(t, registry.Options{}).Push(t.Context(), built, server.Repository(t, "app"), func(p registry.Progress) {
		if !mu.TryLock() {
			t.Error("called from two goroutines at once")
			return
		}
		defer mu.Unlock()
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if last.Sent != last.Total || last.Total < 200_000 || last.Blobs != 5 || last.Present != 0 {
		t.Errorf("last progress %+v, want everything of 5 blobs sent", last)
	}
}

func TestResolveAndPlatforms(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	for _, built := range []image.Built{anImage(t, 5, 1, 100), anIndex(t, 6)} {
		d, err := client.Push(t.Context(), built, repo, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Tag(t.Context(), d, "v1-"+built.Digest.Hex[:8]); err != nil {
			t.Fatal(err)
		}
		fresh := newClient(t, registry.Options{})
		desc, err := fresh.Resolve(t.Context(), repo.Tag("v1-"+built.Digest.Hex[:8]))
		if err != nil {
			t.Fatal(err)
		}
		b := raw(t, d)
		want := v1.Descriptor{Digest: built.Digest, Size: int64(len(b)), MediaType: desc.MediaType}
		if diff := cmp.Diff(want, desc); diff != "" {
			t.Errorf("descriptor (-want +got):\n%s", diff)
		}
		platforms, err := fresh.Platforms(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(built.Platforms, platforms); diff != "" {
			t.Errorf("platforms (-want +got):\n%s", diff)
		}
	}
	if _, err := client.Resolve(t.Context(), repo.Tag("missing")); !registry.IsNotFound(err) {
		t.Errorf("resolving a missing tag: %v, want not found", err)
	}
}
