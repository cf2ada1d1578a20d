//go:build faults

// Package faults_test breaks releases of the real program at every point where
// they can break, and looks at what is left: never a tag without full evidence,
// and always something that a second run completes.
package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/advisory/sample"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// scene is one repository to release, over and over, to registries of its own.
type scene struct {
	t       *testing.T
	program string
	dir     string // the git repository; trust and advisories lie beside it
	commit  string
}

func newScene(t *testing.T, platforms string) *scene {
	t.Helper()
	program, err := filepath.Abs("../../bin/hallmark")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("the program is not built: make build: %v", err)
	}
	s := &scene{t: t, program: program, dir: filepath.Join(t.TempDir(), "app")}
	sources := advisory.BuildOptions{Sources: sample.Sources(), Out: filepath.Join(s.dir, "..", "advisories"), Time: time.Now()}
	if _, err := advisory.Build(t.Context(), sources); err != nil {
		t.Fatal(err)
	}
	s.write("go.mod", "module example.test/app\n\ngo 1.25.0\n")
	s.write("main.go", "package main\n\nfunc main() { println(\"hello\") }\n")
	s.write(".gitignore", "hallmark.yaml\n.token\n")
	s.git("init", "--quiet", "--initial-branch=main")
	s.git("add", "--all")
	s.git("-c", "user.name=T", "-c", "user.email=t@example.test", "commit", "--quiet", "--message", "Say hello")
	s.commit = strings.TrimSpace(s.git("rev-parse", "HEAD"))
	s.policy("127.0.0.1:1/app", platforms)
	return s
}

// policy writes a policy for an image; it is not part of the commit, so that
// every run releases the same one.
func (s *scene) policy(image, platforms string) {
	s.write("hallmark.yaml", fmt.Sprintf("version: 1\nimage: %s\nbuild:\n  go: {package: ., platforms: [%s]}\n"+
		"trust: {root: local, state: ../trust}\nadvisories: {from: ../advisories}\n", image, platforms))
}

func (s *scene) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) git(args ...string) string {
	s.t.Helper()
	out, err := exec.Command("git", append([]string{"-C", s.dir}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return string(out)
}

// outcome is how a run of the program ended.
type outcome struct {
	code           int // -1 for a signal
	stdout, stderr string
}

func (o outcome) String() string { return fmt.Sprintf("exit %d\n%s%s", o.code, o.stdout, o.stderr) }

// command prepares a run; CI=true makes progress plain lines.
func (s *scene) command(args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := exec.Command(s.program, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "CI=true", "GITHUB_STEP_SUMMARY=", "GITHUB_OUTPUT=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	return cmd, &stdout, &stderr
}

func (s *scene) run(args ...string) outcome {
	s.t.Helper()
	cmd, stdout, stderr := s.command(args...)
	return ended(s.t, cmd.Run(), stdout, stderr)
}

func ended(t *testing.T, err error, stdout, stderr *bytes.Buffer) outcome {
	t.Helper()
	o := outcome{stdout: stdout.String(), stderr: stderr.String()}
	exit := (*exec.ExitError)(nil)
	switch {
	case errors.As(err, &exit):
		o.code = exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	return o
}

// server starts an empty registry and points the policy at it.
func (s *scene) server(opts registrytest.Options, platforms string) *registrytest.Server {
	s.t.Helper()
	server := registrytest.Start(s.t, opts)
	s.policy(server.Host+"/app", platforms)
	return server
}

// tagged asks the registry itself for the digest that the commit's tag names;
// empty for no tag.
func (s *scene) tagged(server *registrytest.Server) string {
	s.t.Helper()
	res, err := http.Get("http://" + server.Host + "/v2/app/manifests/" + s.commit)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return ""
	}
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("asking for the tag: %s", res.Status)
	}
	return res.Header.Get("Docker-Content-Digest")
}

// bundles counts the evidence that the registry lists for a digest.
func (s *scene) bundles(server *registrytest.Server, digest string, referrers bool) int {
	s.t.Helper()
	url := "http://" + server.Host + "/v2/app/referrers/" + digest
	if !referrers {
		url = "http://" + server.Host + "/v2/app/manifests/" + strings.Replace(digest, ":", "-", 1)
	}
	res, err := http.Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var index struct {
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.NewDecoder(res.Body).Decode(&index); err != nil {
		s.t.Fatal(err)
	}
	return len(index.Manifests)
}

// sound fails the test if the tag is there and the image does not verify.
func (s *scene) sound(server *registrytest.Server, when string) (tag string) {
	s.t.Helper()
	if tag = s.tagged(server); tag == "" {
		return ""
	}
	if o := s.run("verify", server.Host+"/app:"+s.commit); o.code != 0 {
		s.t.Errorf("%s: a tag whose image does not verify: %s", when, o)
	}
	return tag
}

// completes runs the release again, undisturbed, and fails the test unless it
// ends with a tag, full evidence and nothing twice.
func (s *scene) completes(server *registrytest.Server, when string, referrers bool) {
	s.t.Helper()
	s.completesWith(server, when, referrers, "release")
}

func (s *scene) completesWith(server *registrytest.Server, when string, referrers bool, args ...string) {
	s.t.Helper()
	server.Calm()
	if o := s.run(args...); o.code != 0 {
		s.t.Errorf("%s: the second run: %s", when, o)
		return
	}
	digest := s.sound(server, when+", second run")
	if digest == "" {
		s.t.Errorf("%s: the second run set no tag", when)
		return
	}
	if n := s.bundles(server, digest, referrers); n != 4 {
		s.t.Errorf("%s: %d bundles after the second run, wanted 4", when, n)
	}
}

// within bounds a wait for something that must happen.
func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%s did not happen", what)
	}
}
