//go:build cluster

package cluster_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/localregistry"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/provenance"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// Who may release, and what.
const (
	repository = "acme/app"
	workflow   = ".github/workflows/release.yml"
	branch     = "refs/heads/main"
	commit     = "15bf79ea9c89fffbf5dd02c6b5b686b291bfcbd2"
)

func ours() oidc.Claims { return localtrust.GitHubClaims(repository, workflow, branch, commit) }

// world is a registry and a Sigstore on one loopback address, the policy that names them, and a way to make images with
// whatever evidence.
type world struct {
	t              testing.TB
	dir            string // the policy's folder
	host           string
	trust          *localtrust.Local
	client         *registry.Client
	policy         policy.Policy
	server         *httptest.Server
	images, others int
	// serving is the trust whose services and TUF repository are served.
	serving atomic.Pointer[localtrust.Local]
	// broken makes the registry answer nothing but 503.
	broken atomic.Bool
	// asked counts what the registry is asked.
	asked atomic.Int64
	// pulled are the paths that a node asked the registry for.
	pulled sync.Map
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.sigstore("trust", longAgo) // so that there is something to sign with then
	w.trust = w.sigstore("trust", time.Now)
	reg, err := localregistry.Open(filepath.Join(w.dir, "registry"), localregistry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v2/", func(rw http.ResponseWriter, req *http.Request) {
		w.asked.Add(1)
		if strings.HasPrefix(req.UserAgent(), "containerd/") {
			w.pulled.Store(req.URL.Path, true)
		}
		if w.broken.Load() {
			http.Error(rw, "down", http.StatusServiceUnavailable)
			return
		}
		reg.ServeHTTP(rw, req)
	})
	w.serving.Store(w.trust)
	mux.HandleFunc("/", func(rw http.ResponseWriter, req *http.Request) { w.serving.Load().Handler().ServeHTTP(rw, req) })
	w.server = httptest.NewServer(mux)
	t.Cleanup(w.server.Close)
	w.host = strings.TrimPrefix(w.server.URL, "http://")
	if err := w.trust.Serving(w.server.URL); err != nil {
		t.Fatal(err)
	}
	if w.client, err = registry.New(registry.Options{}); err != nil {
		t.Fatal(err)
	}
	w.policy = w.writePolicy("hallmark.yaml", "")
	return w
}

// longAgo is a clock that shows a time when certificates of today had not been thought of.
func longAgo() time.Time { return time.Now().AddDate(-1, 0, 0) }

// sigstore opens a local trust of this world whose clock is now.
func (w *world) sigstore(folder string, now func() time.Time) *localtrust.Local {
	w.t.Helper()
	local, err := localtrust.Open(w.t.Context(), filepath.Join(w.dir, folder), localtrust.Options{Now: now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { local.Close() })
	return local
}

// otherIssuer is a Sigstore of the same keys that takes the tokens of another OIDC issuer.
func (w *world) otherIssuer() *localtrust.Local {
	w.t.Helper()
	w.others++
	folder := fmt.Sprintf("other-issuer-%d", w.others)
	file := filepath.Join(w.dir, folder, "keys.json")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		w.t.Fatal(err)
	}
	state, err := os.ReadFile(filepath.Join(w.dir, "trust", "keys.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	other := strings.ReplaceAll(string(state), w.trust.Issuer(), "https://tokens.example.test")
	if other == string(state) {
		w.t.Fatalf("%s does not name the issuer %s", file, w.trust.Issuer())
	}
	if err := os.WriteFile(file, []byte(other), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return w.sigstore(folder, time.Now)
}

// byHost sends each request where its host is served.
type byHost map[string]http.RoundTripper

func (b byHost) RoundTrip(req *http.Request) (*http.Response, error) {
	return b[req.URL.Host].RoundTrip(req)
}

// releasedByOtherIssuer is a complete image whose certificate is of the world's own authority and names our workflow, and
// another OIDC issuer that vouched for it.
func (w *world) releasedByOtherIssuer() name.Digest {
	w.t.Helper()
	other := w.otherIssuer()
	services, others := w.trust.Services(), other.Services()
	services.Fulcio = others.Fulcio
	services.Transport = byHost{
		strings.TrimPrefix(w.trust.Issuer(), "https://"): services.Transport,
		strings.TrimPrefix(other.Issuer(), "https://"):   others.Transport,
	}
	ref := w.push()
	signed, err := sign.New(sign.Config{Services: services, Tokens: other.As(ours())}).Sign(w.t.Context(), w.full(ref, ours()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.attach(ref, signed)
	return ref
}

// writePolicy writes and reads the policy with lines of its own under admission.
func (w *world) writePolicy(file, admission string) policy.Policy {
	w.t.Helper()
	path := filepath.Join(w.dir, file)
	text := fmt.Sprintf(`version: 1
image: %s/acme/app
build: {go: {}}
identity: {issuer: %q, repository: %s, workflow: %s, ref: %s}
trust: {root: private, tuf-mirror: %s%s, tuf-root: trust/%s}
evidence: [signature, sbom, provenance]
admission:
  mode: enforce
%s`, w.host, w.trust.Issuer(), repository, workflow, branch, w.server.URL, strings.TrimSuffix(localtrust.PathTUF, "/"), localtrust.TUFRootFile, admission)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	p, err := policy.Read(path)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Path = path
	return p
}

// push pushes an image that nobody else has and gives it by digest.
func (w *world) push() name.Digest {
	w.t.Helper()
	w.images++
	img, err := random.Image(1000, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: rootFS(w.t, img),
		Config: v1.Config{Labels: map[string]string{"n": fmt.Sprint(w.images)}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.pushed(img)
}

func rootFS(t testing.TB, img v1.Image) v1.RootFS {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config.RootFS
}

func (w *world) pushed(img v1.Image) name.Digest {
	w.t.Helper()
	digest, err := img.Digest()
	if err != nil {
		w.t.Fatal(err)
	}
	ref := w.policy.Repository().Digest(digest.String())
	if err := remote.Write(ref, img); err != nil {
		w.t.Fatal(err)
	}
	return ref
}

// pushIndex pushes an index of one platform, and gives both by digest.
func (w *world) pushIndex() (index, platform name.Digest) {
	w.t.Helper()
	platform = w.push()
	img, err := remote.Image(platform)
	if err != nil {
		w.t.Fatal(err)
	}
	idx := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img,
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	digest, err := idx.Digest()
	if err != nil {
		w.t.Fatal(err)
	}
	index = w.policy.Repository().Digest(digest.String())
	if err := remote.WriteIndex(index, idx); err != nil {
		w.t.Fatal(err)
	}
	return index, platform
}

// statements are made about one digest.
type statements []evidence.Statement

// full is the evidence of a whole release about a digest, by the claims' run.
func (w *world) full(about name.Digest, c oidc.Claims) statements {
	return statements{w.signature(about), w.sbom(about, 3), w.provenance(about, c)}
}

func (w *world) signature(about name.Digest) evidence.Statement {
	return w.statement(about, evidence.Signature, []byte("{}"))
}

func (w *world) sbom(about name.Digest, components int) evidence.Statement {
	list := []any{}
	for i := range components {
		list = append(list, map[string]any{"type": "library", "bom-ref": fmt.Sprint(i), "name": fmt.Sprint("lib", i), "version": "1.0", "purl": fmt.Sprintf("pkg:deb/debian/lib%d@1.0", i)})
	}
	return w.statement(about, evidence.CycloneDX, w.json(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"metadata":   map[string]any{"component": map[string]any{"type": "container", "name": "app", "version": about.DigestStr()}},
		"components": list,
	}))
}

func (w *world) provenance(about name.Digest, c oidc.Claims) evidence.Statement {
	w.t.Helper()
	digest, err := v1.NewHash(about.DigestStr())
	if err != nil {
		w.t.Fatal(err)
	}
	src := source.Source{Commit: c.SHA, Remote: "https://github.com/" + c.Repository, Ref: c.Ref}
	predicate, err := provenance.Predicate(src, image.Built{Digest: digest, Builder: "go"}, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.statement(about, evidence.Provenance, predicate)
}

func (w *world) statement(about name.Digest, predicateType string, predicate []byte) evidence.Statement {
	w.t.Helper()
	digest, err := v1.NewHash(about.DigestStr())
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := evidence.About(w.policy.Image, predicateType, predicate, digest)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) json(v any) []byte {
	w.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// sign has statements signed by a run with the claims, and gives the bundles.
func (w *world) sign(c oidc.Claims, s ...evidence.Statement) []evidence.Signed {
	w.t.Helper()
	return w.signAt(w.trust, time.Now, c, s...)
}

func (w *world) signAt(local *localtrust.Local, now func() time.Time, c oidc.Claims, s ...evidence.Statement) []evidence.Signed {
	w.t.Helper()
	signed, err := sign.New(sign.Config{Services: local.Services(), Tokens: local.As(c), Now: now}).Sign(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return signed
}

// attach hangs bundles on a digest.
func (w *world) attach(to name.Digest, signed []evidence.Signed) {
	w.t.Helper()
	if err := w.client.Attach(w.t.Context(), to, signed); err != nil {
		w.t.Fatal(err)
	}
}

// released is an image with all evidence by the claims' run.
func (w *world) released(c oidc.Claims) name.Digest {
	w.t.Helper()
	ref := w.push()
	w.attach(ref, w.sign(c, w.full(ref, c)...))
	return ref
}

// anchor is the trust root the policy names.
func (w *world) anchor() trust.Anchor {
	w.t.Helper()
	a, err := trust.Load(w.t.Context(), w.policy.Trust, trust.Options{PolicyDir: w.dir, CacheDir: filepath.Join(w.dir, "cache")})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}
