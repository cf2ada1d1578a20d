//go:build faults

package faults_test

import (
	"bufio"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// registries are what the kills are tried against. The second refuses to
// overwrite any tag and has no referrers API: the hardest for who comes second.
var registries = []struct {
	name      string
	opts      registrytest.Options
	platforms string
	referrers bool
	// stride is how many requests lie between two kills, so that all of it
	// takes minutes; -every makes it one.
	stride int
}{
	{"referrers", registrytest.Options{}, "linux/amd64", true, 2},
	{"referrers, two platforms", registrytest.Options{}, "linux/amd64, linux/arm64", true, 11},
	{"immutable tags, no referrers", registrytest.Options{ImmutableTags: true, NoReferrers: true}, "linux/amd64", false, 2},
}

var every = flag.Bool("every", false, "kill a release at every request, not at some")

func stride(usual int) int {
	if *every {
		return 1
	}
	return usual
}

// TestKillAtEveryRequest kills the release with SIGKILL at each request it
// makes to the registry, before the request takes effect and after, and looks
// at what the registry is left with.
func TestKillAtEveryRequest(t *testing.T) {
	for _, kind := range registries {
		t.Run(kind.name, func(t *testing.T) {
			s := newScene(t, kind.platforms)
			server := s.server(kind.opts, kind.platforms)
			if o := s.run("release"); o.code != 0 {
				t.Fatalf("an undisturbed release: %s", o)
			}
			requests := len(server.Log())
			t.Logf("a release makes %d requests", requests)
			table := map[string]int{}
			for n := 1; n <= requests; n += stride(kind.stride) {
				for _, effect := range []bool{false, true} {
					when := fmt.Sprintf("killed at request %d, effect %v", n, effect)
					server := s.server(kind.opts, kind.platforms)
					what := s.killAt(server, n, effect)
					state := "no tag"
					if s.sound(server, when) != "" {
						state = "tag with full evidence"
					}
					table[what+", then "+state]++
					s.completes(server, when, kind.referrers)
				}
			}
			for row, count := range table {
				t.Logf("%3d × %s", count, row)
			}
		})
	}
}

// killAt runs a release that dies at its nth request, and says in what request
// that was; a run that makes fewer requests ends by itself.
func (s *scene) killAt(server *registrytest.Server, n int, effect bool) (what string) {
	s.t.Helper()
	cmd, stdout, stderr := s.command("release")
	var once sync.Once
	what = "ended before"
	server.Disturb(registrytest.Fault{From: n, Do: func(_ *registrytest.Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		if effect {
			next.ServeHTTP(httptest.NewRecorder(), req)
		}
		once.Do(func() {
			what = "killed at " + req.Method + " " + kindOf(req.URL.Path)
			cmd.Process.Signal(syscall.SIGKILL)
		})
		panic(http.ErrAbortHandler)
	}})
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if o := ended(s.t, cmd.Wait(), stdout, stderr); what != "ended before" && o.code != -1 {
		s.t.Fatalf("the release was to be killed: %s", o)
	}
	server.Calm()
	return what
}

func kindOf(path string) string {
	for _, kind := range []string{"blobs/uploads", "blobs", "manifests", "referrers", "tags"} {
		if strings.Contains(path, "/"+kind+"/") {
			return kind
		}
	}
	return path
}

// TestSignalAtEveryStage ends the release by signal as it enters each stage.
func TestSignalAtEveryStage(t *testing.T) {
	stages := []string{"build", "sbom", "scan", "push", "sign", "attach", "verify", "tag"}
	for _, sig := range []os.Signal{syscall.SIGKILL, os.Interrupt} {
		for _, stage := range stages {
			t.Run(fmt.Sprint(sig, " at ", stage), func(t *testing.T) {
				s := newScene(t, "linux/amd64")
				server := s.server(registrytest.Options{}, "linux/amd64")
				code := s.signalAt(stage, sig)
				if sig == os.Interrupt && code != 130 && code != 0 {
					t.Errorf("exit code %d, wanted 130", code)
				}
				before := map[string]bool{"build": true, "sbom": true, "scan": true}
				if n := len(server.Log()); before[stage] && code != 0 && n != 0 {
					t.Errorf("the registry saw %d requests before the gate", n)
				}
				s.sound(server, stage)
				s.completes(server, stage, true)
			})
		}
	}
}

// signalAt runs a release and sends it a signal when it says that it enters a
// stage; it gives the exit code.
func (s *scene) signalAt(stage string, sig os.Signal) int {
	s.t.Helper()
	cmd, stdout, stderr := s.command("release")
	cmd.Stderr = nil
	pipe, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	sent := false
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		stderr.WriteString(lines.Text() + "\n")
		if fields := strings.Fields(lines.Text()); !sent && len(fields) > 1 && fields[1] == stage {
			sent = true
			cmd.Process.Signal(sig)
		}
	}
	o := ended(s.t, cmd.Wait(), stdout, stderr)
	if !sent {
		s.t.Fatalf("the release never entered stage %s: %s", stage, o)
	}
	if sig == os.Interrupt && o.code == 130 && !strings.Contains(o.stderr, "interrupted") {
		s.t.Errorf("an interrupted release does not say so: %s", o)
	}
	return o.code
}
