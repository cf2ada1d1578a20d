package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// yard is a registry with a client.
type yard struct {
	*registrytest.Server
	client *registry.Client
	repo   name.Repository
}

func newYard(t *testing.T, opts registrytest.Options) *yard {
	t.Helper()
	home := t.TempDir()
	for _, key := range []string{"HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(key, home)
	}
	for _, key := range []string{"REGISTRY_AUTH_FILE", "GITHUB_TOKEN"} {
		t.Setenv(key, "")
	}
	server := registrytest.Start(t, opts)
	client, err := registry.New(registry.Options{Retry: registry.Retry{Attempts: 2, Base: time.Millisecond, Longest: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	return &yard{server, client, server.Repository(t, "acme/app")}
}

// push stores an image, as small as one can be, under a tag. Images with
// different marks are different.
func (y *yard) push(t *testing.T, tag, mark string) name.Digest {
	t.Helper()
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"mark":%q}}`, mark)
	address := "http://" + y.Host + "/v2/acme/app/manifests/" + tag
	if err := registrytest.Put(t.Context(), address, "application/vnd.oci.image.index.v1+json", bytes.NewReader(manifest)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(manifest)
	return y.repo.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

func hash(t testing.TB, d name.Digest) v1.Hash {
	t.Helper()
	h, err := v1.NewHash(d.DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// releaseOf is release about another digest.
func releaseOf(t testing.TB, c oidc.Claims, about v1.Hash) []evidence.Statement {
	t.Helper()
	return []evidence.Statement{
		statement(t, evidence.Signature, `{}`, about),
		statement(t, evidence.CycloneDX, bom(about, 3), about),
		statement(t, evidence.Scan, scanned(t, func(r *finding.Report) { r.Subject = about }), about),
		statement(t, evidence.Provenance, prov(t, c, nil), about),
	}
}

func (y *yard) attach(t *testing.T, to name.Digest, signed ...evidence.Signed) {
	t.Helper()
	if err := y.client.Attach(t.Context(), to, signed); err != nil {
		t.Fatal(err)
	}
}

func TestImage(t *testing.T) {
	for _, opts := range []registrytest.Options{{}, {NoReferrers: true}} {
		t.Run(fmt.Sprintf("NoReferrers=%v", opts.NoReferrers), func(t *testing.T) {
			w, y := newWorld(t, nil), newYard(t, opts)
			image := y.push(t, commit, "one")
			y.push(t, "v1", "one")
			y.push(t, other+"-rc1", "one")
			y.push(t, "v"+other, "one")
			y.push(t, other, "one")
			y.push(t, commit+"-dirty", "one")
			y.push(t, "unsigned", "two")
			y.attach(t, image, w.sign(t, claims(), releaseOf(t, claims(), hash(t, image))...)...)
			tests := []struct {
				name string
				ref  name.Reference
				want map[string]string
			}{
				{"digest", image, allPass},
				{"tag of the commit", y.repo.Tag(commit), but("tag: pass")},
				{"tag that is no commit", y.repo.Tag("v1"), allPass},
				{"tag that begins as a commit", y.repo.Tag(other + "-rc1"), allPass},
				{"tag that ends as a commit", y.repo.Tag("v" + other), allPass},
				{"tag of another commit", y.repo.Tag(other), but("tag: fail tag-moved")},
				{"tag of the dirty commit", y.repo.Tag(commit + "-dirty"), but("tag: fail tag-moved")},
				{"image without evidence", y.repo.Tag("unsigned"), map[string]string{
					"subject": "fail no-evidence", "signature": "fail no-signature", "sbom": "fail no-sbom", "scan": "fail no-scan",
					"provenance": "fail no-provenance", "source": "unknown no-provenance",
				}},
			}
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					v, err := verify.Image(t.Context(), y.client, tt.ref, w.options())
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" {
						t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
					}
					if tt.name != "image without evidence" && v.Subject != image.String() {
						t.Errorf("verdict is about %s, not %s", v.Subject, image)
					}
					complete(t, v)
				})
			}
		})
	}
}

func TestTagWithoutProvenance(t *testing.T) {
	w, y := newWorld(t, nil), newYard(t, registrytest.Options{})
	image := y.push(t, commit, "one")
	y.push(t, other, "one")
	signed := w.sign(t, claims(), releaseOf(t, claims(), hash(t, image))...)
	byPerson := w.sign(t, person(), statement(t, evidence.Signature, `{}`, hash(t, image)))
	y.attach(t, image, signed[signature], byPerson[0])
	o := w.options()
	o.Policy.Evidence = []string{policy.Signature}
	personal := o
	personal.Policy.Identity = policy.Identity{Issuer: o.Policy.Identity.Issuer, Subject: person().Email}
	full := w.options()
	tests := []struct {
		name string
		tag  string
		o    verify.Options
		want string
	}{
		{"certificate names the commit", commit, o, "pass"},
		{"certificate names another commit", other, o, "fail tag-moved"},
		{"certificate names none", commit, personal, "unknown tag-unproven"},
		{"provenance is wanted and missing", commit, full, "unknown tag-unproven"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := verify.Image(t.Context(), y.client, y.repo.Tag(tt.tag), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := outcomes(v)["tag"]; got != tt.want || v.Passed() != (tt.want == "pass") {
				t.Errorf("tag: %s, passed %v; want %s\n%s", got, v.Passed(), tt.want, explain(v))
			}
			complete(t, v)
		})
	}
}

// TestTwoCommitsOneImage has two commits build the same bytes: both tags are
// true, and a dirty one beside them only where dirt is allowed.
func TestTwoCommitsOneImage(t *testing.T) {
	w, y := newWorld(t, nil), newYard(t, registrytest.Options{})
	image := y.push(t, commit, "one")
	y.push(t, other, "one")
	later := claims()
	later.SHA, later.RunID = other, "77"
	y.attach(t, image, append(
		w.sign(t, claims(), releaseOf(t, claims(), hash(t, image))...),
		w.sign(t, later, statement(t, evidence.Provenance, prov(t, later, nil), hash(t, image)))...)...)
	for _, tag := range []string{commit, other} {
		v, err := verify.Image(t.Context(), y.client, y.repo.Tag(tag), w.options())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(but("tag: pass"), outcomes(v)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tag, diff)
		}
		if !strings.Contains(explain(v), "beside it: 1 bundle by the policy's identity, of commit ") {
			t.Errorf("the other commit is not told:\n%s", explain(v))
		}
	}
}

func TestDirtyTag(t *testing.T) {
	w, y := newWorld(t, nil), newYard(t, registrytest.Options{})
	image := y.push(t, commit+"-dirty", "one")
	y.push(t, commit, "one")
	dirty := strings.Replace(prov(t, person(), nil), `"ref":"refs/heads/main"}`, `"ref":"refs/heads/main","dirty":true}`, 1)
	y.attach(t, image, w.sign(t, person(), statement(t, evidence.Provenance, dirty, hash(t, image)))...)
	o := w.options()
	o.Policy.Identity = policy.Identity{Issuer: o.Policy.Identity.Issuer, Subject: person().Email}
	o.Policy.Evidence = []string{policy.Provenance}
	allowing := o
	allowing.AllowDirty = true
	for _, tt := range []struct {
		tag  string
		o    verify.Options
		want map[string]string
	}{
		{commit + "-dirty", o, map[string]string{"subject": "pass", "provenance": "fail dirty", "source": "pass", "tag": "unknown tag-unproven"}},
		{commit + "-dirty", allowing, map[string]string{"subject": "pass", "provenance": "pass", "source": "pass", "tag": "pass"}},
		{commit, allowing, map[string]string{"subject": "pass", "provenance": "pass", "source": "pass", "tag": "fail tag-moved"}},
	} {
		v, err := verify.Image(t.Context(), y.client, y.repo.Tag(tt.tag), tt.o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", tt.tag, diff, explain(v))
		}
	}
}

func TestImageUnavailable(t *testing.T) {
	w, y := newWorld(t, nil), newYard(t, registrytest.Options{})
	image := y.push(t, commit, "one")
	y.attach(t, image, w.sign(t, claims(), releaseOf(t, claims(), hash(t, image))...)...)

	y.Disturb(registrytest.Fault{Path: "/referrers/", Do: registrytest.Status(http.StatusInternalServerError, "UNKNOWN", "out of order")})
	client, err := registry.New(registry.Options{Retry: registry.Retry{Attempts: 1, Base: time.Millisecond, Longest: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.Image(t.Context(), client, image, w.options())
	if err == nil || v.Passed() {
		t.Fatalf("passed %v, error %v", v.Passed(), err)
	}
	if diff := cmp.Diff(map[string]string{"subject": "unknown evidence-unavailable"}, outcomes(v)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	complete(t, v)
	y.Calm()

	if _, err := verify.Image(t.Context(), client, y.repo.Tag("none"), w.options()); err == nil || !registry.IsNotFound(err) {
		t.Errorf("a tag that does not exist: %v", err)
	}
}

// TestSkipped has something attached that is no bundle.
func TestSkipped(t *testing.T) {
	w, y := newWorld(t, nil), newYard(t, registrytest.Options{})
	image := y.push(t, commit, "one")
	y.attach(t, image, w.sign(t, claims(), releaseOf(t, claims(), hash(t, image))...)...)
	artifact := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","artifactType":"application/x-weather","manifests":[],"subject":{"mediaType":"application/vnd.oci.image.index.v1+json","digest":%q,"size":1}}`, image.DigestStr())
	sum := sha256.Sum256([]byte(artifact))
	address := "http://" + y.Host + "/v2/acme/app/manifests/sha256:" + hex.EncodeToString(sum[:])
	if err := registrytest.Put(t.Context(), address, "application/vnd.oci.image.index.v1+json", strings.NewReader(artifact)); err != nil {
		t.Fatal(err)
	}
	v, err := verify.Image(t.Context(), y.client, image, w.options())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(allPass, outcomes(v)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.Contains(explain(v), "skipped: referrer sha256:") {
		t.Errorf("what was skipped is not told:\n%s", explain(v))
	}
}

func TestBundles(t *testing.T) {
	w := newWorld(t, nil)
	whole := w.sign(t, claims(), release(t, claims())...)
	image, err := name.NewDigest("registry.test/acme/app@" + subject.String())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, signed ...evidence.Signed) string {
		path := filepath.Join(dir, name)
		var file bytes.Buffer
		if err := evidence.WriteLines(&file, signed); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	all, one, rest := write("all", whole...), write("one", whole[0]), write("rest", whole[1:]...)
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		files []string
		want  map[string]string
	}{
		{"one file", []string{all}, allPass},
		{"two files", []string{rest, one}, allPass},
		{"a part", []string{rest}, but("signature: fail no-signature")},
	} {
		v, err := verify.Bundles(image, tt.files, w.options())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" || v.Subject != image.String() {
			t.Errorf("%s: about %s (-want +got):\n%s", tt.name, v.Subject, diff)
		}
	}
	if _, err := verify.Bundles(image, []string{all, junk}, w.options()); err == nil || !strings.Contains(hint.Of(err), "gh attestation download") {
		t.Errorf("junk: %v, hint %q", err, hint.Of(err))
	}
	if _, err := verify.Bundles(image, []string{filepath.Join(dir, "none")}, w.options()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}
