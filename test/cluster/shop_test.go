//go:build node && cluster

package cluster_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/advisory/sample"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/test/cluster"
)

// shop is a world with a product in it: a git repository that hallmark releases and whose hallmark.yaml makes the
// policies.
type shop struct {
	*world
	app string
}

const product = `package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	fmt.Println(%q)
	<-told
}
`

// newShop makes the product with lines of its own under admission.
func newShop(t *testing.T, admission string) *shop {
	t.Helper()
	s := &shop{world: newWorld(t)}
	s.app = filepath.Join(s.dir, "app")
	if _, err := advisory.Build(t.Context(), advisory.BuildOptions{Sources: sample.Sources(), Out: filepath.Join(s.dir, "advisories"), Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	advisories := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(s.dir, "advisories"))))
	t.Cleanup(advisories.Close)
	signing, err := s.trust.SigningConfig(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	tuf, err := os.ReadFile(filepath.Join(s.trust.Dir(), localtrust.TUFRootFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.app, "trust"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		"go.mod":     "module example.test/app\n\ngo 1.25.0\n",
		".gitignore": "token\n",
		"hallmark.yaml": fmt.Sprintf(`version: 1
image: %s/acme/app
build:
  go: {package: ., platforms: [linux/amd64, linux/arm64]}
advisories: {from: %q}
identity: {issuer: %s, repository: %s, workflow: %s, ref: %s}
trust: {root: private, trusted-root: trust/root.json, signing-config: trust/signing.json}
admission:
  mode: enforce
  tuf-mirror: %q
  tuf-root: trust/tuf-root.json
%s`, s.host, advisories.URL, s.trust.Issuer(), repository, workflow, branch, s.server.URL+localtrust.PathTUF, admission),
		"trust/root.json":     string(s.trust.TrustedRoot()),
		"trust/signing.json":  string(signing),
		"trust/tuf-root.json": string(tuf),
	} {
		if err := os.WriteFile(filepath.Join(s.app, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if s.policy, err = policy.Read(filepath.Join(s.app, "hallmark.yaml")); err != nil {
		t.Fatal(err)
	}
	s.git("init", "--quiet", "--initial-branch=main")
	s.git("remote", "add", "origin", "https://github.com/"+repository)
	return s
}

func (s *shop) git(args ...string) string {
	s.t.Helper()
	return s.run("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.test"}, args...)...)
}

// run runs a program in the repository, with nothing of the user's settings but Go's caches.
func (s *shop) run(program string, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), program, args...)
	cmd.Dir = s.app
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GIT_CONFIG_NOSYSTEM=1"}
	for _, setting := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOTOOLCHAIN"} {
		value, err := exec.CommandContext(s.t.Context(), "go", "env", setting).Output()
		if err != nil {
			s.t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, setting+"="+strings.TrimSpace(string(value)))
	}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, out, said.String())
	}
	return strings.TrimSpace(string(out))
}

func (s *shop) hallmark(args ...string) string {
	s.t.Helper()
	program, err := filepath.Abs("../../bin/hallmark")
	if err != nil {
		s.t.Fatal(err)
	}
	return s.run(program, args...)
}

func (s *shop) commit(hello string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.app, "main.go"), fmt.Appendf(nil, product, hello), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.git("add", "--all")
	s.git("commit", "--quiet", "--allow-empty", "--message", hello)
}

// release releases a commit of the product, which says hello, as the product's workflow would.
func (s *shop) release(hello string) (index, platform name.Digest) {
	s.t.Helper()
	s.commit(hello)
	token, err := s.trust.Mint(localtrust.GitHubClaims(repository, workflow, branch, s.git("rev-parse", "HEAD")), oidc.Audience)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.app, "token"), []byte(token.Raw()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	var answer struct {
		Digest    string
		Platforms map[string]string
	}
	if err := json.Unmarshal([]byte(s.hallmark("release", "--identity-token", "token", "--json")), &answer); err != nil {
		s.t.Fatal(err)
	}
	return s.policy.Repository().Digest(answer.Digest), s.policy.Repository().Digest(answer.Platforms["linux/amd64"])
}

// unsigned pushes an image that would run as well as any, and that nobody released.
func (s *shop) unsigned(hello string) name.Digest {
	s.t.Helper()
	s.commit(hello)
	var answer struct{ Digest string }
	folder := s.t.TempDir()
	if err := json.Unmarshal([]byte(s.hallmark("build", "--out", folder, "--json")), &answer); err != nil {
		s.t.Fatal(err)
	}
	built, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		s.t.Fatal(err)
	}
	digest, err := v1.NewHash(answer.Digest)
	if err != nil {
		s.t.Fatal(err)
	}
	image, err := built.ImageIndex(digest)
	if err != nil {
		s.t.Fatal(err)
	}
	ref := s.policy.Repository().Digest(answer.Digest)
	if err := remote.WriteIndex(ref, image); err != nil {
		s.t.Fatal(err)
	}
	return ref
}

// startNode starts a cluster with a node, in which the product's policies hold.
func (s *shop) startNode(t *testing.T) *cluster.Cluster {
	t.Helper()
	c := startBare(t, cluster.Options{Node: true})
	apply(t, c, []byte(s.hallmark("policy", "render")))
	enforced(t, c, s.world)
	return c
}
