//go:build charts

package charts

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDeployWhatWasReleased goes the way of examples/app's README: release --values-out, and the chart with that file. What
// would run must be the very digest that verifies.
func TestDeployWhatWasReleased(t *testing.T) {
	program, err := filepath.Abs(filepath.Join("..", "..", "bin", "hallmark"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(folder, program string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	// The demonstration leaves a repository, a private Sigstore and the contents of a registry behind.
	told := run(dir, program, "demo", "--dir", filepath.Join(dir, "demo"))
	address := regexp.MustCompile(`--listen (127\.0\.0\.1:[0-9]+) &`).FindStringSubmatch(told)
	if address == nil {
		t.Fatalf("the demonstration tells no address:\n%s", told)
	}
	serve(t, program, "local", "serve", "--state", filepath.Join(dir, "demo", "trust"), "--registry-dir", filepath.Join(dir, "demo", "registry"), "--listen", address[1])

	repository, image := filepath.Join(dir, "demo", "repository"), filepath.Join(dir, "image.yaml")
	run(repository, "git", "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "--quiet", "--allow-empty", "--message", "Deploy this")
	run(repository, program, "release", "--values-out", image)

	out, err := render(t, filepath.Join("..", "..", "examples", "app", "chart"), "--values", image)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^ +image: (\S+@sha256:[0-9a-f]{64})$`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no image by digest:\n%s", out)
	}
	run(repository, program, "verify", found[1])

	// As docs/admission.md has it: helm template | hallmark policy test -f -.
	rendering := filepath.Join(dir, "rendering.yaml")
	for text, want := range map[string]int{out: 0, strings.ReplaceAll(out, found[1], "nginx:latest"): 3} {
		if err := os.WriteFile(rendering, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		try := exec.CommandContext(t.Context(), program, "policy", "test", "-f", rendering)
		try.Dir = repository
		if told, _ := try.CombinedOutput(); try.ProcessState.ExitCode() != want {
			t.Errorf("policy test ends with %d and not %d:\n%s", try.ProcessState.ExitCode(), want, told)
		}
	}
}

// serve starts the program, waits until it says where the registry is, and ends it with the test.
func serve(t *testing.T, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	var told strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		told.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "registry ") {
			return
		}
	}
	t.Fatalf("it ended before it served:\n%s", told.String())
}
