package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/hallmark-sh/hallmark/test/engine"
)

// BaseImage is the name the application's Dockerfile builds from.
const BaseImage = "hallmark-test/debian:" + Suite

// Application is the Python package the application layer adds to the base.
var Application = Package{Name: "storefront", Version: "1.4.0"}

//go:embed all:app
var app embed.FS

// WriteApp writes the application with its Dockerfile into dir.
func WriteApp(dir string) error {
	files, err := fs.Sub(app, "app")
	if err != nil {
		return err
	}
	return os.CopyFS(dir, files)
}

// Commit makes dir a git repository with one commit of everything in it, by nobody and at a fixed time: the same files
// give the same commit.
func Commit(ctx context.Context, dir, remote string) error {
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"remote", "add", "origin", remote},
		{"add", "--all"},
		{"commit", "--quiet", "--message", "Open the shop"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(),
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=A Test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z",
			"GIT_COMMITTER_NAME=A Test", "GIT_COMMITTER_EMAIL=test@example.com", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z",
		)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("running git %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// Load imports the base into the engine under the name the application's Dockerfile builds from.
func Load(ctx context.Context, e *engine.Engine) (Base, error) {
	base, err := Open(ctx)
	if err != nil {
		return Base{}, err
	}
	f, err := os.Open(base.Tar)
	if err != nil {
		return Base{}, err
	}
	defer f.Close()
	return base, e.Import(ctx, BaseImage, f)
}

// Build builds the application's Dockerfile in an engine of its own, without hallmark, and writes the image to archive as
// `docker save` does.
func Build(ctx context.Context, archive string) error {
	e, err := engine.Open(ctx)
	if err != nil {
		return fmt.Errorf("starting a Docker engine: %w", err)
	}
	defer e.Close()
	if _, err := Load(ctx, e); err != nil {
		return err
	}
	folder, err := buildContext()
	if err != nil {
		return err
	}
	const name = "hallmark-test/storefront:latest"
	if err := e.Build(ctx, name, folder); err != nil {
		return err
	}
	f, err := os.Create(filepath.Clean(archive))
	if err != nil {
		return err
	}
	if err := e.Save(ctx, name, f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func buildContext() (*bytes.Buffer, error) {
	files, err := fs.Sub(app, "app")
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.AddFS(files); err != nil {
		return nil, err
	}
	return &buf, w.Close()
}
