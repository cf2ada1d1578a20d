package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// indexEntry is one entry of a git index.
type indexEntry struct {
	mode   string
	object string
	path   string
}

// isSubmodule says that the entry is a gitlink: another repository's commit.
func (e indexEntry) isSubmodule() bool { return e.mode == "160000" }

// index lists the index g works with.
func (g git) index(ctx context.Context) ([]indexEntry, error) {
	out, err := g.run(ctx, nil, "ls-files", "--stage", "-z")
	if err != nil {
		return nil, err
	}
	var entries []indexEntry
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if line == "" {
			continue
		}
		meta, path, ok := strings.Cut(line, "\t")
		f := strings.Fields(meta)
		if !ok || len(f) != 3 {
			return nil, fmt.Errorf("reading git ls-files: unexpected entry %q", line)
		}
		entries = append(entries, indexEntry{mode: f[0], object: f[1], path: path})
	}
	return entries, nil
}

// filtered lists the files that go through a filter on checkout, by the
// filter's name. It refuses a filter that is not configured: git would leave
// the stored placeholder, such as a git-lfs pointer, without a word.
func (g git) filtered(ctx context.Context, entries []indexEntry) (map[string][]string, error) {
	var names bytes.Buffer
	for _, e := range entries {
		if !e.isSubmodule() {
			names.WriteString(e.path)
			names.WriteByte(0)
		}
	}
	out, err := g.run(ctx, names.Bytes(), "check-attr", "-z", "--stdin", "--cached", "filter")
	if err != nil {
		return nil, err
	}
	files := make(map[string][]string)
	fields := strings.Split(string(out), "\x00")
	for i := 0; i+2 < len(fields); i += 3 {
		switch path, filter := fields[i], fields[i+2]; filter {
		case "unspecified", "unset", "set":
		default:
			files[filter] = append(files[filter], path)
		}
	}
	for filter, paths := range files {
		known, err := g.hasFilter(ctx, filter)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, hint.Add(fmt.Errorf("%s needs the git filter %q, which is not configured", paths[0], filter),
				"set the filter up (for git-lfs: git lfs install) and try again")
		}
	}
	return files, nil
}

// refusePointers refuses a git-lfs pointer where its content should be, which
// git-lfs leaves when it is told not to download.
func refusePointers(dst string, paths []string) error {
	for _, path := range paths {
		if isPointer(filepath.Join(dst, filepath.FromSlash(path))) {
			return hint.Add(fmt.Errorf("%s is a git-lfs pointer: its content is not on this machine", path),
				"run git lfs pull")
		}
	}
	return nil
}

func (g git) hasFilter(ctx context.Context, name string) (bool, error) {
	for _, key := range []string{"process", "smudge"} {
		_, err := g.line(ctx, "config", "--get", "filter."+name+"."+key)
		if err == nil {
			return true, nil
		}
		var failed *gitError
		if !errors.As(err, &failed) || failed.code != 1 {
			return false, err
		}
	}
	return false, nil
}

// isPointer says that a file begins as a git-lfs pointer does.
func isPointer(path string) bool {
	const magic = "version https://git-lfs.github.com/spec/"
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(magic))
	n, _ := io.ReadFull(f, head)
	return string(head[:n]) == magic
}
