//go:build docker

package engine_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/test/engine"
)

// TestEngine imports an image of one file, saves it again, and looks for what a closed engine may have left.
func TestEngine(t *testing.T) {
	e, err := engine.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSuffix(strings.TrimPrefix(e.Host, "unix://"), "/docker.sock")

	if err := e.Import(t.Context(), "one:file", rootfs(t)); err != nil {
		t.Error(err)
	}
	var saved bytes.Buffer
	if err := e.Save(t.Context(), "one:file", &saved); err != nil {
		t.Error(err)
	}
	if !holds(t, &saved, "manifest.json") {
		t.Error("the saved archive has no manifest.json")
	}
	if err := e.Save(t.Context(), "no:such", io.Discard); err == nil {
		t.Error("saving an image that is not there gave no error")
	}
	if err := e.Import(t.Context(), "broken:tar", strings.NewReader("not a tar")); err == nil {
		t.Error("importing what is not a tar gave no error")
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the engine's folder %s is still there", dir)
	}
	if out, err := exec.Command("pgrep", "-f", dir).Output(); err == nil {
		t.Errorf("processes of the engine still run: %s", out)
	}
}

// TestOneEngineDoesNotSeeAnother runs two side by side, as test packages do.
func TestOneEngineDoesNotSeeAnother(t *testing.T) {
	a, b := engine.Start(t), engine.Start(t)
	if err := a.Import(t.Context(), "mine:only", rootfs(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Client().ImageInspect(t.Context(), "mine:only"); err == nil {
		t.Error("an image of one engine is visible in the other")
	}
}

func rootfs(t *testing.T) io.Reader {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	text := []byte("hello\n")
	if err := w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &buf
}

func holds(t *testing.T, r io.Reader, name string) bool {
	t.Helper()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == name {
			return true
		}
	}
}
