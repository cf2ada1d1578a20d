//go:build docker && peers

// Package real_test releases the real input, Debian and Python built from a Dockerfile by a real Docker engine, and asks
// others whether the evidence is right: dpkg and Python's own metadata about the SBOM, grype about the findings, cosign
// about the signatures.
package real_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/cli"
	"github.com/hallmark-sh/hallmark/internal/localregistry"
	"github.com/hallmark-sh/hallmark/test/debian"
	"github.com/hallmark-sh/hallmark/test/engine"
	"github.com/hallmark-sh/hallmark/test/peers"
)

const (
	repository = "acme/storefront"
	workflow   = ".github/workflows/release.yml"
	branch     = "refs/heads/main"
	signer     = "https://github.com/" + repository + "/" + workflow + "@" + branch
	issuer     = "https://hallmark.localhost"
)

// scene is everything a release of the real input needs.
type scene struct {
	base       debian.Base
	engine     *engine.Engine
	registry   string // host:port
	dir        string // the git repository
	state      string // the local trust
	advisories string
	home       string
	requests   *requests
}

// requests counts what the registry was asked.
type requests struct {
	mu  sync.Mutex
	all []localregistry.Access
}

func (r *requests) saw(a localregistry.Access) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, a)
}

func (r *requests) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// newScene sets the scene for a policy with these lines for build and gate; ARCHIVE in them is the image as `docker save`
// writes it, and DIGEST its digest.
func newScene(t *testing.T, build, gate string) *scene {
	t.Helper()
	dir := t.TempDir()
	s := &scene{
		engine: engine.Start(t), dir: filepath.Join(dir, "source"), state: filepath.Join(dir, "trust"),
		advisories: filepath.Join(dir, "advisories"), home: filepath.Join(dir, "home"), requests: &requests{},
	}
	var err error
	if s.base, err = debian.Load(t.Context(), s.engine); err != nil {
		t.Fatal(err)
	}
	store, err := localregistry.Open(filepath.Join(dir, "registry"), localregistry.Options{OnAccess: s.requests.saw})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(store)
	t.Cleanup(server.Close)
	s.registry = strings.TrimPrefix(server.URL, "http://")
	s.makeAdvisories(t, dir)
	if strings.Contains(build, "ARCHIVE") {
		archive := filepath.Join(dir, "storefront.tar")
		if err := debian.Build(t.Context(), archive); err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(archive, nil)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		build = strings.NewReplacer("ARCHIVE", archive, "DIGEST", config.String()).Replace(build)
	}
	s.makeSource(t, build, gate)
	return s
}

func (s *scene) makeAdvisories(t *testing.T, dir string) {
	t.Helper()
	records := filepath.Join(dir, "osv")
	if _, err := s.base.WriteAdvisories(records, 100); err != nil {
		t.Fatal(err)
	}
	_, err := advisory.Build(t.Context(), advisory.BuildOptions{
		Sources: []advisory.Source{{Kind: advisory.OSV, Path: records}}, Out: s.advisories, Time: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *scene) makeSource(t *testing.T, build, gate string) {
	t.Helper()
	if err := os.Mkdir(s.home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := debian.WriteApp(s.dir); err != nil {
		t.Fatal(err)
	}
	policy := strings.Join([]string{
		"version: 1",
		"image: " + s.registry + "/" + repository,
		build,
		"identity: {issuer: " + issuer + ", repository: " + repository + ", workflow: " + workflow + ", ref: " + branch + "}",
		"trust: {root: local, state: " + s.state + "}",
		"advisories: {from: " + s.advisories + "}",
		gate,
		"",
	}, "\n")
	if err := os.WriteFile(filepath.Join(s.dir, "hallmark.yaml"), []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := debian.Commit(t.Context(), s.dir, "https://github.com/"+repository); err != nil {
		t.Fatal(err)
	}
}

// hallmark runs a command line in the repository's folder and returns its exit code and output.
func (s *scene) hallmark(t *testing.T, args ...string) (code int, stdout string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := []string{"HOME=" + s.home, "PATH=" + os.Getenv("PATH"), "DOCKER_HOST=" + s.engine.Host}
	code = cli.Main(t.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, env)
	if errs.Len() > 0 {
		t.Logf("hallmark %s: %s", args[0], errs.String())
	}
	return code, out.String()
}

// answer is what the test reads of `hallmark release --json`.
type answer struct {
	Outcome string   `json:"outcome"`
	Image   string   `json:"image"`
	Tag     string   `json:"tag"`
	Files   []string `json:"files"`
}

func (s *scene) release(t *testing.T, want int) answer {
	t.Helper()
	code, out := s.hallmark(t, "release", s.dir, "--json")
	if code != want {
		t.Fatalf("release: exit code %d, want %d\n%s\nengine: %s", code, want, out, s.engine.Log())
	}
	var a answer
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("release: %v\n%s", err, out)
	}
	return a
}

// document reads the document called name among the files a release wrote.
func (a answer) document(t *testing.T, name string, into any) {
	t.Helper()
	i := slices.IndexFunc(a.Files, func(path string) bool { return filepath.Base(path) == name })
	if i < 0 {
		t.Fatalf("the release wrote no %s: %v", name, a.Files)
	}
	b, err := os.ReadFile(a.Files[i])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestRelease(t *testing.T) {
	for _, test := range []struct{ name, build string }{
		{"docker archive", "build: {layout: {path: ARCHIVE, digest: DIGEST}}"},
		{"Dockerfile", "build: {docker: {}}"},
	} {
		t.Run(test.name, func(t *testing.T) { testRelease(t, newScene(t, test.build, "")) })
	}
}

func testRelease(t *testing.T, s *scene) {
	released := s.release(t, 0)
	if released.Outcome != "released" {
		t.Errorf("outcome %q, want released", released.Outcome)
	}
	t.Run("SBOM lists what dpkg and Python list", func(t *testing.T) { s.compareSBOM(t, released) })
	t.Run("grype finds the same", func(t *testing.T) { s.compareFindings(t, released) })
	t.Run("cosign verifies", func(t *testing.T) { s.cosignVerifies(t, released) })
	t.Run("hallmark verifies", func(t *testing.T) {
		code, out := s.hallmark(t, "verify", released.Image, "--config", filepath.Join(s.dir, "hallmark.yaml"))
		if code != 0 {
			t.Errorf("exit code %d:\n%s", code, out)
		}
	})
	t.Run("a second run adds nothing", func(t *testing.T) {
		again := s.release(t, 0)
		if again.Outcome != "already-released" || again.Image != released.Image {
			t.Errorf("outcome %q of %s, want already-released of %s", again.Outcome, again.Image, released.Image)
		}
	})
}

// TestRefused shows what the registry sees of an image the gate refuses.
func TestRefused(t *testing.T) {
	s := newScene(t, "build: {layout: {path: ARCHIVE, digest: DIGEST}}", "gate: {severity: medium}")
	if refused := s.release(t, 3); refused.Outcome != "refused" {
		t.Errorf("outcome %q, want refused", refused.Outcome)
	}
	if n := s.requests.count(); n != 0 {
		t.Errorf("the registry saw %d requests, want none: %v", n, s.requests.all)
	}
}

// compareSBOM wants the SBOM's packages to be those of the base and the application, no more and no fewer.
func (s *scene) compareSBOM(t *testing.T, released answer) {
	var sbom struct {
		Components []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			PURL    string `json:"purl"`
		} `json:"components"`
	}
	released.document(t, "sbom.cdx.json", &sbom)
	got := map[string][]string{}
	for _, c := range sbom.Components {
		kind, _, _ := strings.Cut(strings.TrimPrefix(c.PURL, "pkg:"), "/")
		got[kind] = append(got[kind], c.Name+" "+c.Version)
	}
	for kind, packages := range map[string][]debian.Package{
		"deb": s.base.Debian, "pypi": append(slices.Clone(s.base.Python), debian.Application),
	} {
		var want []string
		for _, p := range packages {
			if kind == "pypi" {
				p.Name = projectName(p.Name)
			}
			want = append(want, p.Name+" "+p.Version)
		}
		if diff := cmp.Diff(set(want), set(got[kind])); diff != "" {
			t.Errorf("%s packages (-installed +SBOM):\n%s", kind, diff)
		}
		t.Logf("%s: %d installed, %d in the SBOM", kind, len(set(want)), len(set(got[kind])))
	}
}

// projectName is the one spelling of a Python project's name, by PEP 503.
func projectName(name string) string {
	return strings.ToLower(regexp.MustCompile(`[-_.]+`).ReplaceAllString(name, "-"))
}

// compareFindings runs the grype command line on the image in the registry with the same database.
func (s *scene) compareFindings(t *testing.T, released answer) {
	var ours struct {
		Findings []struct {
			ID      string                         `json:"id"`
			Package struct{ Name, Version string } `json:"package"`
		} `json:"findings"`
	}
	released.document(t, "scan.json", &ours)
	var got []string
	for _, f := range ours.Findings {
		got = append(got, f.ID+" "+f.Package.Name+" "+f.Package.Version)
	}
	var theirs struct {
		Matches []struct {
			Vulnerability struct{ ID string }            `json:"vulnerability"`
			Artifact      struct{ Name, Version string } `json:"artifact"`
		} `json:"matches"`
	}
	out := s.peer(t, "grype", "--quiet", "--output", "json", "registry:"+released.Image)
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range theirs.Matches {
		want = append(want, m.Vulnerability.ID+" "+m.Artifact.Name+" "+m.Artifact.Version)
	}
	if len(want) == 0 {
		t.Fatal("grype found nothing: the comparison would prove nothing")
	}
	if diff := cmp.Diff(set(want), set(got)); diff != "" {
		t.Errorf("findings (-grype +hallmark):\n%s", diff)
	}
	t.Logf("%d findings of grype, %d of hallmark", len(set(want)), len(set(got)))
}

func (s *scene) cosignVerifies(t *testing.T, released answer) {
	who := []string{
		"--allow-insecure-registry", "--trusted-root", filepath.Join(s.state, "trusted-root.json"),
		"--certificate-identity", signer, "--certificate-oidc-issuer", issuer, released.Image,
	}
	s.peer(t, "cosign", append([]string{"verify"}, who...)...)
	for _, kind := range []string{"cyclonedx", "slsaprovenance1", "https://hallmark.sh/scan/v1"} {
		s.peer(t, "cosign", append([]string{"verify-attestation", "--type", kind}, who...)...)
	}
}

// peer runs a peer's program, fails the test if it fails, and returns what it wrote.
func (s *scene) peer(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("the peer took over five minutes"))
	defer cancel()
	cmd, err := peers.Command(ctx, s.home, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "GRYPE_DB_CACHE_DIR="+s.advisories, "GRYPE_REGISTRY_INSECURE_USE_HTTP=true")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args[0], err, stderr.String())
	}
	return stdout.Bytes()
}

// set sorts and leaves out repetitions: one package may show in two places.
func set(all []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(all)))
}
