package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// maxFile bounds what is read of a file that stands in the way.
const maxFile = 1 << 20

// Change is a file beside what stands in its place.
type Change struct {
	File
	Exists bool
	// Diff is what writing the file would change, in unified form; empty when nothing.
	Diff string
}

// Compare reads what stands where the files would, below root and nowhere else, and writes nothing.
func Compare(root *os.Root, files []File) ([]Change, error) {
	var all []Change
	for _, f := range files {
		old, err := readFile(root, f.Path)
		exists := err == nil
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading %s: %w", f.Path, err)
		}
		before := "a/" + f.Path
		if !exists {
			before = "/dev/null"
		}
		all = append(all, Change{File: f, Exists: exists, Diff: string(diff.Diff(before, old, "b/"+f.Path, f.Text))})
	}
	return all, nil
}

func readFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		err := fmt.Errorf("it is not a file but %s", info.Mode().Type())
		return nil, hint.Add(err, "move it away")
	}
	if info.Size() > maxFile {
		err := fmt.Errorf("it has %d bytes, more than any file of hallmark's", info.Size())
		return nil, hint.Add(err, "move it away")
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// Write writes the changed files below root, each at once or not at all.
func Write(root *os.Root, changes []Change) error {
	for _, c := range changes {
		if c.Diff == "" {
			continue
		}
		if err := writeFile(root, c.Path, c.Text); err != nil {
			return fmt.Errorf("writing %s: %w", c.Path, err)
		}
	}
	return nil
}

func writeFile(root *os.Root, name string, text []byte) error {
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	beside := name + ".hallmark-new"
	f, err := root.OpenFile(beside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		// Left by an init that was killed.
		if err = root.Remove(beside); err == nil {
			f, err = root.OpenFile(beside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		}
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(text))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = root.Rename(beside, name)
	}
	if err != nil {
		root.Remove(beside) // the error above is the one to tell
	}
	return err
}
