package image

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// program is a Go program that needs nothing beyond the runtime.
var program = tree{
	"go.mod":          []byte("module example.com/acme/checkout/v2\n\ngo 1.21\n"),
	"cmd/app/main.go": []byte("package main\n\nfunc main() { println(\"hello from\", name) }\n"),
	"cmd/app/name.go": []byte("//go:build !other\n\npackage main\n\nconst name = \"checkout\"\n"),
	"cmd/app/tag.go":  []byte("//go:build other\n\npackage main\n\nconst name = \"other\"\n"),
	"lib/lib.go":      []byte("package lib\n"),
	".gitignore":      []byte("/out\n"),
}

var committed = time.Date(2024, 5, 6, 5, 8, 9, 0, time.UTC)

// commitTree makes a repository with one commit and opens it.
func commitTree(t *testing.T, files tree) source.Source {
	t.Helper()
	dir := t.TempDir()
	files.writeTo(dir)
	git(t, dir, "init", "-q", "-b", "main")
	git(t, dir, "remote", "add", "origin", "git@example.com:acme/checkout.git")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "a commit")
	return must(source.Open(t.Context(), dir))
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=A", "-c", "user.email=a@example.com"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE="+committed.Format(time.RFC3339), "GIT_AUTHOR_DATE="+committed.Format(time.RFC3339))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func runGo(t *testing.T, src source.Source, b policy.GoBuild, env ...string) (Built, error) {
	t.Helper()
	if b.Package == "" {
		b.Package = "./cmd/app"
	}
	return Build(t.Context(), src, policy.Build{Go: &b}, Options{
		Dir: filepath.Join(t.TempDir(), "image"),
		Env: append(os.Environ(), env...),
	})
}

func TestGoBuild(t *testing.T) {
	src := commitTree(t, program)
	built, err := runGo(t, src, policy.GoBuild{})
	if err != nil {
		t.Fatal(err)
	}
	if built.Builder != "go" || built.IsIndex() || len(built.Platforms) != 1 || built.Platforms[0].Name != "linux/amd64" {
		t.Errorf("built %+v", built)
	}
	if diff := cmp.Diff(map[string]any{"package": "./cmd/app"}, built.Parameters); diff != "" {
		t.Errorf("Parameters (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(built.Tools["go"], "go1.") {
		t.Errorf("Tools = %v", built.Tools)
	}
	img := must(built.Image(built.Platforms[0]))
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	labels := map[string]string{
		"org.opencontainers.image.created":  "2024-05-06T05:08:09Z",
		"org.opencontainers.image.revision": src.Commit,
		"org.opencontainers.image.source":   "https://example.com/acme/checkout",
	}
	config := must(img.ConfigFile())
	want := &v1.ConfigFile{
		OS: "linux", Architecture: "amd64", Created: v1.Time{Time: committed},
		Config:  v1.Config{Entrypoint: []string{"/app/app"}, User: "65532", Labels: labels},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: config.RootFS.DiffIDs},
		History: []v1.History{{Created: v1.Time{Time: committed}, CreatedBy: "go build ./cmd/app", Comment: "hallmark"}},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(labels, must(img.Manifest()).Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	checkProgram(t, must(img.Layers())[0], "hello from checkout\n")
}

// checkProgram looks at the layer's entries, and runs the program in it.
func checkProgram(t *testing.T, l v1.Layer, says string) {
	t.Helper()
	file := extractProgram(t, l)
	// This is what a cataloguer sees of a Go program.
	if info, err := buildinfo.ReadFile(file); err != nil || info.Main.Path != "example.com/acme/checkout/v2" {
		t.Errorf("build info %+v, %v", info, err)
	}
	out, err := exec.Command(file).CombinedOutput()
	if err != nil || string(out) != says {
		t.Errorf("it says %q, %v", out, err)
	}
}

func extractProgram(t *testing.T, l v1.Layer) string {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(readAll(t, l.Uncompressed)))
	var listed []string
	file := filepath.Join(t.TempDir(), "app")
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(err)
		listed = append(listed, h.FileInfo().Mode().String()+" "+h.Name)
		if !h.ModTime.Equal(committed) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s: time %v, owner %d:%d", h.Name, h.ModTime, h.Uid, h.Gid)
		}
		if h.Typeflag == tar.TypeReg {
			check(os.WriteFile(file, must(io.ReadAll(r)), 0o755))
		}
	}
	if diff := cmp.Diff([]string{"drwxr-xr-x app/", "-rwxr-xr-x app/app"}, listed); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	return file
}

// The same commit must give the same bytes whatever differs around it.
func TestGoBuildIsReproducible(t *testing.T) {
	src := commitTree(t, program)
	settings := policy.GoBuild{Platforms: []string{"linux/amd64", "linux/arm64"}}
	first, err := runGo(t, src, settings)
	if err != nil {
		t.Fatal(err)
	}
	if !first.IsIndex() || validate.Index(must(first.Index())) != nil {
		t.Errorf("built %+v: %v", first, validate.Index(must(first.Index())))
	}
	if got := []string{first.Platforms[0].Name, first.Platforms[1].Name}; !cmp.Equal(got, settings.Platforms) {
		t.Errorf("platforms %q", got)
	}

	elsewhere := filepath.Join(t.TempDir(), "a", "longer path", "to it")
	git(t, src.Dir, "clone", "-q", src.Dir, elsewhere)
	git(t, elsewhere, "remote", "set-url", "origin", "https://token:x@example.com/acme/checkout")
	check(os.MkdirAll(filepath.Join(elsewhere, "out"), 0o755))
	check(os.WriteFile(filepath.Join(elsewhere, "out", "noise.go"), []byte("package noise"), 0o644))
	userSettings := tree{"go/env": []byte("GOAMD64=v3\nGOARM64=v9.0\nGOFLAGS=-tags=other\n")}.writeTo(t.TempDir())
	for name, env := range map[string][]string{
		"settings file": {"XDG_CONFIG_HOME=" + userSettings, "GOFLAGS="},
		"environment": {
			"GOFLAGS=-tags=other -mod=mod", "GOOS=plan9", "GOAMD64=v3", "CGO_ENABLED=1",
			"GOWORK=/nowhere/go.work", "TMPDIR=" + t.TempDir(),
		},
	} {
		second, err := runGo(t, must(source.Open(t.Context(), elsewhere)), settings, env...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if first.Digest != second.Digest {
			t.Errorf("%s: %s from one checkout, %s from the other", name, first.Digest, second.Digest)
		}
	}
	if third, err := runGo(t, src, policy.GoBuild{Env: map[string]string{"GOAMD64": "v3"}, Platforms: settings.Platforms}); err != nil || third.Digest == first.Digest {
		t.Errorf("GOAMD64=v3 from the policy changes nothing: %v", err)
	}
}

func TestGoBuildSettings(t *testing.T) {
	src := commitTree(t, program)
	src.Remote = "file:///where/it/was/cloned/from"
	built, err := runGo(t, src, policy.GoBuild{Tags: []string{"other"}, Ldflags: "-X 'main.unused=a b'", Platforms: []string{"linux/amd64/v3"}})
	if err != nil {
		t.Fatal(err)
	}
	img := must(built.Image(built.Platforms[0]))
	// Not run: this machine may lack what v3 needs.
	info := must(buildinfo.ReadFile(extractProgram(t, must(img.Layers())[0])))
	got := make(map[string]string)
	for _, s := range info.Settings {
		got[s.Key] = s.Value
	}
	for key, want := range map[string]string{"-tags": "other", "GOAMD64": "v3", "CGO_ENABLED": "0", "-trimpath": "true", "vcs": ""} {
		if got[key] != want {
			t.Errorf("built with %s=%s, want %q", key, got[key], want)
		}
	}
	config := must(img.ConfigFile())
	if config.Variant != "v3" {
		t.Errorf("variant %q", config.Variant)
	}
	if where, ok := config.Config.Labels["org.opencontainers.image.source"]; ok {
		t.Errorf("source label %q", where)
	}
}

// The policy may lie in a folder of the repository; packages are relative to it.
func TestGoBuildInSubfolder(t *testing.T) {
	files := tree{"other/README": []byte("x")}
	for name, b := range program {
		files["services/checkout/"+name] = b
	}
	src := commitTree(t, files)
	b := policy.Build{Go: &policy.GoBuild{Package: "./cmd/app"}}
	opts := Options{Dir: filepath.Join(t.TempDir(), "image"), Env: os.Environ(), PolicyDir: filepath.Join(src.Dir, "services", "checkout")}
	if _, err := Build(t.Context(), src, b, opts); err != nil {
		t.Error(err)
	}
	opened := must(source.Open(t.Context(), filepath.Join(src.Dir, "services", "checkout")))
	opts = Options{Dir: filepath.Join(t.TempDir(), "image"), Env: os.Environ(), PolicyDir: t.TempDir()}
	if _, err := Build(t.Context(), opened, b, opts); err != nil {
		t.Error("policy outside the repository:", err)
	}
}

func TestGoBuildDirty(t *testing.T) {
	src := commitTree(t, program)
	check(os.WriteFile(filepath.Join(src.Dir, "cmd", "app", "name.go"), []byte("package main\n\nconst name = \"dirt\"\n"), 0o644))
	src = must(source.Open(t.Context(), src.Dir))
	built, err := runGo(t, src, policy.GoBuild{})
	if err != nil {
		t.Fatal(err)
	}
	img := must(built.Image(built.Platforms[0]))
	checkProgram(t, must(img.Layers())[0], "hello from dirt\n")
	if got := must(img.ConfigFile()).Config.Labels["org.opencontainers.image.revision"]; got != src.Commit+"-dirty" {
		t.Errorf("revision %q", got)
	}
}

func TestGoBuildRefuses(t *testing.T) {
	with := func(name, content string) tree {
		files := tree{}
		for n, b := range program {
			files[n] = b
		}
		if files[name] = []byte(content); content == "" {
			delete(files, name)
		}
		return files
	}
	cases := map[string]struct {
		files     tree
		build     policy.GoBuild
		env       string
		err, hint string
	}{
		"compiler":      {with("cmd/app/main.go", "package main\n\nfunc main() { nonsense() }\n"), policy.GoBuild{}, "", "cmd/app/main.go:3:15: undefined: nonsense", "fresh clone"},
		"no main":       {program, policy.GoBuild{Package: "./lib"}, "", "./lib", ""},
		"no package":    {program, policy.GoBuild{Package: "./nowhere"}, "", "nowhere", "fresh clone"},
		"several":       {with("cmd/b/b.go", "package main\n\nfunc main() {}\n"), policy.GoBuild{Package: "./cmd/..."}, "", "gives 2 programs", "one main package"},
		"flag":          {program, policy.GoBuild{Package: "-o=/tmp/x"}, "", "malformed import path", ""},
		"no go.mod":     {with("go.mod", ""), policy.GoBuild{}, "", "no go.mod", "commit a go.mod"},
		"no go":         {program, policy.GoBuild{}, "PATH=/nowhere", "looking for the go program", "install Go"},
		"module gone":   {with("cmd/app/gone.go", "package main\n\nimport _ \"example.invalid/gone\"\n"), policy.GoBuild{}, "GOPROXY=off", "no required module provides package example.invalid/gone", "fresh clone"},
		"windows":       {program, policy.GoBuild{Platforms: []string{"windows/amd64"}}, "", "not one of linux", "linux/amd64"},
		"twice":         {program, policy.GoBuild{Platforms: []string{"linux/amd64", "linux/amd64"}}, "", "named twice", ""},
		"variant":       {program, policy.GoBuild{Platforms: []string{"linux/amd64/v9"}}, "", "cannot build", "leave the variant out"},
		"platform":      {program, policy.GoBuild{Platforms: []string{"linux/vax"}}, "", "linux/vax", ""},
		"fixed env":     {program, policy.GoBuild{Env: map[string]string{"CGO_ENABLED": "1"}}, "", "sets CGO_ENABLED", "take CGO_ENABLED out"},
		"base, no tag":  {program, policy.GoBuild{Base: "debian:12"}, "", "has no digest", "by digest"},
		"base, no host": {program, policy.GoBuild{Base: "127.0.0.1:1/x@sha256:" + strings.Repeat("a", 64)}, "", "fetching 127.0.0.1:1/x", "can be reached"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			built, err := runGo(t, commitTree(t, c.files), c.build, c.env)
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

func TestGoBuildCancelled(t *testing.T) {
	src := commitTree(t, program)
	parent := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the test")
	_, err := Build(ctx, src, policy.Build{Go: &policy.GoBuild{Package: "./cmd/app"}}, Options{
		Dir: filepath.Join(parent, "image"),
		Env: os.Environ(),
		Progress: func(line string) {
			if strings.HasPrefix(line, "go build") {
				cancel(stopped)
			}
		},
	})
	if !errors.Is(err, stopped) {
		t.Errorf("error %v", err)
	}
	if left := must(os.ReadDir(parent)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEnding(t *testing.T) {
	e := &ending{limit: 20}
	for range 10 {
		must(e.Write([]byte("line\n")))
	}
	if got, want := e.String(), "(30 bytes before this left out)\nline\nline\nline\nline"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
