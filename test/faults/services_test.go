//go:build faults

package faults_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// services are what a release asks of a Sigstore, by path.
var services = []struct{ name, path string }{
	{"certificate authority", "/api/v2/signingCert"},
	{"transparency log", "/api/v2/log/entries"},
	{"timestamp authority", "/api/v1/timestamp"},
}

// serviceFaults are what befalls them, and whether a patient client gets
// through.
var serviceFaults = []struct {
	name   string
	times  int
	do     http.HandlerFunc
	passes bool
}{
	{"500 once", 1, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oops", http.StatusInternalServerError) }, true},
	{"429 once", 1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "0")
		http.Error(w, "slowly", http.StatusTooManyRequests)
	}, true},
	{"reset once", 1, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true},
	{"down", 0, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false},
	{"400", 0, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not this", http.StatusBadRequest) }, false},
	{"200 with nonsense", 0, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }, false},
}

// sigstore is a private Sigstore on loopback whose services can be disturbed.
type sigstore struct {
	trust *localtrust.Local
	next  http.Handler

	mu    sync.Mutex
	path  string
	times int // left; below zero for ever
	do    http.HandlerFunc
}

func (g *sigstore) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	g.mu.Lock()
	do := g.do
	if req.URL.Path != g.path || g.times == 0 {
		do = nil
	} else if do != nil && g.times > 0 {
		g.times--
	}
	g.mu.Unlock()
	if do != nil {
		do(w, req)
		return
	}
	g.next.ServeHTTP(w, req)
}

func (g *sigstore) disturb(path string, times int, do http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if times == 0 {
		times = -1
	}
	g.path, g.times, g.do = path, times, do
}

// sigstoreFor starts a Sigstore in whose folder the scene's releases find what
// they need to sign with it.
func (s *scene) sigstoreFor() *sigstore {
	s.t.Helper()
	local, err := localtrust.Open(s.t.Context(), filepath.Join(s.dir, "..", "sigstore"), localtrust.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { local.Close() })
	g := &sigstore{trust: local, next: local.Handler()}
	server := httptest.NewServer(g)
	s.t.Cleanup(server.Close)
	if err := local.Serving(server.URL); err != nil {
		s.t.Fatal(err)
	}
	s.git("remote", "add", "origin", "https://github.com/acme/app") // whom the tokens are for
	return g
}

// privately points the policy at a Sigstore and a registry.
func (s *scene) privately(g *sigstore, server *registrytest.Server) {
	s.t.Helper()
	s.write("hallmark.yaml", fmt.Sprintf("version: 1\nimage: %s/app\nbuild: {go: {}}\nadvisories: {from: ../advisories}\n"+
		"identity: {issuer: %q, repository: acme/app, workflow: .github/workflows/release.yml, ref: refs/heads/main}\n"+
		"trust: {root: private, trusted-root: ../sigstore/trusted-root.json, signing-config: ../sigstore/signing-config.json}\n",
		server.Host, g.trust.Issuer()))
	claims := localtrust.GitHubClaims("acme/app", ".github/workflows/release.yml", "refs/heads/main", s.commit)
	token, err := g.trust.As(claims).Token(s.t.Context(), oidc.Audience)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, ".token"), []byte(token.Raw()), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// signing are the arguments of a release that signs with a Sigstore's token.
var signing = []string{"release", "--identity-token", ".token"}

// TestServiceFaults lets each service of a Sigstore fail while it is needed:
// the release ends with an error that says what to do, no tag is there, and
// once the service is back a second run completes it.
func TestServiceFaults(t *testing.T) {
	s := newScene(t, "linux/amd64")
	g := s.sigstoreFor()
	for _, service := range services {
		for _, fault := range serviceFaults {
			t.Run(fault.name+" at the "+service.name, func(t *testing.T) {
				s.t = t
				server := registrytest.Start(t, registrytest.Options{})
				s.privately(g, server)
				g.disturb(service.path, fault.times, fault.do)
				o := s.run(signing...)
				switch {
				case fault.passes && o.code != 0:
					t.Errorf("a passing fault ended the release: %s", o)
				case !fault.passes && o.code != 1:
					t.Errorf("exit code %d, wanted 1: %s", o.code, o)
				case !fault.passes && !strings.Contains(o.stderr, "hint: "):
					t.Errorf("an error without a hint: %s", o)
				}
				t.Logf("exit %d: %s", o.code, lastLines(o.stderr))
				if tag := s.sound(server, fault.name); tag != "" && !fault.passes {
					t.Error("a tag is there although nothing was signed")
				}
				g.disturb("", 0, nil)
				s.completesWith(server, fault.name, true, signing...)
			})
		}
	}
}

// TestInterruptedWhileServiceHangs ends a release that waits for a service.
func TestInterruptedWhileServiceHangs(t *testing.T) {
	s := newScene(t, "linux/amd64")
	g := s.sigstoreFor()
	for _, service := range services {
		t.Run(service.name, func(t *testing.T) {
			s.t = t
			server := registrytest.Start(t, registrytest.Options{})
			s.privately(g, server)
			waiting := make(chan struct{})
			var once sync.Once
			g.disturb(service.path, 0, func(_ http.ResponseWriter, req *http.Request) {
				io.Copy(io.Discard, req.Body) // only then does the server see that the client went away
				once.Do(func() { close(waiting) })
				<-req.Context().Done()
			})
			cmd, stdout, stderr := s.command(signing...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			within(t, "the request", waiting)
			cmd.Process.Signal(os.Interrupt)
			if o := ended(t, cmd.Wait(), stdout, stderr); o.code != 130 {
				t.Errorf("exit code %d, wanted 130: %s", o.code, o)
			}
			if s.sound(server, service.name) != "" {
				t.Error("a tag is there although nothing was signed")
			}
			g.disturb("", 0, nil)
			s.completesWith(server, service.name, true, signing...)
		})
	}
}
