package kyverno_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/kyverno"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)

func read(t *testing.T, path string) policy.Policy {
	t.Helper()
	p, err := policy.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRender(t *testing.T) {
	paths, err := filepath.Glob("testdata/render/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no policies: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			in := kyverno.Input{Policy: read(t, path), TUFRoot: []byte(`{"signed":{}}`), Now: now}
			files, err := kyverno.Render(in)
			if err != nil {
				t.Fatal(err)
			}
			folder := strings.TrimSuffix(path, ".yaml")
			if *update {
				os.RemoveAll(folder)
				os.MkdirAll(folder, 0o755)
			}
			for _, f := range files {
				golden := filepath.Join(folder, f.Name)
				if *update {
					if err := os.WriteFile(golden, f.Data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(f.Data)); diff != "" {
					t.Errorf("%s (-want +got, -update writes it):\n%s", golden, diff)
				}
			}
			there, _ := filepath.Glob(filepath.Join(folder, "*"))
			if len(there) != len(files) {
				t.Errorf("%d files in %s, rendered %d", len(there), folder, len(files))
			}
		})
	}
}

func TestExpiredExemptionsAreLeftOut(t *testing.T) {
	in := kyverno.Input{Policy: read(t, "testdata/render/workflow.yaml"), Now: now.AddDate(50, 0, 0)}
	files, err := kyverno.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.Contains(string(f.Data), "PolicyException") {
			t.Errorf("%s has an exemption that has expired", f.Name)
		}
	}
}

func TestAFileIsNoRootForKyverno(t *testing.T) {
	p := read(t, "testdata/render/workflow.yaml")
	p.Trust = policy.Trust{Root: policy.RootLocal, State: "x"}
	files, err := kyverno.Render(kyverno.Input{Policy: p, Now: now})
	if err == nil || len(files) > 0 || !strings.Contains(hint.Of(err), "admission.tuf-mirror") {
		t.Errorf("got %d files, %v, hint %q", len(files), err, hint.Of(err))
	}
	p.Admission.TUFMirror, p.Admission.TUFRoot = "https://tuf.acme.example", "root.json"
	if _, err := kyverno.Render(kyverno.Input{Policy: p, Now: now}); err == nil {
		t.Error("rendered with an empty TUF root")
	}
	if errors.Is(err, os.ErrNotExist) {
		t.Error("Render reads files")
	}
}
