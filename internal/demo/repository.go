package demo

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
)

//go:embed repository.txtar
var repositoryArchive []byte

// commitTimes are fixed, so that the demonstration's commits, and with them
// its images, are the same on every machine.
var commitTimes = map[string]string{
	"first":  "2026-01-05T09:00:00Z",
	"second": "2026-01-06T09:00:00Z",
}

// repository is the demonstration's own git repository.
type repository struct{ dir string }

// newRepository makes an empty repository whose origin is where policy says
// that the source lives.
func newRepository(ctx context.Context, dir, origin string) (*repository, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	r := &repository{dir}
	if err := r.git(ctx, "", "init", "--quiet", "--initial-branch=main"); err != nil {
		return nil, err
	}
	return r, r.git(ctx, "", "remote", "add", "origin", origin)
}

// commit writes the files of one stage of the archive, and those given, and
// commits them.
func (r *repository) commit(ctx context.Context, stage, message string, more map[string]string) error {
	files := map[string]string{}
	for _, f := range txtar.Parse(repositoryArchive).Files {
		if path, ok := strings.CutPrefix(f.Name, stage+"/"); ok {
			files[path] = string(f.Data)
		}
	}
	for path, text := range more {
		files[path] = text
	}
	for path, text := range files {
		if err := os.WriteFile(filepath.Join(r.dir, path), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := r.git(ctx, stage, "add", "--all"); err != nil {
		return err
	}
	return r.git(ctx, stage, "commit", "--quiet", "--message", message)
}

func (r *repository) git(ctx context.Context, stage string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.dir
	who := "GIT_%[1]s_NAME=Demo\nGIT_%[1]s_EMAIL=demo@hallmark.localhost\nGIT_%[1]s_DATE=%[2]s"
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull)
	for _, role := range []string{"AUTHOR", "COMMITTER"} {
		cmd.Env = append(cmd.Env, strings.Split(fmt.Sprintf(who, role, commitTimes[stage]), "\n")...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
