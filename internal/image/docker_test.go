//go:build docker

package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/moby/moby/client"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/test/engine"
)

// shell stands for a shell in the images the tests build: it says its
// arguments and writes them to the file /said, and fails when told to.
const shell = `package main

import (
	"fmt"
	"os"
)

func main() {
	for i := 1; i < len(os.Args); i++ {
		fmt.Println("saying", os.Args[i])
	}
	if os.Args[1] == "fail" {
		fmt.Fprintln(os.Stderr, "\x1b[31mthis went wrong")
		os.Exit(3)
	}
	if os.Args[1] == "hang" {
		select {}
	}
	if err := os.WriteFile("/said", []byte(fmt.Sprint(os.Args[1:])), 0o644); err != nil {
		panic(err)
	}
}
`

func compileShell(t *testing.T) []byte {
	t.Helper()
	dir := tree{"go.mod": []byte("module shell\n\ngo 1.21\n"), "main.go": []byte(shell)}.writeTo(t.TempDir())
	cmd := exec.Command("go", "build", "-o", "shell", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return must(os.ReadFile(filepath.Join(dir, "shell")))
}

// startEngine runs an engine that holds the image tiny:1, with a program
// /shell in it.
func startEngine(t *testing.T) *engine.Engine {
	t.Helper()
	e := engine.Start(t)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	program := compileShell(t)
	check(w.WriteHeader(&tar.Header{Name: "shell", Mode: 0o755, Size: int64(len(program))}))
	must(w.Write(program))
	check(w.Close())
	check(e.Import(t.Context(), "tiny:1", &buf))
	return e
}

// lines keeps what a build says.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.all, func(line string) bool { return strings.Contains(line, part) })
}

func runDocker(t *testing.T, e *engine.Engine, src source.Source, b policy.DockerBuild) (Built, *lines, error) {
	t.Helper()
	said := &lines{}
	dir := filepath.Join(t.TempDir(), "image")
	built, err := Build(t.Context(), src, policy.Build{Docker: &b}, Options{Dir: dir, DockerHost: e.Host, Repository: "registry.test/app", Progress: said.add})
	if err != nil {
		names(t, filepath.Dir(dir))
	}
	noLeftovers(t, e)
	return built, said, err
}

// noLeftovers looks for images the build left in the engine by name.
func noLeftovers(t *testing.T, e *engine.Engine) {
	t.Helper()
	list, err := e.Client().ImageList(t.Context(), client.ImageListOptions{})
	check(err)
	for _, i := range list.Items {
		for _, tag := range i.RepoTags {
			if strings.Contains(tag, temporaryName) {
				t.Errorf("the engine still has %s", tag)
			}
		}
	}
}

func TestDocker(t *testing.T) {
	e := startEngine(t)
	t.Run("scratch", func(t *testing.T) { testScratch(t, e) })
	t.Run("run step", func(t *testing.T) { testRunStep(t, e) })
	t.Run("refusals", func(t *testing.T) { testDockerRefuses(t, e) })
	t.Run("twins", func(t *testing.T) { testDockerTwins(t, e) })
	t.Run("cancel", func(t *testing.T) { testDockerCancelled(t, e) })
}

func testScratch(t *testing.T, e *engine.Engine) {
	files := tree{
		"Dockerfile":    []byte("FROM scratch\nARG SOURCE_DATE_EPOCH\nARG NAME\nLABEL name=$NAME epoch=$SOURCE_DATE_EPOCH\nCOPY . /app/\nUSER 10\nENTRYPOINT [\"/app/a\"]\n"),
		".dockerignore": []byte("*.md\n"),
		"a":             []byte("a"),
		"b.md":          []byte("left out"),
		".gitignore":    []byte("noise\n"),
	}
	src := commitTree(t, files)
	check(os.WriteFile(filepath.Join(src.Dir, "noise"), []byte("not committed"), 0o644))
	first, said, err := runDocker(t, e, src, policy.DockerBuild{Args: map[string]string{"NAME": "n"}})
	if err != nil {
		t.Fatal(err)
	}
	if first.Builder != "docker" || len(first.Materials) != 0 || first.Tools["docker"] == "" {
		t.Errorf("built %+v", first)
	}
	if diff := cmp.Diff(map[string]any{"args": map[string]any{"NAME": "n"}}, first.Parameters); diff != "" {
		t.Errorf("Parameters (-want +got):\n%s", diff)
	}
	if !said.has("COPY . /app/") {
		t.Errorf("progress lacks the step: %q", said.all)
	}
	img := must(first.Image(first.Platforms[0]))
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	config := must(img.ConfigFile())
	if !config.Created.Equal(committed) || config.Config.User != "10" || config.Config.Labels["name"] != "n" || config.Config.Labels["epoch"] != "1714972089" {
		t.Errorf("config %+v", config)
	}
	for _, h := range config.History {
		if !h.Created.Equal(committed) {
			t.Errorf("history %+v", h)
		}
	}
	if got := must(img.Manifest()).Annotations["org.opencontainers.image.revision"]; got != src.Commit {
		t.Errorf("revision %q", got)
	}
	want := []string{"app/", "app/.dockerignore", "app/.gitignore", "app/Dockerfile", "app/a"}
	if diff := cmp.Diff(want, entries(t, readAll(t, must(img.Layers())[0].Uncompressed))); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}

	again := must(source.Open(t.Context(), cloneOf(t, src)))
	second, _, err := runDocker(t, e, again, policy.DockerBuild{Args: map[string]string{"NAME": "n"}})
	if err != nil {
		t.Fatal(err)
	}
	if first.Digest != second.Digest {
		t.Errorf("%s from one checkout, %s from the other", first.Digest, second.Digest)
	}
}

func cloneOf(t *testing.T, src source.Source) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	git(t, src.Dir, "clone", "-q", src.Dir, dir)
	git(t, dir, "remote", "set-url", "origin", "git@example.com:acme/checkout.git")
	return dir
}

func entries(t *testing.T, layer []byte) []string {
	t.Helper()
	var out []string
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		check(err)
		if h.Name != "app/" && !h.ModTime.Equal(committed) {
			t.Errorf("%s has the time %v", h.Name, h.ModTime)
		}
		out = append(out, h.Name)
	}
}

func testRunStep(t *testing.T, e *engine.Engine) {
	src := commitTree(t, tree{
		"svc/build/Dockerfile.app": []byte("FROM tiny:1 AS one\nRUN [\"/shell\", \"hello\"]\n\nFROM scratch AS two\nCOPY --from=one /said /said\n\nFROM tiny:1 AS three\nRUN [\"/shell\", \"fail\"]\n"),
	})
	built, said, err := runDocker(t, e, src, policy.DockerBuild{File: "build/Dockerfile.app", Context: "svc", Target: "two", Platform: "linux/amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if !said.has("  saying hello") {
		t.Errorf("progress lacks the step's output: %q", said.all)
	}
	// The image was made on the spot. An engine with containerd's image store
	// knows it by a digest all the same; in another nobody does, and that is
	// what is said.
	want := []Material{{URI: "docker://index.docker.io/library/tiny:1"}}
	info, err := e.Client().ImageInspect(t.Context(), "tiny:1")
	check(err)
	if len(info.RepoDigests) > 0 {
		want[0].Digest = must(v1.NewHash(info.ID))
	}
	if diff := cmp.Diff(want, built.Materials); diff != "" {
		t.Errorf("Materials (-want +got):\n%s", diff)
	}
	layers := must(must(built.Image(built.Platforms[0])).Layers())
	r := tar.NewReader(bytes.NewReader(readAll(t, layers[0].Uncompressed)))
	if h := must(r.Next()); h.Name != "said" || string(must(io.ReadAll(r))) != "[hello]" {
		t.Errorf("the image holds %s", h.Name)
	}
}

func testDockerRefuses(t *testing.T, e *engine.Engine) {
	run := func(dockerfile string) tree { return tree{"Dockerfile": []byte(dockerfile), "d/x": []byte("x")} }
	cases := map[string]struct {
		files     tree
		build     policy.DockerBuild
		err, hint string
	}{
		"failing step":      {run("FROM tiny:1\nRUN [\"/shell\", \"fail\", \"now\"]\n"), policy.DockerBuild{}, "\nsaying fail\n", "fresh clone"},
		"its last words":    {run("FROM tiny:1\nRUN [\"/shell\", \"fail\", \"now\"]\n"), policy.DockerBuild{}, "\nsaying now", "fresh clone"},
		"its errors":        {run("FROM tiny:1\nRUN [\"/shell\", \"fail\"]\n"), policy.DockerBuild{}, "[31mthis went wrong", "fresh clone"},
		"which step":        {run("FROM tiny:1\nRUN [\"/shell\", \"fail\"]\n"), policy.DockerBuild{}, "step [2/2] RUN [\"/shell\", \"fail\"]:", "fresh clone"},
		"exit code":         {run("FROM tiny:1\nRUN [\"/shell\", \"fail\"]\n"), policy.DockerBuild{}, "exit code: 3", "fresh clone"},
		"no such file":      {run("FROM scratch\nCOPY nowhere /\n"), policy.DockerBuild{}, "nowhere", "fresh clone"},
		"no such base":      {run("FROM 127.0.0.1:1/nowhere:1\nCOPY d /\n"), policy.DockerBuild{}, "127.0.0.1:1", "fresh clone"},
		"syntax error":      {run("FROM scratch\nNONSENSE\n"), policy.DockerBuild{}, "unknown instruction: NONSENSE", "fresh clone"},
		"no Dockerfile":     {tree{"x": []byte("x")}, policy.DockerBuild{}, "has no Dockerfile", "commit a Dockerfile"},
		"other Dockerfile":  {run("FROM scratch"), policy.DockerBuild{File: "d/Dockerfile"}, "has no d/Dockerfile", "set file"},
		"Dockerfile folder": {run("FROM scratch"), policy.DockerBuild{File: "d"}, "is not a file", "committed file"},
		"no context":        {run("FROM scratch"), policy.DockerBuild{Context: "nowhere"}, "is no folder", "set context"},
		"context outside":   {run("FROM scratch"), policy.DockerBuild{Context: "../.."}, "is no folder", "set context"},
		"no such target":    {run("FROM scratch AS a\nCOPY d /\n"), policy.DockerBuild{Target: "b"}, "target stage", "fresh clone"},
		"file outside":      {run("FROM scratch"), policy.DockerBuild{File: "../../../../../../etc/passwd"}, "is not a file", "committed file"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			built, _, err := runDocker(t, e, commitTree(t, c.files), c.build)
			if err == nil {
				t.Fatalf("built %s", built.Digest)
			}
			if !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %q lacks %q", err, c.err)
			}
			if got := hint.Of(err); !strings.Contains(got, c.hint) {
				t.Errorf("hint %q lacks %q", got, c.hint)
			}
		})
	}
}

// Two commits of one second, whose Dockerfiles differ in nothing but what they
// say, the first of which does not build: the second is built by its own.
func testDockerTwins(t *testing.T, e *engine.Engine) {
	dockerfile := func(word string) tree {
		return tree{"Dockerfile": []byte("FROM tiny:1\nRUN [\"/shell\", \"" + word + "\"]\n")}
	}
	if _, _, err := runDocker(t, e, commitTree(t, dockerfile("fail")), policy.DockerBuild{}); err == nil {
		t.Fatal("a step that fails does not")
	}
	if _, _, err := runDocker(t, e, commitTree(t, dockerfile("okay")), policy.DockerBuild{}); err != nil {
		t.Errorf("the second commit is built by the first one's Dockerfile: %v", err)
	}
}

func testDockerCancelled(t *testing.T, e *engine.Engine) {
	src := commitTree(t, tree{"Dockerfile": []byte("FROM tiny:1\nRUN [\"/shell\", \"hang\"]\n")})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stopped := errors.New("stopped by the test")
	dir := filepath.Join(t.TempDir(), "image")
	_, err := Build(ctx, src, policy.Build{Docker: &policy.DockerBuild{}}, Options{Dir: dir, DockerHost: e.Host, Progress: func(line string) {
		if strings.Contains(line, "saying hang") {
			cancel(stopped)
		}
	}})
	if !errors.Is(err, stopped) {
		t.Errorf("error %v", err)
	}
	names(t, filepath.Dir(dir))
	noLeftovers(t, e)
}

// An archive of this engine, taken by the layout builder, is the same image.
func TestDockerSaveOfARealEngine(t *testing.T) {
	e := startEngine(t)
	var saved bytes.Buffer
	check(e.Save(t.Context(), "tiny:1", &saved))
	built, err := takeLayout(t, writeFile(t, saved.Bytes()), "")
	if err != nil {
		t.Fatal(err)
	}
	info, err := e.Client().ImageInspect(t.Context(), "tiny:1")
	check(err)
	img := must(built.Image(built.Platforms[0]))
	// What an engine calls an image's ID is its config's digest, or, with
	// containerd's image store, its manifest's.
	if got := must(img.ConfigName()).String(); got != info.ID && built.Digest.String() != info.ID {
		t.Errorf("config %s, digest %s, the engine says %s", got, built.Digest, info.ID)
	}
	if diff := cmp.Diff(info.RootFS.Layers, hexes(t, must(img.ConfigFile()).RootFS.DiffIDs)); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

func hexes[T interface{ String() string }](t *testing.T, hashes []T) []string {
	t.Helper()
	var out []string
	for _, h := range hashes {
		out = append(out, h.String())
	}
	return out
}
