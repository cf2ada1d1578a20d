package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// git runs the git program in one folder.
type git struct {
	dir string
	// config is added to the settings in quiet, env to the cleaned environment.
	config []string
	env    []string
}

// quiet are settings that must hold whatever the user's and the repository's
// configuration say: no configured program runs behind a mere look.
var quiet = []string{
	"core.fsmonitor=false",
	"core.hooksPath=/dev/null",
	"log.showSignature=false",
}

// exact are settings that make a commit stand for the same bytes on every
// machine. They hold for an export only: asked whether the working tree is
// clean, git must judge with the settings it was checked out with.
var exact = []string{
	"core.autocrlf=false",
	"core.eol=lf",
	"core.attributesFile=/dev/null",
	"core.sparseCheckout=false",
	"submodule.recurse=false",
}

// stderrLimit bounds how much of git's complaint is kept, in bytes.
const stderrLimit = 4 << 10

// run gives git's standard output as it is.
func (g git) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	full := []string{"--no-pager"}
	for _, setting := range slices.Concat(quiet, g.config) {
		full = append(full, "-c", setting)
	}
	cmd := exec.CommandContext(ctx, "git", append(full, args...)...)
	cmd.Dir = g.dir
	cmd.Env = append(cleanEnv(os.Environ()), g.env...)
	cmd.Stdin = bytes.NewReader(stdin)
	// A filter that git started may outlive it and hold the pipes.
	cmd.WaitDelay = 2 * time.Second
	var stdout bytes.Buffer
	stderr := &tail{limit: stderrLimit}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	if err := cmd.Run(); err != nil {
		return nil, g.explain(ctx, args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// line gives git's standard output without its final newline.
func (g git) line(ctx context.Context, args ...string) (string, error) {
	out, err := g.run(ctx, nil, args...)
	return strings.TrimSuffix(string(out), "\n"), err
}

// gitError is a git command that ran and failed.
type gitError struct {
	command string
	code    int
	stderr  string
}

func (e *gitError) Error() string {
	if e.stderr == "" {
		return fmt.Sprintf("git %s: exit status %d", e.command, e.code)
	}
	return fmt.Sprintf("git %s: %s", e.command, strings.TrimPrefix(e.stderr, "fatal: "))
}

func (g git) explain(ctx context.Context, command string, err error, stderr string) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("running git %s: %w", command, cause)
	}
	if errors.Is(err, exec.ErrNotFound) {
		return hint.Add(fmt.Errorf("running git: %w", err),
			"install git, or put the folder that holds it into PATH")
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("running git %s in %s: %w", command, g.dir, err)
	}
	failed := &gitError{command: command, code: exit.ExitCode(), stderr: stderr}
	switch {
	case strings.Contains(stderr, "dubious ownership"):
		return hint.Add(failed,
			"the folder belongs to another user; if you trust it: git config --global --add safe.directory %s", g.dir)
	case strings.Contains(stderr, "not a git repository"):
		return hint.Add(fmt.Errorf("%s is not inside a git repository", g.dir),
			"a release starts from a commit: run it in a clone, or run git init and commit first")
	}
	return failed
}

// kept are the GIT_ variables that survive: those that say where git's
// configuration is, not which repository, index or work tree to use. A hook
// that calls hallmark has the others set for its own purpose.
var kept = [...]string{
	"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM",
	"GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_",
	"GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM",
	"GIT_EXEC_PATH", "GIT_SSL_", "GIT_SSH", "GIT_ASKPASS",
}

// cleanEnv is environ without what would point git elsewhere, and with what
// makes its answers the same everywhere.
func cleanEnv(environ []string) []string {
	out := make([]string, 0, len(environ)+8)
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "GIT_") && !keeps(name) {
			continue
		}
		if name == "LC_ALL" || name == "LANGUAGE" {
			continue
		}
		out = append(out, kv)
	}
	return append(out,
		"LC_ALL=C",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_TERMINAL_PROMPT=0",
		// A replacement object would give a commit another content than its
		// name says.
		"GIT_NO_REPLACE_OBJECTS=1",
	)
}

func keeps(name string) bool {
	for _, k := range kept {
		if name == k || (strings.HasSuffix(k, "_") || k == "GIT_SSH") && strings.HasPrefix(name, k) {
			return true
		}
	}
	return false
}

// tail keeps the last bytes written to it.
type tail struct {
	limit int
	buf   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.limit; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.buf) }
