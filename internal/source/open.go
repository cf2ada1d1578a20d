package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// dirtyPathsLimit is how many differing paths a Source lists.
const dirtyPathsLimit = 10

// Open looks at the repository that dir lies in. It changes nothing, not even
// git's index, and runs no program that the repository configures.
//
// It refuses, each time with a hint: a folder outside any repository or in a
// bare one, a repository without a commit, a repository that git distrusts
// because of its owner, and a machine without git.
func Open(ctx context.Context, dir string) (Source, error) {
	abs, err := realDir(dir)
	if err != nil {
		return Source{}, err
	}
	g := git{dir: abs}
	s, err := g.place(ctx)
	if err != nil {
		return Source{}, fmt.Errorf("opening source: %w", err)
	}
	g.dir = s.Dir
	if err := g.head(ctx, &s); err != nil {
		return Source{}, fmt.Errorf("opening source %s: %w", s.Dir, err)
	}
	if err := g.origin(ctx, &s); err != nil {
		return Source{}, fmt.Errorf("opening source %s: %w", s.Dir, err)
	}
	if err := g.status(ctx, &s); err != nil {
		return Source{}, fmt.Errorf("opening source %s: %w", s.Dir, err)
	}
	return s, nil
}

// realDir is dir as an absolute path without symbolic links, the form in which
// git names the top folder.
func realDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return "", hint.Add(fmt.Errorf("opening source: %w", err), "name a folder inside a git repository")
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", fmt.Errorf("opening source: %w", err)
	}
	if !info.IsDir() {
		return "", hint.Add(fmt.Errorf("opening source: %s is not a folder", abs),
			"name the folder that holds the source")
	}
	return abs, nil
}

// place fills Dir, Subdir and Shallow.
func (g git) place(ctx context.Context) (Source, error) {
	facts, err := g.line(ctx, "rev-parse", "--is-bare-repository", "--is-inside-work-tree", "--is-shallow-repository")
	if err != nil {
		return Source{}, err
	}
	f := strings.Fields(facts)
	if len(f) != 3 {
		return Source{}, fmt.Errorf("reading git rev-parse: unexpected answer %q", facts)
	}
	if f[1] != "true" {
		return Source{}, hint.Add(fmt.Errorf("%s is in a git repository's own folder, not in a working tree", g.dir),
			"run it in a clone with files checked out")
	}
	top, err := g.line(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return Source{}, err
	}
	prefix, err := g.line(ctx, "rev-parse", "--show-prefix")
	if err != nil {
		return Source{}, err
	}
	return Source{
		Dir:     filepath.FromSlash(top),
		Subdir:  strings.TrimSuffix(prefix, "/"),
		Shallow: f[2] == "true",
	}, nil
}

// head fills Commit, CommitTime and Ref.
func (g git) head(ctx context.Context, s *Source) error {
	commit, err := g.line(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", "HEAD^{commit}")
	var failed *gitError
	if errors.As(err, &failed) {
		return hint.Add(errors.New("the repository has no commit yet"), "commit the source first: git add . && git commit")
	}
	if err != nil {
		return err
	}
	s.Commit = commit
	if err := g.commit(ctx, s); err != nil {
		return err
	}
	s.Ref, err = g.ref(ctx, commit)
	return err
}

// commit fills CommitTime.
func (g git) commit(ctx context.Context, s *Source) error {
	stamp, err := g.line(ctx, "log", "-1", "--format=%ct", s.Commit)
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("reading the time of commit %s: %w", s.Commit, err)
	}
	s.CommitTime = time.Unix(seconds, 0).UTC()
	return nil
}

// ref is the branch HEAD is on, or, on a detached HEAD, the one tag that names
// the commit. Two tags are no answer: neither is more right than the other.
func (g git) ref(ctx context.Context, commit string) (string, error) {
	branch, err := g.line(ctx, "symbolic-ref", "--quiet", "HEAD")
	if err == nil {
		return branch, nil
	}
	var failed *gitError
	if !errors.As(err, &failed) || failed.code != 1 {
		return "", err
	}
	tags, err := g.line(ctx, "for-each-ref", "--count=2", "--points-at="+commit, "--format=%(refname)", "refs/tags/")
	if err != nil || strings.Contains(tags, "\n") {
		return "", err
	}
	return tags, nil
}

// origin fills Remote.
func (g git) origin(ctx context.Context, s *Source) error {
	_, err := g.line(ctx, "config", "--get", "remote.origin.url")
	var failed *gitError
	if errors.As(err, &failed) && failed.code == 1 {
		return nil
	}
	if err != nil {
		return err
	}
	raw, err := g.line(ctx, "remote", "get-url", "origin")
	if err != nil {
		return err
	}
	s.Remote = normalizeRemote(raw)
	return nil
}

// status fills Dirty and DirtyPaths.
func (g git) status(ctx context.Context, s *Source) error {
	out, err := g.run(ctx, nil, "status", "--porcelain=v2", "-z", "--no-renames",
		"--untracked-files=normal", "--ignore-submodules=none")
	if err != nil {
		return err
	}
	for entry := range bytes.SplitSeq(out, []byte{0}) {
		name, ok := statusPath(string(entry))
		if !ok {
			continue
		}
		s.Dirty = true
		if len(s.DirtyPaths) < dirtyPathsLimit {
			s.DirtyPaths = append(s.DirtyPaths, name)
		}
	}
	return nil
}

// statusPath takes the path out of one entry of git status --porcelain=v2:
// eight fields stand before it in a changed entry, ten in an unmerged one, one
// in an untracked one.
func statusPath(entry string) (string, bool) {
	fields := map[byte]int{'1': 8, 'u': 10, '?': 1}
	if entry == "" || fields[entry[0]] == 0 {
		return "", false
	}
	parts := strings.SplitN(entry, " ", fields[entry[0]]+1)
	return parts[len(parts)-1], true
}
