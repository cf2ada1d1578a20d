//go:build actions

// Package actions_test executes the reusable workflows, as a runner of GitHub
// Actions does, on a real git repository, with the program, the registry, the
// Sigstore services and the endpoint for identity tokens all on this machine.
//
// What it cannot show: GitHub's own checks before a run starts, its artifact
// store, and that the claims of a token are true; here the test says them.
package actions_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/advisory/sample"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
	"github.com/hallmark-sh/hallmark/test/peers"
)

// workflowPath is the reusable workflow by the name its identity has.
const workflowPath = "hallmark-sh/hallmark/.github/workflows/release.yml"

// scene is the world of one test: GitHub's parts, the product's repository as a
// caller would fetch it, and one caller.
type scene struct {
	t        *testing.T
	program  string // bin/hallmark
	runner   string // act
	home     string
	harness  string // what the jobs leave for the test to see
	product  string // the repository of the action and the workflows
	app      string // the caller's working tree
	trust    *localtrust.Local
	registry *registrytest.Server
	tokens   *tokenEndpoint
	signing  string // the address of the Sigstore services
	api      string // the address of GitHub's API
	comments *comments
	down     atomic.Pointer[string] // the path of the Sigstore service that is down
}

func newScene(t *testing.T) *scene {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &scene{
		t: t, program: filepath.Join(top, "bin/hallmark"), runner: peers.Need(t, "act"),
		home: filepath.Join(dir, "home"), harness: filepath.Join(dir, "harness"), product: filepath.Join(dir, "product"), app: filepath.Join(dir, "github/acme/app"),
	}
	s.registry = registrytest.Start(t, registrytest.Options{})
	for _, folder := range []string{s.home, s.harness, s.product, s.app} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if s.trust, err = localtrust.Open(t.Context(), filepath.Join(dir, "trust"), localtrust.Options{}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down := s.down.Load(); down != nil && strings.HasPrefix(r.URL.Path, *down) {
			http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
			return
		}
		s.trust.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.signing = server.URL
	s.tokens = serveTokens(t, s.trust)
	s.comments = &comments{}
	gitHubAPI := httptest.NewServer(s.comments)
	t.Cleanup(gitHubAPI.Close)
	s.api = gitHubAPI.URL
	s.gitHub(filepath.Join(dir, "github"))
	s.caller(s.advisories(filepath.Join(dir, "advisories")))
	s.publish(top, filepath.Join(dir, "downloads"))
	return s
}

// environment is all that a step of a job finds, besides what the runner sets.
func (s *scene) environment() []string {
	env := []string{"HOME=" + s.home, "PATH=" + os.Getenv("PATH"), "XDG_CACHE_HOME=" + filepath.Join(s.home, "cache"), "DOCKER_HOST=unix:///nonexistent"}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOTOOLCHAIN", "GOFLAGS", "GONOSUMDB", "GOSUMDB"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			s.t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(out)))
	}
	return env
}

// gitHub serves the caller's repository by git's own server, and tells git that
// this is github.com.
func (s *scene) gitHub(root string) {
	s.t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	server := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_PROTOCOL=version=2",
			"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", "GIT_CONFIG_KEY_1=uploadpack.allowFilter", "GIT_CONFIG_VALUE_1=true"},
	})
	s.t.Cleanup(server.Close)
	config := fmt.Sprintf("[url %q]\n\tinsteadOf = https://github.com/\n[user]\n\tname = T\n\temail = t@example.test\n", server.URL+"/")
	s.write(filepath.Join(s.home, ".gitconfig"), config)
}

// advisories serves a small database and gives its address.
func (s *scene) advisories(dir string) string {
	s.t.Helper()
	if _, err := advisory.Build(s.t.Context(), advisory.BuildOptions{Sources: sample.Sources(), Out: dir, Time: time.Now()}); err != nil {
		s.t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	s.t.Cleanup(server.Close)
	return server.URL
}

// caller makes the repository acme/app, which releases by the reusable workflow.
func (s *scene) caller(advisories string) {
	s.t.Helper()
	config, err := s.trust.SigningConfig(s.signing)
	if err != nil {
		s.t.Fatal(err)
	}
	policy := fmt.Sprintf(`version: 1
image: %s/acme/app
build:
  go: {package: .}
advisories: {from: %q}
identity:
  issuer: %s
  repository: acme/app
  workflow: %s@%s
  ref: refs/heads/main
trust: {root: private, trusted-root: trust/root.json, signing-config: trust/signing.json}
admission: {tuf-mirror: %q, tuf-root: trust/tuf-root.json}
`, s.registry.Host, advisories, s.trust.Issuer(), workflowPath, commit, s.signing+localtrust.PathTUF)
	tuf, err := os.ReadFile(filepath.Join(s.trust.Dir(), localtrust.TUFRootFile))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"go.mod": "module example.test/app\n\ngo 1.25.0\n", "main.go": "package main\n\nfunc main() { println(\"hello\") }\n",
		"hallmark.yaml": policy, "trust/root.json": string(s.trust.TrustedRoot()), "trust/signing.json": string(config), "trust/tuf-root.json": string(tuf),
		// What the attest job would run, were it to run anything of this repository.
		"Makefile": "$(shell touch $(HARNESS)/ran-makefile)\n", "action.yml": trap("action"), "action/install.sh": trap("install"), "hallmark": trap("program"),
		"inspect.sh":               inspect,
		".github/workflows/ci.yml": callerWorkflow, ".github/workflows/pr.yml": callerCheck,
	} {
		s.write(filepath.Join(s.app, name), text)
	}
	s.git("init", "--quiet", "--initial-branch=main")
	s.git("remote", "add", "origin", "https://github.com/acme/app")
	s.commit()
}

func trap(name string) string {
	return fmt.Sprintf("#!/bin/sh\ntouch \"$HARNESS/ran-%s\"\n", name)
}

// inspect is the caller's build command: code of the repository, which looks for
// whatever it could misuse.
const inspect = `env >"$HARNESS/environment-of-build"
cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep '^ACTIONS_ID_TOKEN_REQUEST_TOKEN=' >"$HARNESS/tokens-in-build" || true
touch "$HARNESS/ran-in-$GITHUB_JOB"
`

const callerWorkflow = `name: ci
on: push
permissions: {}
jobs:
  release:
    permissions: {contents: read, id-token: write, packages: write, security-events: write}
    uses: hallmark-sh/hallmark/.github/workflows/release.yml@` + commit + `
    with:
      command: bash inspect.sh
  deploy:
    needs: release
    runs-on: ubuntu-24.04
    permissions: {}
    steps:
      - env:
          IMAGE: ${{ needs.release.outputs.image }}
          DIGEST: ${{ needs.release.outputs.digest }}
          TAG: ${{ needs.release.outputs.tag }}
        run: echo "deploying $IMAGE $DIGEST $TAG" | tee "$HARNESS/deployed"
`

const callerCheck = `name: pr
on: pull_request
permissions: {}
jobs:
  check:
    permissions: {contents: read, packages: read, pull-requests: write, security-events: write}
    uses: hallmark-sh/hallmark/.github/workflows/check.yml@` + commit + `
    with:
      command: bash inspect.sh
`

// publish makes what a release of hallmark publishes, and the product's
// repository with a pin of it.
func (s *scene) publish(top, downloads string) {
	s.t.Helper()
	const version = "v0.0.1"
	folder := filepath.Join(downloads, version)
	archive := filepath.Join(folder, "hallmark_0.0.1_linux_amd64.tar.gz")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.must(exec.Command("tar", "--use-compress-program=gzip -1", "-cf", archive, "-C", filepath.Dir(s.program), "hallmark"))
	s.attest(archive, version)
	sum := strings.Fields(s.must(exec.Command("sha256sum", archive)))[0]
	server := httptest.NewServer(http.FileServer(http.Dir(downloads)))
	s.t.Cleanup(server.Close)

	for _, name := range []string{"action", ".github/workflows"} {
		if err := os.CopyFS(filepath.Join(s.product, name), os.DirFS(filepath.Join(top, name))); err != nil {
			s.t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(top, "action.yml"))
	if err != nil {
		s.t.Fatal(err)
	}
	// The runner says that GitHub's API is GitHub's, whatever its environment says.
	api := strings.Replace(string(text), "        COMMAND: ", "        GITHUB_API_URL: "+s.api+"\n        COMMAND: ", 1)
	s.write(filepath.Join(s.product, "action.yml"), api)
	for _, script := range []string{"install.sh", "run.sh"} {
		if err := os.Chmod(filepath.Join(s.product, "action", script), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	s.write(filepath.Join(s.product, "action/root.json"), string(s.trust.TrustedRoot()))
	s.pin(version, server.URL, sum)
	for _, name := range []string{"release.yml", "check.yml"} {
		granted := grantTokens(s.t, filepath.Join(s.product, ".github/workflows", name), s.tokens.url, s.tokens.secret)
		if want := map[string]string{"release.yml": "[attest]", "check.yml": "[]"}[name]; fmt.Sprint(granted) != want {
			s.t.Fatalf("%s grants identity tokens to %v, wanted %s", name, granted, want)
		}
	}
}

func (s *scene) pin(version, url, sum string) {
	s.write(filepath.Join(s.product, "action/pin"), fmt.Sprintf("version %s\nurl %s\nidentity https://github.com/hallmark-sh/hallmark/.github/workflows/publish.yml@refs/tags/%s\nissuer %s\ntrusted-root root.json\nlinux_amd64 %s\nlinux_arm64 %s\n",
		version, url, version, s.trust.Issuer(), sum, sum))
}

// attest gives the archive provenance by hallmark's own release workflow.
func (s *scene) attest(archive, version string) {
	s.t.Helper()
	dir := s.t.TempDir()
	config, err := s.trust.SigningConfig(s.signing)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(filepath.Join(dir, "root.json"), string(s.trust.TrustedRoot()))
	s.write(filepath.Join(dir, "signing.json"), string(config))
	s.write(filepath.Join(dir, ".gitignore"), "token\n")
	s.write(filepath.Join(dir, "hallmark.yaml"), fmt.Sprintf("version: 1\nimage: ghcr.io/hallmark-sh/hallmark\nidentity: {issuer: %s, repository: hallmark-sh/hallmark, workflow: .github/workflows/publish.yml}\n"+
		"trust: {root: private, trusted-root: root.json, signing-config: signing.json}\n", s.trust.Issuer()))
	git := func(args ...string) string { return s.gitIn(dir, args...) }
	git("init", "--quiet", "--initial-branch=main")
	git("remote", "add", "origin", "https://github.com/hallmark-sh/hallmark")
	git("add", "--all")
	git("commit", "--quiet", "--message", "Release")
	claims := localtrust.GitHubClaims("hallmark-sh/hallmark", ".github/workflows/publish.yml", "refs/tags/"+version, git("rev-parse", "HEAD"))
	token, err := s.trust.Mint(claims, oidc.Audience)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(filepath.Join(dir, "token"), token.Raw())
	cmd := exec.Command(s.program, "attest", archive, "--identity-token", "token")
	cmd.Dir = dir
	// No git configuration here: the origin must read as github.com.
	cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1")
	s.must(cmd)
}

// tokenEndpoint is GitHub's endpoint for identity tokens.
type tokenEndpoint struct {
	url, secret string

	mu     sync.Mutex
	claims oidc.Claims
	issuer *localtrust.Local
	// short is how many tokens are to be given that are about to expire.
	short int
	asked int
}

func serveTokens(t *testing.T, trust *localtrust.Local) *tokenEndpoint {
	t.Helper()
	e := &tokenEndpoint{secret: rand.Text(), issuer: trust}
	// The same issuer, nine and a half minutes ago: what it mints lives for
	// another thirty seconds.
	late, err := localtrust.Open(t.Context(), trust.Dir(), localtrust.Options{Now: func() time.Time { return time.Now().Add(-570 * time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !strings.EqualFold(r.Header.Get("Authorization"), "bearer "+e.secret) {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		e.asked++
		from := e.issuer
		if e.asked <= e.short {
			from = late
		}
		token, err := from.Mint(e.claims, r.URL.Query().Get("audience"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"value": token.Raw()})
	}))
	t.Cleanup(server.Close)
	e.url = server.URL + "/token?api-version=2.0"
	return e
}

// run sets the claims of the caller's run and how many of its tokens are about
// to expire.
func (e *tokenEndpoint) run(ref, sha string, short int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.claims = localtrust.GitHubClaims("acme/app", ".github/workflows/ci.yml", ref, sha)
	e.claims.JobWorkflowRef, e.claims.JobWorkflowSHA = workflowPath+"@"+commit, commit
	e.claims.RunnerEnvironment = "github-hosted"
	e.short, e.asked = short, 0
}

func (e *tokenEndpoint) requests() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked
}

func (s *scene) write(path, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) must(cmd *exec.Cmd) string {
	s.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

func (s *scene) git(args ...string) string { return s.gitIn(s.app, args...) }

func (s *scene) gitIn(dir string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+s.home, "GIT_CONFIG_NOSYSTEM=1")
	return strings.TrimSpace(s.must(cmd))
}

// commit commits the caller's tree and tells the token endpoint what the next
// run is for.
func (s *scene) commit() string {
	s.t.Helper()
	s.git("add", "--all")
	s.git("commit", "--quiet", "--allow-empty", "--message", "Work")
	return s.begin(0)
}

// begin sets the claims for a run on what is checked out.
func (s *scene) begin(short int) string {
	s.t.Helper()
	sha := s.git("rev-parse", "HEAD")
	s.tokens.run(s.git("symbolic-ref", "HEAD"), sha, short)
	return sha
}

// left says what the jobs left in the harness under a name; empty for nothing.
func (s *scene) left(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.harness, name))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *scene) exists(name string) bool {
	_, err := os.Stat(filepath.Join(s.harness, name))
	return err == nil
}

// tagged asks the registry for the digest that a tag names; empty for none.
func (s *scene) tagged(tag string) string {
	s.t.Helper()
	res, err := http.Get("http://" + s.registry.Host + "/v2/acme/app/manifests/" + tag)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode == http.StatusNotFound {
		return ""
	}
	return res.Header.Get("Docker-Content-Digest")
}

// writes counts the requests that would change the registry.
func (s *scene) writes() (n int) {
	for _, request := range s.registry.Log() {
		if request.Method != http.MethodGet && request.Method != http.MethodHead {
			n++
		}
	}
	return n
}

// layoutOf builds what is checked out, as the build job will.
func (s *scene) layoutOf(dir string) {
	s.t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.program, "build", "--out", dir)
	cmd.Dir = s.app
	s.must(cmd)
}

// appendToLargest changes the largest file of a folder by a byte.
func (s *scene) appendToLargest(dir string) {
	s.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	var name string
	var size int64
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Size() > size {
			name, size = filepath.Join(dir, entry.Name()), info.Size()
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	s.write(name, string(text))
}

// verify judges an image by a policy file, as a person would.
func (s *scene) verify(image string, flags ...string) (string, error) {
	cmd := exec.Command(s.program, append([]string{"verify", image}, flags...)...)
	cmd.Dir = s.app
	out, err := cmd.CombinedOutput()
	return string(out), err
}
