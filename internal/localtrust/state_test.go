package localtrust_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
)

func readFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestFolder looks at what a new local trust leaves on disk.
func TestFolder(t *testing.T) {
	l := open(t, localtrust.Options{})
	err := filepath.WalkDir(l.Dir(), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has permissions %#o", path, info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, filepath.Join(l.Dir(), localtrust.TrustedRootFile)); got != string(l.TrustedRoot()) {
		t.Error("the trusted root on disk is another")
	}
	for _, says := range []string{"can sign as\n                       anybody", "does not protect", localtrust.Issuer} {
		if !strings.Contains(readFile(t, filepath.Join(l.Dir(), "README")), says) {
			t.Errorf("the README does not say %q", says)
		}
	}
	tr, err := root.NewTrustedRootFromJSON(l.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range tr.RekorLogs() {
		if log.BaseURL != localtrust.Issuer {
			t.Errorf("the log is at %s, but its origin is the host of %s", log.BaseURL, localtrust.Issuer)
		}
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir() + "/new/trust"
	first, err := localtrust.Open(t.Context(), dir, localtrust.Options{Issuer: "https://id.acme.test"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := localtrust.Open(t.Context(), dir, localtrust.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if string(first.TrustedRoot()) != string(again.TrustedRoot()) || again.Issuer() != "https://id.acme.test" {
		t.Errorf("opened again it is another: issuer %s", again.Issuer())
	}
	if _, err := localtrust.Open(t.Context(), dir, localtrust.Options{Issuer: localtrust.Issuer}); err == nil || hint.Of(err) == "" {
		t.Errorf("error %v with hint %q, want a refusal of another issuer", err, hint.Of(err))
	}
	for _, issuer := range []string{"x", "ftp://x", "https://", "https://a/b", "https://u@a"} {
		if _, err := localtrust.Open(t.Context(), t.TempDir(), localtrust.Options{Issuer: issuer}); err == nil {
			t.Errorf("issuer %q is taken", issuer)
		}
	}
}

func TestOpenRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, dir string)
		want string
	}{
		{"open to the group", func(t *testing.T, dir string) { chmod(t, dir, 0o750) }, "0750"},
		{"open to all", func(t *testing.T, dir string) { chmod(t, dir, 0o701) }, "0701"},
		{"a link", func(t *testing.T, dir string) {
			remove(t, dir)
			if err := os.Symlink(t.TempDir(), dir); err != nil {
				t.Fatal(err)
			}
		}, "not a folder"},
		{"a file", func(t *testing.T, dir string) { remove(t, dir); write(t, dir, "") }, "not a folder"},
		{"something else", func(t *testing.T, dir string) { write(t, dir+"/main.go", "") }, "main.go"},
		{"keys lost", func(t *testing.T, dir string) { reopen(t, dir); remove(t, dir+"/keys.json") }, "no keys.json"},
		{"checkpoint lost", func(t *testing.T, dir string) {
			l := reopen(t, dir)
			log(t, l)
			remove(t, dir+"/log/checkpoint")
		}, "no checkpoint"},
		{"checkpoint of another", func(t *testing.T, dir string) {
			reopen(t, dir)
			write(t, dir+"/log/checkpoint", readFile(t, reopen(t, t.TempDir()+"/x").Dir()+"/log/checkpoint"))
		}, "checkpoint"},
		{"keys cut short", func(t *testing.T, dir string) {
			reopen(t, dir)
			keys := readFile(t, dir+"/keys.json")
			write(t, dir+"/keys.json", keys[:len(keys)/2])
		}, "whole JSON"},
		{"keys empty", func(t *testing.T, dir string) { reopen(t, dir); write(t, dir+"/keys.json", "") }, "whole JSON"},
		{"unknown field", func(t *testing.T, dir string) { change(t, dir, "more", 1) }, "more"},
		{"later version", func(t *testing.T, dir string) { change(t, dir, "version", 3) }, "version 3"},
		{"no secret", func(t *testing.T, dir string) { change(t, dir, "mintSecret", "") }, "mintSecret"},
		{"no key", func(t *testing.T, dir string) { change(t, dir, "ctKey", nil) }, "ctKey"},
		{"key of another", func(t *testing.T, dir string) {
			change(t, dir, "caKey", keys(t, reopen(t, t.TempDir()+"/x").Dir())["caKey"])
		}, "caChain is not of its key"},
		{"key of another kind", func(t *testing.T, dir string) { change(t, dir, "logKey", keys(t, reopen(t, dir).Dir())["caKey"]) }, "logKey"},
		{"chain of two", func(t *testing.T, dir string) {
			mine, theirs := keys(t, reopen(t, dir).Dir()), keys(t, reopen(t, t.TempDir()+"/x").Dir())
			change(t, dir, "tsaChain", []any{mine["tsaChain"].([]any)[0], theirs["tsaChain"].([]any)[1]})
		}, "tsaChain"},
		{"trusted root is a link", func(t *testing.T, dir string) {
			reopen(t, dir)
			remove(t, dir+"/"+localtrust.TrustedRootFile)
			if err := os.Symlink("/etc/passwd", dir+"/"+localtrust.TrustedRootFile); err != nil {
				t.Fatal(err)
			}
		}, localtrust.TrustedRootFile},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir() + "/trust"
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			tt.make(t, dir)
			_, err := localtrust.Open(t.Context(), dir, localtrust.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Fatalf("error %v, want one with %q that names the folder", err, tt.want)
			}
			if strings.Contains(err.Error(), "MIG") {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
}

// TestOpenCompletes stops a creation after each of its steps.
func TestOpenCompletes(t *testing.T) {
	whole := t.TempDir() + "/trust"
	reopen(t, whole)
	for _, tt := range []struct {
		name string
		kept []string // of the whole folder
		new  bool     // whether there are to be other keys
	}{
		{"nothing", nil, true},
		{"lock", []string{"lock"}, true},
		{"half a state", []string{"lock", ".new-123"}, true},
		{"state", []string{"lock", "keys.json"}, false},
		{"empty log", []string{"lock", "keys.json", "log"}, false},
		{"log with half a checkpoint", []string{"lock", "keys.json", "log", "log/lock", "log/.new-123"}, false},
		{"log", []string{"lock", "keys.json", "log", "log/lock", "log/checkpoint"}, false},
		{"README", []string{"lock", "keys.json", "log", "log/lock", "log/checkpoint", "README", ".new-123"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir() + "/trust"
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, name := range tt.kept {
				switch info, err := os.Stat(whole + "/" + name); {
				case err != nil:
					write(t, dir+"/"+name, "half")
				case info.IsDir():
					if err := os.Mkdir(dir+"/"+name, 0o700); err != nil {
						t.Fatal(err)
					}
				default:
					write(t, dir+"/"+name, readFile(t, whole+"/"+name))
				}
			}
			l := reopen(t, dir)
			if same := string(l.TrustedRoot()) == readFile(t, whole+"/"+localtrust.TrustedRootFile); same == tt.new {
				t.Errorf("the keys are those that were there: %t, want %t", same, !tt.new)
			}
			log(t, l)
			checkTree(t, l)
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func reopen(t *testing.T, dir string) *localtrust.Local {
	t.Helper()
	l, err := localtrust.Open(t.Context(), dir, localtrust.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func keys(t *testing.T, dir string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(readFile(t, dir+"/keys.json")), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func change(t *testing.T, dir, field string, value any) {
	t.Helper()
	m := keys(t, reopen(t, dir).Dir())
	m[field] = value
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/keys.json", string(data))
}

// TestOpenSideBySide has many openings find one new folder: all must come out
// with the same keys.
func TestOpenSideBySide(t *testing.T) {
	dir := t.TempDir() + "/trust"
	roots := make(chan string, 16)
	var wg sync.WaitGroup
	for range cap(roots) {
		wg.Go(func() {
			l, err := localtrust.Open(t.Context(), dir, localtrust.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			roots <- string(l.TrustedRoot())
		})
	}
	wg.Wait()
	close(roots)
	distinct := map[string]bool{}
	for r := range roots {
		distinct[r] = true
	}
	if len(distinct) != 1 {
		t.Errorf("%d local trusts in one folder", len(distinct))
	}
}

func TestOpenCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := localtrust.Open(ctx, t.TempDir()+"/trust", localtrust.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// TestKilled kills processes that create the trust and log entries, at moments
// that drift over the whole of it. After each, the folder must open, and what
// a killed process said is logged must be in the log.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("HALLMARK_TEST_VICTIM"); dir != "" {
		victim(t, dir)
		return
	}
	base := t.TempDir()
	dir := base + "/trust"
	for i := range 24 {
		if i%2 == 0 { // and from the beginning
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestKilled$")
		cmd.Env = append(os.Environ(), "HALLMARK_TEST_VICTIM="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It writes a line as it begins and after each entry: kill it after
		// 0 to 5 of them.
		var said string
		buf := make([]byte, 256)
		for strings.Count(said, "\n") <= i%6 {
			n, err := out.Read(buf)
			said += string(buf[:n])
			if err != nil {
				t.Fatalf("the process ended by itself: %v: %s", err, said)
			}
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		rest := make([]byte, 1<<16)
		for n := 1; n > 0; {
			n, _ = out.Read(rest)
			said += string(rest[:n])
		}
		_ = cmd.Wait() // killed
		cancel()
		l := reopen(t, dir)
		logged := strings.Count(said, "logged")
		if size := treeSize(t, l); size < logged {
			t.Fatalf("round %d: the log has %d entries, but its process saw %d logged", i, size, logged)
		}
		log(t, l)
		checkTree(t, l)
	}
}

// victim logs until it is killed.
func victim(t *testing.T, dir string) {
	fmt.Println("began")
	l := reopen(t, dir)
	for {
		log(t, l)
		fmt.Println("logged")
	}
}

func TestInProcessOnly(t *testing.T) {
	l := open(t, localtrust.Options{})
	services := l.Services()
	req, err := http.NewRequest(http.MethodGet, "https://fulcio.sigstore.dev/api/v2/trustBundle", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := services.Transport.RoundTrip(req); err == nil {
		resp.Body.Close()
		t.Error("the local trust's transport goes elsewhere")
	}
	if services.Issuer != localtrust.Issuer || len(services.Rekor) != 1 || len(services.TSA) != 1 {
		t.Errorf("services %+v", services)
	}
	if _, err := l.As(oidc.Claims{Email: "a@b.test"}).Token(t.Context(), oidc.Audience); err != nil {
		t.Error(err)
	}
}
