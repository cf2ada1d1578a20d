package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Export writes the source into dst, which must not exist or be empty:
// exactly the tree of s.Commit, whatever else lies in the working tree. Only
// when s.Dirty does it write the working tree instead: the tracked files as
// they are now and the untracked ones that git does not ignore.
//
// Files have mode 0644 or 0755, folders 0755, and everything has the
// modification time CommitTime, so that two exports of one commit are equal in
// all that a build can see but their path. Submodules are exported at the
// commit that is checked out; one that is not is refused. Filters such as
// git-lfs run; a file whose filter this machine lacks is refused rather than
// exported as its placeholder.
//
// When Export fails, dst may hold a part of the tree.
func (s Source) Export(ctx context.Context, dst string) error {
	if err := s.export(ctx, dst); err != nil {
		return fmt.Errorf("exporting source: %w", err)
	}
	if err := settle(dst, s.CommitTime); err != nil {
		return fmt.Errorf("exporting source: %w", err)
	}
	return nil
}

func (s Source) export(ctx context.Context, dst string) error {
	if err := emptyDir(dst); err != nil {
		return err
	}
	if s.Dirty {
		return s.exportWorkingTree(ctx, dst)
	}
	return s.exportCommit(ctx, dst)
}

func emptyDir(dst string) error {
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dst)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dst)
	}
	return nil
}

// exportCommit checks the commit out into dst by way of an index of its own.
// The work tree git is told of is dst: attributes come from the commit, and
// the user's index and files are neither read nor changed.
func (s Source) exportCommit(ctx context.Context, dst string) error {
	dst, err := filepath.Abs(dst)
	if err != nil {
		return err
	}
	// Beside dst, so that whoever clears up after a killed release finds it.
	scratch, err := os.MkdirTemp(filepath.Dir(dst), ".hallmark-index-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	gitDir, err := git{dir: s.Dir}.line(ctx, "rev-parse", "--absolute-git-dir")
	if err != nil {
		return err
	}
	g := git{dir: dst, config: slices.Clone(exact), env: []string{
		"GIT_INDEX_FILE=" + filepath.Join(scratch, "index"),
		"GIT_DIR=" + gitDir,
		"GIT_WORK_TREE=" + dst,
	}}
	if _, err := g.run(ctx, nil, "read-tree", s.Commit); err != nil {
		return err
	}
	entries, err := g.index(ctx)
	if err != nil {
		return err
	}
	filtered, err := g.filtered(ctx, entries)
	if err != nil {
		return err
	}
	for filter := range filtered {
		// Otherwise git keeps the stored form of a file whose filter failed.
		g.config = append(g.config, "filter."+filter+".required=true")
	}
	if _, err := g.run(ctx, nil, "read-tree", "--reset", "-u", s.Commit); err != nil {
		return hint.Add(err, "see that the filters named in .gitattributes work and that their files are fetched")
	}
	if err := refusePointers(dst, filtered["lfs"]); err != nil {
		return err
	}
	return s.exportSubmodules(ctx, dst, entries)
}

// exportWorkingTree copies the files git knows of or would add.
func (s Source) exportWorkingTree(ctx context.Context, dst string) error {
	g := git{dir: s.Dir}
	entries, err := g.index(ctx)
	if err != nil {
		return err
	}
	modules := make(map[string]bool)
	for _, e := range entries {
		modules[e.path] = e.isSubmodule()
	}
	out, err := g.run(ctx, nil, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
	if err != nil {
		return err
	}
	folders := map[string]bool{".": true}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if err := ctx.Err(); err != nil {
			return err
		}
		// A name that ends in a slash is a repository inside this one that is
		// no submodule: git would not add its files either.
		if name == "" || modules[name] || strings.HasSuffix(name, "/") {
			continue
		}
		if !isFolder(s.Dir, filepath.Dir(filepath.FromSlash(name)), folders) {
			continue
		}
		if err := copyEntry(s.Dir, dst, filepath.FromSlash(name)); err != nil {
			return err
		}
	}
	return s.exportSubmodules(ctx, dst, entries)
}

// exportSubmodules exports each submodule as a source of its own.
func (s Source) exportSubmodules(ctx context.Context, dst string, entries []indexEntry) error {
	for _, e := range entries {
		if !e.isSubmodule() {
			continue
		}
		path := filepath.Join(s.Dir, filepath.FromSlash(e.path))
		sub, err := Open(ctx, path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && sub.Dir != path {
			return hint.Add(fmt.Errorf("submodule %s is not checked out", e.path),
				"run git submodule update --init --recursive")
		}
		if err != nil {
			return fmt.Errorf("submodule %s: %w", e.path, err)
		}
		if !s.Dirty && (sub.Dirty || sub.Commit != e.object) {
			return hint.Add(fmt.Errorf("submodule %s is not at commit %s, unchanged", e.path, e.object),
				"run git submodule update --recursive, or commit what changed there")
		}
		if err := sub.export(ctx, filepath.Join(dst, filepath.FromSlash(e.path))); err != nil {
			return fmt.Errorf("submodule %s: %w", e.path, err)
		}
	}
	return nil
}

// isFolder says that every step of the path rel below root is a folder and not
// a symbolic link to one: git takes a tracked file behind such a link for
// deleted, and following it could lead out of the tree. Answers are kept in
// known.
func isFolder(root, rel string, known map[string]bool) bool {
	if answer, ok := known[rel]; ok {
		return answer
	}
	answer := isFolder(root, filepath.Dir(rel), known)
	if answer {
		info, err := os.Lstat(filepath.Join(root, rel))
		answer = err == nil && info.IsDir()
	}
	known[rel] = answer
	return answer
}

// copyEntry copies one file or symbolic link. A file that was deleted in the
// working tree is left out.
func copyEntry(from, to, name string) error {
	src, dst := filepath.Join(from, name), filepath.Join(to, name)
	info, err := os.Lstat(src)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(src)
		if err != nil {
			return err
		}
		return os.Symlink(target, dst)
	case info.Mode().IsRegular():
		return copyFile(src, dst, info.Mode())
	}
	return nil
}

func copyFile(src, dst string, mode fs.FileMode) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode.Perm()|0o200)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// settle gives everything below root its fixed mode and time. Entries of a
// folder come before the folder itself, whose time they would change.
func settle(root string, t time.Time) error {
	stamp, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	var walk func(path string) error
	walk = func(path string) error {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			entries, err := os.ReadDir(path)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if err := walk(filepath.Join(path, e.Name())); err != nil {
					return err
				}
			}
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			mode := fs.FileMode(0o644)
			if info.IsDir() || info.Mode()&0o100 != 0 {
				mode = 0o755
			}
			if err := os.Chmod(path, mode); err != nil {
				return err
			}
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW)
	}
	return walk(root)
}
