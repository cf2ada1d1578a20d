package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// listing says of every entry below root its mode, time and content.
func listing(t *testing.T, root string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(b)
		case info.Mode()&fs.ModeSymlink != 0:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		out[rel] = fmt.Sprintf("%v %d %s", info.Mode(), info.ModTime().UnixNano(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func export(t *testing.T, s Source) map[string]string {
	t.Helper()
	dst := filepath.Join(t.TempDir(), "out")
	if err := s.Export(t.Context(), dst); err != nil {
		t.Fatal(err)
	}
	return listing(t, dst)
}

// stamp is commitTime in nanoseconds since 1970.
const stamp = "1714972089000000000"

func TestExportCommit(t *testing.T) {
	old := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(old) })
	odd := "new\nline \"q\" \xff"
	r := newRepo(t, map[string]string{
		"a.txt": "a", "bin/run": "#!", "-dash": "d", odd: "o", ".gitignore": "*.log\nout/\n", "kept.log": "tracked",
	})
	r.git("add", "-f", "kept.log")
	r.chmod("bin/run", 0o755)
	r.symlink("../nowhere", "bin/link")
	r.commit()
	r.write("noise.log", "ignored")
	r.write("out/layout", "ignored")

	s := r.open()
	if s.Dirty {
		t.Fatalf("dirty: %q", s.DirtyPaths)
	}
	want := map[string]string{
		".":          "drwxr-xr-x " + stamp + " ",
		"bin":        "drwxr-xr-x " + stamp + " ",
		"-dash":      "-rw-r--r-- " + stamp + " d",
		"a.txt":      "-rw-r--r-- " + stamp + " a",
		"bin/run":    "-rwxr-xr-x " + stamp + " #!",
		"bin/link":   "Lrwxrwxrwx " + stamp + " ../nowhere",
		odd:          "-rw-r--r-- " + stamp + " o",
		".gitignore": "-rw-r--r-- " + stamp + " *.log\nout/\n",
		"kept.log":   "-rw-r--r-- " + stamp + " tracked",
	}
	if diff := cmp.Diff(want, export(t, s)); diff != "" {
		t.Errorf("exported (-want +got):\n%s", diff)
	}
	if again := r.open(); again.Dirty {
		t.Errorf("the export made the tree dirty: %q", again.DirtyPaths)
	}
}

// What git status does not see must not reach a build either.
func TestExportIgnoresHiddenChanges(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a", "b.txt": "b"})
	r.git("update-index", "--assume-unchanged", "a.txt")
	r.git("update-index", "--skip-worktree", "b.txt")
	r.write("a.txt", "tampered")
	r.remove("b.txt")
	s := r.open()
	if s.Dirty {
		t.Fatal("git status sees the change after all")
	}
	got := export(t, s)
	for _, name := range []string{"a.txt", "b.txt"} {
		if want := "-rw-r--r-- " + stamp + " " + name[:1]; got[name] != want {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}
}

// A change made after Open is not in the export of the commit that Open saw.
func TestExportIsOfTheCommitOpened(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	s := r.open()
	r.write("a.txt", "later")
	r.commit()
	if got := export(t, s)["a.txt"]; !strings.HasSuffix(got, " a") {
		t.Errorf("a.txt = %q", got)
	}
}

// A replacement object must not pass off other content under a commit's name.
func TestExportIgnoresReplacements(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	real := r.git("rev-parse", "HEAD")
	r.write("a.txt", "replaced")
	r.git("replace", real, r.commit())
	r.git("reset", "-q", "--hard", real)
	s := r.open()
	if s.Commit != real {
		t.Fatalf("Commit = %s", s.Commit)
	}
	s.Dirty = false // with the replacement checked out, the tree differs
	if got := export(t, s)["a.txt"]; !strings.HasSuffix(got, " a") {
		t.Errorf("a.txt = %q", got)
	}
}

func TestExportSameBytesWhateverTheConfiguration(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "1\n2\n", "crlf.txt": "1\r\n2\r\n", ".gitattributes": "*.txt text=auto\n*.win text eol=crlf\n", "x.win": "1\n"})
	want := export(t, r.open())
	if !strings.HasSuffix(want["x.win"], "1\r\n") {
		t.Errorf("the commit's own attributes do not hold: %q", want["x.win"])
	}
	attributes := filepath.Join(t.TempDir(), "attributes")
	if err := os.WriteFile(attributes, []byte("*.txt eol=crlf\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.git("config", "core.attributesFile", attributes)
	r.git("config", "core.autocrlf", "true")
	r.git("config", "core.sparseCheckout", "true")
	r.write(".git/info/sparse-checkout", "a.txt\n")
	if diff := cmp.Diff(want, export(t, r.open())); diff != "" {
		t.Errorf("another configuration exports (-want +got):\n%s", diff)
	}
}

func TestExportFromCloneWorktreeAndShallow(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	r.write("d/b.txt", "b")
	r.commit()
	want := export(t, r.open())

	shallow := repo{t: t, dir: filepath.Join(t.TempDir(), "clone")}
	r.git("clone", "-q", "--depth=1", "file://"+r.dir, shallow.dir)
	tree := repo{t: t, dir: filepath.Join(t.TempDir(), "tree")}
	r.git("worktree", "add", "-q", "--detach", tree.dir)
	for name, other := range map[string]repo{"shallow": shallow, "worktree": tree} {
		if diff := cmp.Diff(want, export(t, other.open())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestExportDirty(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a", "gone.txt": "g", "dir/x": "x", ".gitignore": "*.log\n"})
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "x"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.write("a.txt", "changed")
	r.chmod("a.txt", 0o750)
	r.remove("gone.txt")
	r.remove("dir")
	r.symlink(outside, "dir")
	r.write("new/n.txt", "n")
	r.write("noise.log", "ignored")
	if err := syscall.Mkfifo(r.path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}

	want := map[string]string{
		".":          "drwxr-xr-x " + stamp + " ",
		"a.txt":      "-rwxr-xr-x " + stamp + " changed",
		"dir":        "Lrwxrwxrwx " + stamp + " " + outside,
		"new":        "drwxr-xr-x " + stamp + " ",
		"new/n.txt":  "-rw-r--r-- " + stamp + " n",
		".gitignore": "-rw-r--r-- " + stamp + " *.log\n",
	}
	if diff := cmp.Diff(want, export(t, r.open())); diff != "" {
		t.Errorf("exported (-want +got):\n%s", diff)
	}
}

func TestExportSubmodules(t *testing.T) {
	lib := newRepo(t, map[string]string{"lib.txt": "lib"})
	r := makeRepo(t, map[string]string{"a.txt": "a"})
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", lib.dir, "third party/lib")
	r.commit()

	got := export(t, r.open())
	if want := "-rw-r--r-- " + stamp + " lib"; got["third party/lib/lib.txt"] != want {
		t.Errorf("submodule file = %q, want %q", got["third party/lib/lib.txt"], want)
	}
	if _, ok := got["third party/lib/.git"]; ok {
		t.Error("the submodule's .git was exported")
	}

	r.write("third party/lib/lib.txt", "changed")
	s := r.open()
	if diff := cmp.Diff([]string{"third party/lib"}, s.DirtyPaths); diff != "" {
		t.Errorf("a dirty submodule (-want +got):\n%s", diff)
	}
	if got := export(t, s)["third party/lib/lib.txt"]; !strings.HasSuffix(got, " changed") {
		t.Errorf("dirty export has %q", got)
	}

	s.Dirty = false
	refuses(t, s, "is not at commit", "submodule update")
	clone := repo{t: t, dir: filepath.Join(t.TempDir(), "clone")}
	r.git("clone", "-q", "file://"+r.dir, clone.dir)
	refuses(t, clone.open(), "is not checked out", "submodule update --init")
}

func TestExportFilters(t *testing.T) {
	r := newRepo(t, map[string]string{"a.bin": "stored", ".gitattributes": "*.bin filter=rot\n"})
	refuses(t, r.open(), `needs the git filter "rot"`, "set the filter up")

	r.git("config", "filter.rot.smudge", "tr a-z A-Z")
	r.git("config", "filter.rot.clean", "tr A-Z a-z")
	if got := export(t, r.open())["a.bin"]; !strings.HasSuffix(got, " STORED") {
		t.Errorf("a.bin = %q", got)
	}
	r.git("config", "filter.rot.smudge", "false")
	refuses(t, r.open(), "filter rot failed", ".gitattributes")
}

func TestExportRefusesPointers(t *testing.T) {
	r := newRepo(t, map[string]string{
		"big.bin":        "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12\n",
		".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
	})
	// As git-lfs behaves when told to skip downloading.
	r.git("config", "filter.lfs.smudge", "cat")
	refuses(t, r.open(), "is a git-lfs pointer", "git lfs pull")
}

func TestExportIntoFullFolder(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	s := r.open()
	if err := s.Export(t.Context(), r.dir); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("error %v", err)
	}
}

func TestExportCancelled(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	s := r.open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Export(ctx, filepath.Join(t.TempDir(), "out")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func refuses(t *testing.T, s Source, want, wantHint string) {
	t.Helper()
	err := s.Export(t.Context(), filepath.Join(t.TempDir(), "out"))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if got := hint.Of(err); !strings.Contains(got, wantHint) {
		t.Errorf("hint %q lacks %q", got, wantHint)
	}
}
