package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// refer stores a referrer with another library, as another tool would.
func refer(t *testing.T, repo name.Repository, m v1.Manifest, layers ...v1.Layer) v1.Hash {
	t.Helper()
	m.SchemaVersion, m.MediaType = 2, types.OCIManifestSchema1
	config := static.NewLayer([]byte("{}"), "application/vnd.oci.empty.v1+json")
	for _, l := range append(layers, config) {
		if err := remote.WriteLayer(repo, l); err != nil {
			t.Fatal(err)
		}
	}
	m.Config = descriptorOf(t, config)
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptorOf(t, l))
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := v1.SHA256(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := registrytest.Put(t.Context(), "http://"+repo.RegistryStr()+"/v2/"+repo.RepositoryStr()+"/manifests/"+h.String(), string(m.MediaType), strings.NewReader(string(b))); err != nil {
		t.Fatal(err)
	}
	return h
}

func descriptorOf(t *testing.T, l v1.Layer) v1.Descriptor {
	t.Helper()
	var d v1.Descriptor
	var err [3]error
	d.Digest, err[0] = l.Digest()
	d.Size, err[1] = l.Size()
	d.MediaType, err[2] = l.MediaType()
	if e := errors.Join(err[:]...); e != nil {
		t.Fatal(e)
	}
	return d
}

func TestFindSkipsWhatIsNoBundle(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)
	if err := client.Attach(t.Context(), d, bundles(1)); err != nil {
		t.Fatal(err)
	}
	desc, err := client.Resolve(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	text := static.NewLayer([]byte("hello"), "text/plain")
	bundle := static.NewLayer([]byte(`{"other":1}`), evidence.BundleMediaType)
	unannotated := refer(t, repo, v1.Manifest{Subject: &desc}, bundle)
	want := map[string]string{
		refer(t, repo, v1.Manifest{Subject: &desc, ArtifactType: "application/vnd.cncf.notary.signature"}, text).String(): "is of another type",
		refer(t, repo, v1.Manifest{Subject: &desc, ArtifactType: evidence.BundleMediaType}, text).String():                "holds no single bundle",
		refer(t, repo, v1.Manifest{Subject: &desc, ArtifactType: evidence.BundleMediaType}, bundle, bundle).String():      "holds no single bundle",
	}

	found, err := newClient(t, registry.Options{}).Find(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range found.Skipped {
		got[s.Manifest.String()] = s.Reason
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if len(found.Bundles) != 2 {
		t.Fatalf("found %d bundles, want 2: the attached one and %s", len(found.Bundles), unannotated)
	}
}

// An entry of the fallback tag that is about another image must not count,
// and one that is gone must not end the reading.
func TestFindInFallbackIndex(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{NoReferrers: true})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)
	other, err := client.Push(t.Context(), anImage(t, 11, 1, 10), repo, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Attach(t.Context(), other, bundles(1)); err != nil {
		t.Fatal(err)
	}
	theirs, err := client.Resolve(t.Context(), repo.Tag(strings.ReplaceAll(other.DigestStr(), ":", "-")))
	if err != nil {
		t.Fatal(err)
	}
	put(t, server, repo, strings.ReplaceAll(d.DigestStr(), ":", "-"), types.OCIImageIndex, raw(t, repo.Digest(theirs.Digest.String())))
	found, err := client.Find(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Bundles) != 0 || len(found.Skipped) != 1 || found.Skipped[0].Reason != "names another subject" {
		t.Errorf("found %+v, want nothing but one skipped for its subject", found)
	}
	server.Disturb(registrytest.Fault{Method: "GET", Path: "/manifests/" + found.Skipped[0].Manifest.String(), Do: registrytest.Status(404, "MANIFEST_UNKNOWN", "gone")})
	found, err = newClient(t, registry.Options{}).Find(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Skipped) != 1 || found.Skipped[0].Reason != "is listed and missing" {
		t.Errorf("found %+v, want one skipped as missing", found)
	}
}

func TestFindLegacy(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)
	tag := strings.ReplaceAll(d.DigestStr(), ":", "-")
	var want []registry.Legacy
	for i, kind := range []string{"sig", "att"} {
		payload := fmt.Sprintf(`{"payload":%d}`, i)
		l := registry.Legacy{
			Kind: kind, Tag: tag + "." + kind, MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Payload: []byte(payload),
			Signature: "c2ln", Certificate: "PEM", Chain: "CHAIN", Bundle: "{}", Timestamp: "{1}", PredicateType: "p",
		}
		img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
			Layer: static.NewLayer(l.Payload, types.MediaType(l.MediaType)),
			Annotations: map[string]string{
				"dev.cosignproject.cosign/signature": l.Signature, "dev.sigstore.cosign/certificate": l.Certificate,
				"dev.sigstore.cosign/chain": l.Chain, "dev.sigstore.cosign/bundle": l.Bundle,
				"dev.sigstore.cosign/rfc3161timestamp": l.Timestamp, "predicateType": l.PredicateType,
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(repo.Tag(l.Tag), img); err != nil {
			t.Fatal(err)
		}
		if l.Manifest, err = img.Digest(); err != nil {
			t.Fatal(err)
		}
		want = append(want, l)
	}
	found, err := client.Find(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, found.Legacy); diff != "" {
		t.Errorf("legacy evidence (-want +got):\n%s", diff)
	}
}

// What is under a tag of cosign's and is no signature could be hiding one.
func TestFindRefusesOddLegacy(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)
	empty := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, types.OCIImageIndex)
	put(t, server, repo, strings.ReplaceAll(d.DigestStr(), ":", "-")+".sig", types.OCIImageIndex, []byte(empty))
	if _, err := client.Find(t.Context(), d); err == nil || !strings.Contains(err.Error(), "no image manifest") {
		t.Errorf("got %v, want an error", err)
	}
}

// More referrers than anybody reads are an error, never a selection.
func TestFindRefusesFloods(t *testing.T) {
	noCredentials(t)
	flood := func(n int) string {
		entries := make([]string, n)
		for i := range entries {
			entries[i] = fmt.Sprintf(`{"mediaType":%q,"size":10,"digest":"sha256:%064x"}`, types.OCIManifestSchema1, i)
		}
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, types.OCIImageIndex, strings.Join(entries, ","))
	}
	server := registrytest.Start(t, registrytest.Options{})
	client := newClient(t, registry.Options{})
	d := pushed(t, client, server.Repository(t, "app"))
	for name, body := range map[string]string{
		"many":  flood(registry.CountLimit + 1),
		"large": flood(80_000),
	} {
		server.Calm()
		server.Disturb(registrytest.Fault{Path: "/referrers/", Do: registrytest.Body(200, string(types.OCIImageIndex), body)})
		if _, err := client.Find(t.Context(), d); !errors.Is(err, registry.ErrTooLarge) {
			t.Errorf("%s: got %v, want ErrTooLarge", name, err)
		}
	}
	server.Calm()
	server.Disturb(registrytest.Fault{Path: "/referrers/", Do: registrytest.Body(200, string(types.OCIImageIndex), flood(registry.CountLimit))})
	found, err := client.Find(t.Context(), d)
	if err != nil || len(found.Skipped) != registry.CountLimit {
		t.Errorf("as many as allowed: %d skipped, %v", len(found.Skipped), err)
	}
}

func TestFindAmongMany(t *testing.T) {
	noCredentials(t)
	for _, opts := range []registrytest.Options{{PageSize: 7}, {NoReferrers: true}} {
		server := registrytest.Start(t, opts)
		client := newClient(t, registry.Options{Jobs: 8})
		d := pushed(t, client, server.Repository(t, "app"))
		signed := bundles(150)
		if err := client.Attach(t.Context(), d, signed); err != nil {
			t.Fatal(err)
		}
		wantEvidence(t, d, signed)
	}
}

func TestFindRefusesLargeBundles(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)
	desc, err := client.Resolve(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	big := static.NewLayer(make([]byte, registry.BundleLimit+1), evidence.BundleMediaType)
	refer(t, repo, v1.Manifest{Subject: &desc, ArtifactType: evidence.BundleMediaType}, big)
	found, err := client.Find(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Skipped) != 1 || found.Skipped[0].Reason != "is larger than 64 MiB" {
		t.Errorf("found %+v, want one skipped for its size", found.Skipped)
	}
}

// A layer that is larger than its descriptor says is not read to its end.
func TestFindRefusesFalseSizes(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	repo := server.Repository(t, "app")
	client := newClient(t, registry.Options{})
	d := pushed(t, client, repo)
	if err := client.Attach(t.Context(), d, bundles(1)); err != nil {
		t.Fatal(err)
	}
	server.Disturb(registrytest.Fault{Method: "GET", Path: "/blobs/", Do: registrytest.Body(200, "application/octet-stream", strings.Repeat("x", 1000))})
	if _, err := client.Find(t.Context(), d); !errors.Is(err, registry.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestReferrerPages(t *testing.T) {
	noCredentials(t)
	for link, want := range map[string]string{
		`<http://elsewhere.test/v2/>; rel="next"`: "next page at elsewhere.test",
		`</v2/app/referrers/SELF>; rel="next"`:    "circle",
		`<%zz>; rel="next"`:                       "not readable",
	} {
		server := registrytest.Start(t, registrytest.Options{})
		client := newClient(t, registry.Options{})
		d := pushed(t, client, server.Repository(t, "app"))
		server.Disturb(registrytest.Fault{Path: "/referrers/", Do: registrytest.Header("Link", strings.ReplaceAll(link, "SELF", d.DigestStr()))})
		if _, err := client.Find(t.Context(), d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("link %s: got %v, want an error with %q", link, err, want)
		}
	}
}
