//go:build faults

package faults_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// steps are the requests of a release by what they are for.
var steps = []struct{ name, method, path string }{
	{"login", "GET", `^/v2/$`},
	{"looking for the tag", "", `/manifests/[0-9a-f]{40}$`},
	{"reading evidence", "GET", `/referrers/`},
	{"looking for a blob", "HEAD", `/blobs/`},
	{"starting an upload", "POST", `/blobs/uploads/`},
	{"sending a blob", "(PUT|PATCH)", `/blobs/uploads/`},
	{"storing a manifest", "PUT", `/manifests/sha256:`},
	{"reading a manifest", "GET", `/manifests/sha256:`},
	{"setting the tag", "PUT", `/manifests/[0-9a-f]{40}$`},
}

// faults are what goes wrong, and whether a patient client gets through.
var faults = []struct {
	name   string
	times  int
	do     registrytest.Disturbance
	passes bool
}{
	{"401", 0, registrytest.Status(http.StatusUnauthorized, "UNAUTHORIZED", "who are you"), false},
	{"403", 0, registrytest.Status(http.StatusForbidden, "DENIED", "not you"), false},
	{"429 once", 1, registrytest.TooMany("0"), true},
	{"500 once", 1, registrytest.Status(http.StatusInternalServerError, "UNKNOWN", "oops"), true},
	{"reset once", 1, registrytest.Reset(), true},
	{"500 always", 0, registrytest.Status(http.StatusInternalServerError, "UNKNOWN", "oops"), false},
}

// TestFaultAtEveryStep lets the registry fail at each step of a release.
func TestFaultAtEveryStep(t *testing.T) {
	s := newScene(t, "linux/amd64")
	for _, fault := range faults {
		for _, step := range steps {
			for _, method := range strings.Split(strings.Trim(step.method, "()"), "|") {
				s.faulty(t, fmt.Sprintf("%s at %s", fault.name, step.name), registrytest.Fault{
					Method: method, Path: step.path, Times: fault.times, Do: fault.do,
				}, fault.passes)
			}
		}
	}
}

func (s *scene) faulty(t *testing.T, when string, f registrytest.Fault, passes bool) {
	t.Run(when, func(t *testing.T) {
		s.t = t
		server := s.server(registrytest.Options{}, "linux/amd64")
		hit := false
		do := f.Do
		f.Do = func(sv *registrytest.Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
			hit = true
			do(sv, w, req, next)
		}
		server.Disturb(f)
		o := s.run("release")
		server.Calm()
		switch {
		case !hit:
			t.Logf("a release makes no such request")
		case passes && o.code != 0:
			t.Errorf("a passing fault ended the release: %s", o)
		case !passes && o.code != 0 && o.code != 1:
			t.Errorf("exit code %d, wanted 1 (or 0, where another way led there): %s", o.code, o)
		case o.code == 1 && !strings.Contains(o.stderr, "hint: "):
			t.Errorf("an error without a hint: %s", o)
		}
		t.Logf("exit %d: %s", o.code, lastLines(o.stderr))
		s.sound(server, when)
		s.completes(server, when, true)
	})
}

// lastLines gives the error and the hint, without the progress before them.
func lastLines(stderr string) string {
	at := strings.Index(stderr, "hallmark: ")
	if at < 0 {
		return "no error"
	}
	return strings.TrimSpace(stderr[at:])
}

// TestLyingRegistry lets the registry store or tell something else than it was
// given.
func TestLyingRegistry(t *testing.T) {
	s := newScene(t, "linux/amd64")
	for name, do := range map[string]registrytest.Disturbance{
		"digest in a header": registrytest.LieInHeader(), "body": registrytest.LieInBody(), "half a body": registrytest.Truncate(),
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			server := s.server(registrytest.Options{}, "linux/amd64")
			server.Disturb(registrytest.Fault{Method: "GET", Path: `/manifests/sha256:`, Do: do})
			if o := s.run("release"); o.code != 1 {
				t.Errorf("exit code %d, wanted 1: %s", o.code, o)
			}
			server.Calm()
			s.sound(server, name)
			s.completes(server, name, true)
		})
	}
}

// TestInterruptedWhileRegistryHangs ends a release that waits for an answer
// which never comes.
func TestInterruptedWhileRegistryHangs(t *testing.T) {
	s := newScene(t, "linux/amd64")
	for _, step := range steps[2:7] {
		t.Run(step.name, func(t *testing.T) {
			s.t = t
			server := s.server(registrytest.Options{}, "linux/amd64")
			cmd, stdout, stderr := s.command("release")
			waiting := make(chan struct{})
			hang := registrytest.Hang()
			server.Disturb(registrytest.Fault{Path: step.path, Times: 1, Do: func(sv *registrytest.Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
				close(waiting)
				hang(sv, w, req, next)
			}})
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			within(t, "the request", waiting)
			cmd.Process.Signal(os.Interrupt)
			if o := ended(t, cmd.Wait(), stdout, stderr); o.code != 130 {
				t.Errorf("exit code %d, wanted 130: %s", o.code, o)
			}
			s.sound(server, step.name)
			s.completes(server, step.name, true)
		})
	}
}
