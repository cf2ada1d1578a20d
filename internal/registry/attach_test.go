package registry_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// kinds are the registries that evidence must survive in.
var kinds = []struct {
	name string
	opts registrytest.Options
}{
	{"referrers", registrytest.Options{}},
	{"referrers in small pages", registrytest.Options{PageSize: 2}},
	{"referrers under config types", registrytest.Options{ConfigTypes: true}},
	{"referrers, immutable tags", registrytest.Options{ImmutableTags: true}},
	{"no referrers", registrytest.Options{NoReferrers: true}},
	{"no referrers, no conditions", registrytest.Options{NoReferrers: true, NoConditions: true}},
	{"no referrers, immutable tags", registrytest.Options{NoReferrers: true, ImmutableTags: true}},
}

func TestAttachTwice(t *testing.T) {
	noCredentials(t)
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			server := registrytest.Start(t, kind.opts)
			repo := server.Repository(t, "team/app")
			client := newClient(t, registry.Options{})
			d := pushed(t, client, repo)
			signed := bundles(5)
			if err := client.Attach(t.Context(), d, signed); err != nil {
				t.Fatal(err)
			}
			wantEvidence(t, d, signed)
			fallback := "/manifests/" + strings.ReplaceAll(d.DigestStr(), ":", "-")
			wantWrites := 0
			if kind.opts.NoReferrers {
				wantWrites = 1
			}
			if n := server.Count("PUT", fallback); n != wantWrites {
				t.Errorf("fallback tag written %d times, want %d", n, wantWrites)
			}

			server.Forget()
			if err := newClient(t, registry.Options{}).Attach(t.Context(), d, signed); err != nil {
				t.Fatal(err)
			}
			if writes := server.Writes(); len(writes) != 0 {
				t.Errorf("attaching again wrote %v", writes)
			}
			wantEvidence(t, d, signed)
		})
	}
}

// A second run with further evidence adds to the first, except where tags are
// immutable and there is no referrers API: there it says so.
func TestAttachMore(t *testing.T) {
	noCredentials(t)
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			server := registrytest.Start(t, kind.opts)
			client := newClient(t, registry.Options{})
			d := pushed(t, client, server.Repository(t, "app"))
			if err := client.Attach(t.Context(), d, bundles(2)); err != nil {
				t.Fatal(err)
			}
			err := client.Attach(t.Context(), d, bundles(4))
			if kind.opts.NoReferrers && kind.opts.ImmutableTags {
				var immutable *registry.ImmutableTagError
				if !errors.As(err, &immutable) || len(immutable.Missing) != 2 || !strings.Contains(hint.Of(err), "sha256-") {
					t.Fatalf("attaching more: %v (hint %q), want an ImmutableTagError that misses 2", err, hint.Of(err))
				}
				wantEvidence(t, d, bundles(2))
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantEvidence(t, d, bundles(4))
		})
	}
}

// Eight writers at once, each a process of its own as far as the client
// knows: nobody's evidence may be lost. cosign loses some here.
func TestAttachFromManyWriters(t *testing.T) {
	noCredentials(t)
	for _, kind := range kinds {
		if kind.opts.ImmutableTags {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			server := registrytest.Start(t, kind.opts)
			repo := server.Repository(t, "app")
			d := pushed(t, newClient(t, registry.Options{}), repo)
			signed := bundles(8)
			var group sync.WaitGroup
			for _, one := range signed {
				client := newClient(t, registry.Options{Settle: 300 * time.Millisecond})
				group.Go(func() {
					if err := client.Attach(t.Context(), d, []evidence.Signed{one}); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			wantEvidence(t, d, signed)
		})
	}
}

func TestAttachFromManyGoroutines(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{NoReferrers: true, NoConditions: true})
	client := newClient(t, registry.Options{Settle: time.Millisecond})
	d := pushed(t, client, server.Repository(t, "app"))
	signed := bundles(8)
	var group sync.WaitGroup
	for _, one := range signed {
		group.Go(func() {
			if err := client.Attach(t.Context(), d, []evidence.Signed{one}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	wantEvidence(t, d, signed)
}

// The manifest is the one that cosign 3.1.3 writes, but for its date.
func TestAttachedManifest(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)
	if err := client.Attach(t.Context(), d, bundles(1)); err != nil {
		t.Fatal(err)
	}
	found, err := client.Find(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Bundles) != 1 || found.Bundles[0].Via != registry.ViaReferrers {
		t.Fatalf("found %+v, want one bundle by the referrers API", found)
	}
	var pretty any
	if err := json.Unmarshal(raw(t, repo.Digest(found.Bundles[0].Manifest.String())), &pretty); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(pretty, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/bundle-manifest.json", append(got, '\n'))
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// What go-containerregistry, and so cosign, writes into the fallback tag stays,
// and cosign's library finds what Attach adds.
func TestFallbackIsShared(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{NoReferrers: true, NoConditions: true})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)

	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"annotations":{"kept":"yes"},"manifests":[{"mediaType":%q,"size":%d,"digest":%q,"unknown":{"kept":true}}]}`,
		types.OCIImageIndex, types.OCIManifestSchema1, len(raw(t, d)), d.DigestStr())
	tag := strings.ReplaceAll(d.DigestStr(), ":", "-")
	put(t, server, repo, tag, types.OCIImageIndex, []byte(index))

	if err := client.Attach(t.Context(), d, bundles(2)); err != nil {
		t.Fatal(err)
	}
	desc, err := client.Resolve(t.Context(), repo.Tag(tag))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw(t, repo.Digest(desc.Digest.String())))
	for _, kept := range []string{`"annotations":{"kept":"yes"}`, `"unknown":{"kept":true}`} {
		if !strings.Contains(text, kept) {
			t.Errorf("index lost %s: %s", kept, text)
		}
	}
	theirs, err := remote.Referrers(d)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := theirs.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]int{}
	for _, m := range manifest.Manifests {
		types[m.ArtifactType+" "+m.Annotations["dev.sigstore.bundle.predicateType"]]++
	}
	want := map[string]int{
		" ": 1,
		evidence.BundleMediaType + " https://example.test/predicate/0": 1,
		evidence.BundleMediaType + " https://example.test/predicate/1": 1,
	}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("referrers for go-containerregistry (-want +got):\n%s", diff)
	}
}

// Somebody deletes what the fallback tag lists, as clean-up jobs do with
// untagged manifests: attaching again brings it back, and other evidence can
// still be added where the registry refuses an index with holes.
func TestFallbackWithDeletedEntries(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{NoReferrers: true})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)
	if err := client.Attach(t.Context(), d, bundles(3)); err != nil {
		t.Fatal(err)
	}
	found, err := client.Find(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	deleteBundle := func(i int) {
		t.Helper()
		if err := remote.Delete(repo.Digest(found.Bundles[i].Manifest.String())); err != nil {
			t.Fatal(err)
		}
	}
	deleteBundle(1)
	wantEvidence(t, d, []evidence.Signed{aBundle(0), aBundle(2)})
	if err := newClient(t, registry.Options{}).Attach(t.Context(), d, bundles(3)); err != nil {
		t.Fatal(err)
	}
	wantEvidence(t, d, bundles(3))

	deleteBundle(0)
	if err := newClient(t, registry.Options{}).Attach(t.Context(), d, []evidence.Signed{aBundle(7)}); err != nil {
		t.Fatal(err)
	}
	wantEvidence(t, d, []evidence.Signed{aBundle(1), aBundle(2), aBundle(7)})
}

// A writer that never stops taking entries out is named in the end.
func TestAttachContended(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{NoReferrers: true, NoConditions: true})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{Settle: time.Millisecond})
	d := pushed(t, client, repo)
	empty := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, types.OCIImageIndex)
	tag := strings.ReplaceAll(d.DigestStr(), ":", "-")
	var rival atomic.Bool
	server.Disturb(registrytest.Fault{Method: "PUT", Path: "/manifests/" + tag, Do: func(_ *registrytest.Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(w, req)
		if rival.CompareAndSwap(false, true) {
			put(t, server, repo, tag, types.OCIImageIndex, []byte(empty))
			rival.Store(false)
		}
	}})
	err := client.Attach(t.Context(), d, bundles(1))
	if !errors.Is(err, registry.ErrContended) || hint.Of(err) == "" {
		t.Errorf("got %v (hint %q), want ErrContended", err, hint.Of(err))
	}
}

// A registry that lists nothing of what it took, although it said it would, is
// found out.
func TestAttachNoticesUnlisted(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	client := newClient(t, registry.Options{})
	d := pushed(t, client, server.Repository(t, "app"))
	empty := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, types.OCIImageIndex)
	server.Disturb(registrytest.Fault{Path: "/referrers/", Do: registrytest.Body(200, string(types.OCIImageIndex), empty)})
	err := client.Attach(t.Context(), d, bundles(1))
	if err == nil || !strings.Contains(err.Error(), "does not list") {
		t.Errorf("attaching: %v, want an error that it is not listed", err)
	}
}

// A registry that answers the referrers API with an empty list although it has
// none gets the fallback tag.
func TestAttachBesideEmptyAPI(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{NoReferrers: true})
	client := newClient(t, registry.Options{})
	d := pushed(t, client, server.Repository(t, "app"))
	empty := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, types.OCIImageIndex)
	server.Disturb(registrytest.Fault{Path: "/referrers/", Do: registrytest.Body(200, string(types.OCIImageIndex), empty)})
	for range 2 {
		if err := client.Attach(t.Context(), d, bundles(2)); err != nil {
			t.Fatal(err)
		}
		wantEvidence(t, d, bundles(2))
	}
}

func TestAttachToMissingSubject(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	d := server.Repository(t, "app").Digest("sha256:" + strings.Repeat("ab", 32))
	if err := newClient(t, registry.Options{}).Attach(t.Context(), d, bundles(1)); !registry.IsNotFound(err) {
		t.Errorf("attaching to nothing: %v, want not found", err)
	}
	if writes := server.Writes(); len(writes) != 0 {
		t.Errorf("wrote %v", writes)
	}
}

func TestAttachDamagedBundle(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	client := newClient(t, registry.Options{})
	d := pushed(t, client, server.Repository(t, "app"))
	server.Forget()
	for _, bundle := range []string{"", "{", `[]`, `{"verificationMaterial":{"certificate":{"rawBytes":"AAAA"}}}`} {
		signed := []evidence.Signed{aBundle(1), {PredicateType: "x", Bundle: []byte(bundle)}}
		if err := client.Attach(t.Context(), d, signed); err == nil {
			t.Errorf("attached the bundle %q", bundle)
		}
	}
	if writes := server.Writes(); len(writes) != 0 {
		t.Errorf("wrote %v", writes)
	}
}
