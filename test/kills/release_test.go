//go:build kills

package kills_test

import (
	"encoding/json"
	"fmt"
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

// scene is a repository whose images were released with all evidence, and the
// policy they are judged by.
type scene struct {
	dir    string
	images []*verified
}

// release makes images with hallmark release, in a registry of the test's.
func release(t *testing.T, count int) *scene {
	t.Helper()
	top := t.TempDir()
	s := &scene{dir: filepath.Join(top, "app")}
	sources := advisory.BuildOptions{Sources: sample.Sources(), Out: filepath.Join(top, "advisories"), Time: time.Now()}
	if _, err := advisory.Build(t.Context(), sources); err != nil {
		t.Fatal(err)
	}
	host := registrytest.Start(t, registrytest.Options{}).Host
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "CI=true", "GITHUB_STEP_SUMMARY=", "GITHUB_OUTPUT=")
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, errs.String())
		}
		return strings.TrimSpace(string(out))
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write("go.mod", "module example.test/app\n\ngo 1.25.0\n")
	write(".gitignore", "hallmark.yaml\n")
	write("hallmark.yaml", fmt.Sprintf("version: 1\nimage: %s/app\nbuild:\n  go: {package: ., platforms: [linux/amd64]}\n"+
		"trust: {root: local, state: ../trust}\nadvisories: {from: ../advisories}\n", host))
	run("git", "init", "--quiet", "--initial-branch=main")
	for n := range count {
		write("main.go", fmt.Sprintf("package main\n\nfunc main() { println(%d) }\n", n))
		run("git", "add", "--all")
		run("git", "-c", "user.name=T", "-c", "user.email=t@example.test", "commit", "--quiet", "--message", fmt.Sprint("Say ", n))
		run(program(t), "release")
		s.images = append(s.images, &verified{image: host + "/app:" + run("git", "rev-parse", "HEAD")})
	}
	return s
}

// prepare takes each verified image in once, to know what it holds, and one
// document that every data set has something to say about.
func (c *checker) prepare(l *life) {
	c.t.Helper()
	for _, v := range c.verified {
		got, ok := take(l, v.image)
		if !ok || got.Result != "stored" || got.Packages == 0 {
			c.t.Fatalf("taking in %s: %+v", v.image, got)
		}
		v.digest, v.evidence, v.packages = got.Digest, got.Evidence, got.Packages
		v.records, v.standing = 1, true
	}
	n, _ := c.take()
	d := documentOf(n)
	r := l.send("POST", "/v1/sboms?image="+d.image, "application/json", d.raw)
	var got result
	if err := json.Unmarshal(r.body, &got); err != nil || got.Result != "stored" {
		c.t.Fatalf("%d %s", r.status, r.body)
	}
	c.settle(n, true)
}
