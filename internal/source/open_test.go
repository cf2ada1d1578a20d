package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

func TestOpenClean(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a", "sub/b.txt": "b", ".gitignore": "*.log\n"})
	r.git("remote", "add", "origin", "git@example.com:Acme/checkout.git")
	r.write("ignored.log", "noise")

	got, err := Open(t.Context(), filepath.Join(r.dir, "sub"))
	if err != nil {
		t.Fatal(err)
	}
	want := Source{
		Dir:        r.dir,
		Subdir:     "sub",
		Commit:     r.git("rev-parse", "HEAD"),
		CommitTime: time.Date(2024, 5, 6, 5, 8, 9, 0, time.UTC),
		Remote:     "https://example.com/Acme/checkout",
		Ref:        "refs/heads/main",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Open (-want +got):\n%s", diff)
	}
}

func TestOpenDirty(t *testing.T) {
	odd := "new\nline \"quoted\" \xff.txt"
	cases := map[string]struct {
		change func(repo)
		want   []string
	}{
		"modified":        {func(r repo) { r.write("a.txt", "changed") }, []string{"a.txt"}},
		"deleted":         {func(r repo) { r.remove("a.txt") }, []string{"a.txt"}},
		"staged":          {func(r repo) { r.write("a.txt", "changed"); r.git("add", "a.txt") }, []string{"a.txt"}},
		"staged new":      {func(r repo) { r.write("n.txt", "n"); r.git("add", "n.txt") }, []string{"n.txt"}},
		"renamed":         {func(r repo) { r.git("mv", "a.txt", "c.txt") }, []string{"a.txt", "c.txt"}},
		"untracked":       {func(r repo) { r.write("dir with space/u.txt", "u") }, []string{"dir with space/"}},
		"odd name":        {func(r repo) { r.write(odd, "o") }, []string{odd}},
		"executable bit":  {func(r repo) { r.chmod("a.txt", 0o755) }, []string{"a.txt"}},
		"only ignored":    {func(r repo) { r.write("x.log", "x") }, nil},
		"ignored, staged": {func(r repo) { r.write("x.log", "x"); r.git("add", "-f", "x.log") }, []string{"x.log"}},
		"config hides":    {func(r repo) { r.git("config", "status.showUntrackedFiles", "no"); r.write("u", "") }, []string{"u"}},
		"conflict": {func(r repo) {
			r.git("checkout", "-q", "-b", "other")
			r.write("a.txt", "theirs")
			r.commit()
			r.git("checkout", "-q", "main")
			r.write("a.txt", "ours")
			r.commit()
			r.fails("merge", "-q", "other")
		}, []string{"a.txt"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t, map[string]string{"a.txt": "a", "b.txt": "b", ".gitignore": "*.log\n"})
			c.change(r)
			got := r.open()
			if diff := cmp.Diff(c.want, got.DirtyPaths); diff != "" {
				t.Errorf("DirtyPaths (-want +got):\n%s", diff)
			}
			if got.Dirty != (len(c.want) > 0) {
				t.Errorf("Dirty = %v", got.Dirty)
			}
		})
	}
}

func TestOpenListsAtMostTenPaths(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	for c := 'a'; c <= 'z'; c++ {
		r.write("new-"+string(c), "")
	}
	if got := r.open().DirtyPaths; len(got) != 10 {
		t.Errorf("%d paths listed: %q", len(got), got)
	}
}

func TestOpenRef(t *testing.T) {
	cases := map[string]struct {
		prepare func(repo)
		want    string
	}{
		"branch":             {func(repo) {}, "refs/heads/main"},
		"branch and tag":     {func(r repo) { r.git("tag", "v1") }, "refs/heads/main"},
		"detached":           {func(r repo) { r.git("checkout", "-q", "--detach") }, ""},
		"detached, tag":      {func(r repo) { r.git("tag", "v1"); r.git("checkout", "-q", "v1") }, "refs/tags/v1"},
		"detached, note tag": {func(r repo) { r.git("tag", "-a", "-m", "m", "v1"); r.git("checkout", "-q", "v1") }, "refs/tags/v1"},
		"detached, two tags": {func(r repo) { r.git("tag", "v1"); r.git("tag", "v2"); r.git("checkout", "-q", "v1") }, ""},
		"detached, old tag": {func(r repo) {
			r.git("tag", "v1")
			r.commit()
			r.git("checkout", "-q", "--detach")
		}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t, map[string]string{"a.txt": "a"})
			c.prepare(r)
			if got := r.open().Ref; got != c.want {
				t.Errorf("Ref = %q, want %q", got, c.want)
			}
		})
	}
}

func TestOpenShallowAndWorktree(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	r.write("a.txt", "b")
	r.commit()

	clone := repo{t: t, dir: filepath.Join(t.TempDir(), "clone")}
	r.git("clone", "-q", "--depth=1", "file://"+r.dir, clone.dir)
	if s := clone.open(); !s.Shallow || s.Remote != "file://"+r.dir || s.Commit != r.open().Commit {
		t.Errorf("shallow clone: %+v", s)
	}
	if r.open().Shallow {
		t.Error("the full repository is called shallow")
	}

	tree := repo{t: t, dir: filepath.Join(t.TempDir(), "tree")}
	r.git("worktree", "add", "-q", "-b", "side", tree.dir)
	if s := tree.open(); s.Ref != "refs/heads/side" || s.Commit != r.open().Commit || s.Dirty {
		t.Errorf("worktree: %+v", s)
	}
}

func TestOpenSHA256(t *testing.T) {
	newRepo(t, nil)
	r := repo{t: t, dir: t.TempDir()}
	r.git("init", "-q", "--object-format=sha256")
	r.write("a.txt", "a")
	r.commit()
	if s := r.open(); len(s.Commit) != 64 {
		t.Errorf("Commit = %q", s.Commit)
	}
}

func TestOpenRefuses(t *testing.T) {
	cases := map[string]struct {
		prepare   func(*testing.T, repo) string
		err, hint string
	}{
		"no such folder": {
			func(_ *testing.T, r repo) string { return r.path("nowhere") },
			"no such file", "a folder inside a git repository",
		},
		"a file": {
			func(_ *testing.T, r repo) string { return r.path("a.txt") },
			"is not a folder", "name the folder",
		},
		"no repository": {
			func(t *testing.T, _ repo) string { return t.TempDir() },
			"is not inside a git repository", "git init",
		},
		"no commit": {
			func(t *testing.T, _ repo) string { return makeRepo(t, nil).dir },
			"no commit yet", "git commit",
		},
		"bare": {
			func(t *testing.T, r repo) string {
				dir := filepath.Join(t.TempDir(), "bare.git")
				r.git("clone", "-q", "--bare", r.dir, dir)
				return dir
			},
			"not in a working tree", "in a clone",
		},
		"inside .git": {
			func(_ *testing.T, r repo) string { return r.path(".git") },
			"not in a working tree", "in a clone",
		},
		"git missing": {
			func(t *testing.T, r repo) string { t.Setenv("PATH", t.TempDir()); return r.dir },
			"executable file not found", "install git",
		},
		"another owner": {
			func(t *testing.T, r repo) string {
				if os.Geteuid() == 0 {
					// The owner's number belongs to nobody here.
					if err := os.Chown(r.dir, 54321, 54321); err != nil {
						t.Fatal(err)
					}
					return r.dir
				}
				t.Setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
				return r.dir
			},
			"dubious ownership", "safe.directory",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t, map[string]string{"a.txt": "a"})
			_, err := Open(t.Context(), c.prepare(t, r))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %q lacks %q", err, c.err)
			}
			if got := hint.Of(err); !strings.Contains(got, c.hint) {
				t.Errorf("hint %q lacks %q", got, c.hint)
			}
		})
	}
}

// A hook that calls hallmark has variables set that point git elsewhere.
func TestOpenIgnoresInheritedRepository(t *testing.T) {
	other := newRepo(t, map[string]string{"x": "x"})
	r := makeRepo(t, map[string]string{"a.txt": "a"})
	t.Setenv("GIT_DIR", other.path(".git"))
	t.Setenv("GIT_WORK_TREE", other.dir)
	t.Setenv("GIT_INDEX_FILE", other.path(".git/index"))
	s := r.open()
	if s.Dir != r.dir || s.Dirty {
		t.Errorf("Open looked elsewhere: %+v", s)
	}
}

// Opening a repository must not run what its configuration names.
func TestOpenRunsNothingConfigured(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	mark := filepath.Join(t.TempDir(), "ran")
	script := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	signer := filepath.Join(t.TempDir(), "signer")
	if err := os.WriteFile(signer, []byte("#!/bin/sh\ncat >/dev/null\nprintf '\\n[GNUPG:] SIG_CREATED \\n' >&2\n"+
		"printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nx\\n-----END PGP SIGNATURE-----\\n'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("-c", "gpg.program="+signer, "commit", "-q", "-S", "--allow-empty", "-m", "signed")
	for _, key := range []string{"core.fsmonitor", "core.pager", "pager.log", "gpg.program", "diff.external", "core.editor"} {
		r.git("config", key, script)
	}
	r.git("config", "log.showSignature", "true")
	for _, hook := range []string{"post-index-change", "post-checkout", "reference-transaction"} {
		if err := os.Symlink(script, r.path(".git/hooks/"+hook)); err != nil {
			t.Fatal(err)
		}
	}
	for _, content := range []string{"a", "changed"} {
		r.write("a.txt", content)
		s := r.open()
		if s.Dirty != (content == "changed") {
			t.Errorf("Dirty = %v", s.Dirty)
		}
		if err := s.Export(t.Context(), filepath.Join(t.TempDir(), "out")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a configured program was run")
	}
}

func TestOpenLeavesTheIndexAlone(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(r.path("a.txt"), later, later); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(r.path(".git/index"))
	if err != nil {
		t.Fatal(err)
	}
	r.open()
	after, err := os.ReadFile(r.path(".git/index"))
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the user's index was rewritten")
	}
}

func TestOpenCancelled(t *testing.T) {
	r := newRepo(t, map[string]string{"a.txt": "a"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, r.dir); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
