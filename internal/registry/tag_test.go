package registry_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

func two(t *testing.T, client *registry.Client, repo name.Repository) (name.Digest, name.Digest) {
	t.Helper()
	first := pushed(t, client, repo)
	second, err := client.Push(t.Context(), anImage(t, 12, 1, 10), repo, nil)
	if err != nil {
		t.Fatal(err)
	}
	return first, second
}

func TestTag(t *testing.T) {
	noCredentials(t)
	for _, opts := range []registrytest.Options{{}, {ImmutableTags: true}, {NoConditions: true}} {
		server := registrytest.Start(t, opts)
		repo := server.Repository(t, "app")
		client := newClient(t, registry.Options{})
		first, second := two(t, client, repo)
		for range 2 {
			if err := client.Tag(t.Context(), first, "v1"); err != nil {
				t.Fatal(err)
			}
		}
		if n := server.Count("PUT", "/manifests/v1"); n != 1 {
			t.Errorf("tag written %d times, want once", n)
		}

		err := client.Tag(t.Context(), second, "v1")
		var taken *registry.TagTakenError
		if !errors.As(err, &taken) || taken.Has.String() != first.DigestStr() || taken.Want.String() != second.DigestStr() || hint.Of(err) == "" {
			t.Errorf("taking the tag: %v, want a TagTakenError from %s to %s with a hint", err, first, second)
		}
		if n := server.Count("PUT", "/manifests/v1"); n != 1 {
			t.Errorf("the refused tag was written")
		}

		err = client.MoveTag(t.Context(), second, "v1")
		if opts.ImmutableTags != (err != nil) {
			t.Errorf("moving the tag, immutable %v: %v", opts.ImmutableTags, err)
		}
	}
}

func TestTagNames(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	client := newClient(t, registry.Options{})
	d := pushed(t, client, server.Repository(t, "app"))
	server.Forget()
	for _, tag := range []string{"latest", "", "a b", "a/b", "a@b", "a:b", strings.Repeat("x", 129), "../x"} {
		if err := client.Tag(t.Context(), d, tag); err == nil {
			t.Errorf("tag %q was taken", tag)
		}
	}
	if len(server.Log()) != 0 {
		t.Errorf("bad tags were sent: %v", server.Log())
	}
}

func TestTagOfMissingDigest(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	d := server.Repository(t, "app").Digest("sha256:" + strings.Repeat("ab", 32))
	if err := newClient(t, registry.Options{}).Tag(t.Context(), d, "v1"); !registry.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
}

// Someone else takes the tag between looking and writing.
func TestTagRace(t *testing.T) {
	noCredentials(t)
	for _, opts := range []registrytest.Options{{}, {NoConditions: true}, {ImmutableTags: true}} {
		server := registrytest.Start(t, opts)
		repo := server.Repository(t, "app")
		client := newClient(t, registry.Options{})
		first, second := two(t, client, repo)
		other := raw(t, second)
		// The rival writes just before the first write, and once more after
		// it where nothing stops writes.
		rival := func(after bool) registrytest.Disturbance {
			return func(_ *registrytest.Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
				if after {
					next.ServeHTTP(w, req)
				}
				put(t, server, repo, "v1", types.OCIManifestSchema1, other)
				if !after {
					next.ServeHTTP(w, req)
				}
			}
		}
		server.Disturb(registrytest.Fault{Method: "PUT", Path: "/manifests/v1$", Times: 1, Do: rival(opts.NoConditions)})
		err := client.Tag(t.Context(), first, "v1")
		var taken *registry.TagTakenError
		if !errors.As(err, &taken) || taken.Has.String() != second.DigestStr() {
			t.Errorf("%+v: got %v, want a TagTakenError", opts, err)
		}
	}
}

// The rival wanted the same: both succeed.
func TestTagRaceForTheSame(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{ImmutableTags: true})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)
	same := raw(t, d)
	server.Disturb(registrytest.Fault{Method: "PUT", Path: "/manifests/v1$", Times: 1, Do: func(_ *registrytest.Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		put(t, server, repo, "v1", types.OCIManifestSchema1, same)
		next.ServeHTTP(w, req)
	}})
	if err := client.Tag(t.Context(), d, "v1"); err != nil {
		t.Error(err)
	}
}
