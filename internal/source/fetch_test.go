package source

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// serveGit serves a repository by git's own HTTP server, to those who show the
// password, and gives its address.
func serveGit(t *testing.T, r repo, password string) string {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	r.git("config", "uploadpack.allowFilter", "true")
	backend := &cgi.Handler{
		Path:       filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:        []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		InheritEnv: []string{"HOME", "GIT_CONFIG_NOSYSTEM"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, given, _ := req.BasicAuth(); given != password {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if v := req.Header.Get("Git-Protocol"); v != "" {
			env := *backend
			env.Env = append(env.Env[:len(env.Env):len(env.Env)], "GIT_PROTOCOL="+v)
			env.ServeHTTP(w, req)
			return
		}
		backend.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(r.dir)
}

func TestFetch(t *testing.T) {
	r := newRepo(t, map[string]string{"hallmark.yaml": "old", "sub/a.txt": "a\r\n", "big": strings.Repeat("x", 100)})
	r.symlink("/etc/passwd", "link")
	r.write(".gitattributes", "* text=auto filter=evil\n")
	want := r.commit()
	r.write("hallmark.yaml", "new")
	r.commit()

	dir := filepath.Join(t.TempDir(), "git")
	s, err := Fetch(t.Context(), dir, serveGit(t, r, ""), want)
	if err != nil {
		t.Fatal(err)
	}
	if s.Commit != want || s.Dirty || !strings.HasPrefix(s.Remote, "http://127.0.0.1:") || s.CommitTime != r.open().CommitTime {
		t.Errorf("fetched %+v", s)
	}
	for name, content := range map[string]string{"hallmark.yaml": "old", "sub/a.txt": "a\r\n", "big": strings.Repeat("x", 100)} {
		if got, err := s.File(t.Context(), name, 100); err != nil || string(got) != content {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	for name, says := range map[string]string{
		"nothing": "does not exist", "sub": "not a regular file", "link": "not a regular file", "../x": "not a path", "/etc/passwd": "not a path", "": "not a path", "*": "does not exist",
	} {
		if _, err := s.File(t.Context(), name, 100); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q gave %v, wanted it to say %q", name, err, says)
		}
	}
	if _, err := s.File(t.Context(), "nothing", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gave %v", err)
	}
	if _, err := s.File(t.Context(), "big", 99); err == nil || !strings.Contains(err.Error(), "more than 99") {
		t.Errorf("a big file gave %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "hallmark.yaml")); err == nil {
		t.Error("a file was checked out")
	}
}

// Credentials come from git's configuration, as the workflow sets it.
func TestFetchWithCredentials(t *testing.T) {
	r := newRepo(t, map[string]string{"hallmark.yaml": "x"})
	address := serveGit(t, r, "s3cret")
	commit := r.open().Commit
	_, err := Fetch(t.Context(), filepath.Join(t.TempDir(), "git"), address, commit)
	if err == nil || hint.Of(err) == "" {
		t.Fatalf("without a password: %v", err)
	}
	t.Setenv("GITHUB_TOKEN", "s3cret")
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "credential."+strings.TrimSuffix(address, "/"+filepath.Base(r.dir))+".helper")
	t.Setenv("GIT_CONFIG_VALUE_0", `!f() { echo username=x-access-token; echo "password=$GITHUB_TOKEN"; }; f`)
	s, err := Fetch(t.Context(), filepath.Join(t.TempDir(), "git"), address, commit)
	if err != nil {
		t.Fatal(err)
	}
	// The file itself is fetched only now, with credentials again.
	if got, err := s.File(t.Context(), "hallmark.yaml", 10); err != nil || string(got) != "x" {
		t.Errorf("hallmark.yaml holds %q, %v", got, err)
	}
}

func TestFetchRefuses(t *testing.T) {
	r := newRepo(t, map[string]string{"a": "a"})
	commit := r.open().Commit
	marker := filepath.Join(t.TempDir(), "ran")
	for name, test := range map[string]struct{ address, commit, says string }{
		"a branch":           {"file://" + r.dir, "main", "not a commit's full name"},
		"an abbreviation":    {"file://" + r.dir, commit[:12], "not a commit's full name"},
		"another's commit":   {"file://" + r.dir, strings.Repeat("a", 40), "fetching commit aaaa"},
		"a helper":           {"ext::touch " + marker, commit, "cannot be fetched"},
		"an option":          {"--upload-pack=touch " + marker, commit, "cannot be fetched"},
		"a path":             {r.dir, commit, "cannot be fetched"},
		"http elsewhere":     {"http://git.example/app", commit, "cannot be fetched"},
		"ssh":                {"ssh://git@git.example/app", commit, "holds credentials"},
		"a token in the URL": {"https://x:s3cret@git.example/app", commit, "holds credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Fetch(t.Context(), filepath.Join(t.TempDir(), "git"), test.address, test.commit)
			if err == nil || !strings.Contains(err.Error(), test.says) || hint.Of(err) == "" {
				t.Errorf("gave %v (hint: %s), wanted it to say %q", err, hint.Of(err), test.says)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the token is shown: %v", err)
			}
		})
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a program was run")
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Fetch(t.Context(), full, "file://"+r.dir, commit); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a folder that is in use gave %v", err)
	}
}
