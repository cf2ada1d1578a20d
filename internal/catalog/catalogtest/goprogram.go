package catalogtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// GoProgram compiles a small program of the given module, which has no
// dependency but the standard library, and gives the executable's bytes.
func GoProgram(t testing.TB, module string) string {
	t.Helper()
	return compile(t, sources(t, module), "-buildvcs=false")
}

// GoProgramOfCommit is GoProgram from a git repository without tags, so that
// the go tool stamps the main module with a pseudo-version.
func GoProgramOfCommit(t testing.TB, module string) string {
	t.Helper()
	dir := sources(t, module)
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "a"},
	} {
		command(t, dir, "git", args...)
	}
	return compile(t, dir, "-buildvcs=true")
}

func sources(t testing.TB, module string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":  "module " + module + "\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() { println(\"hello\") }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func compile(t testing.TB, dir, vcs string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "app")
	command(t, dir, "go", "build", "-trimpath", vcs, "-o", out, ".")
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(program)
}

func command(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH=amd64",
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("running %s %v: %v\n%s", name, args, err, out)
	}
}
