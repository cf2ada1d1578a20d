package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/oidc"
)

// fixed is a source of one token, which counts how often it is asked.
type fixed struct {
	mu    sync.Mutex
	asked int
	raw   func(n int) string
}

func (f *fixed) Token(context.Context, string) (oidc.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return oidc.Parse(f.raw(f.asked))
}

func TestCache(t *testing.T) {
	now := noon.Add(-10 * time.Minute)
	src := &fixed{raw: func(n int) string {
		return jwt(t, claims(map[string]any{"sub": fmt.Sprint(n), "exp": noon.Add(time.Duration(n-1) * 10 * time.Minute).Unix()}))
	}}
	c := oidc.Cache(src, time.Minute, func() time.Time { return now })
	for _, tt := range []struct {
		now      time.Time
		audience string
		want     string
	}{
		{noon.Add(-10 * time.Minute), "sigstore", "1"},
		{noon.Add(-61 * time.Second), "sigstore", "1"},
		{noon.Add(-60 * time.Second), "sigstore", "2"},
		{noon.Add(-60 * time.Second), "other", "3"},
		{noon, "sigstore", "2"},
	} {
		now = tt.now
		token, err := c.Token(t.Context(), tt.audience)
		if err != nil {
			t.Fatal(err)
		}
		if token.Claims().Subject != tt.want {
			t.Errorf("at %s for %s: token %s, want %s", tt.now, tt.audience, token.Claims().Subject, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	waiting := oidc.Cache(stuck{}, 0, nil)
	if _, err := waiting.Token(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// TestCacheSideBySide asks from many goroutines and expects one request.
func TestCacheSideBySide(t *testing.T) {
	src := &fixed{raw: func(int) string { return jwt(t, claims(nil)) }}
	c := oidc.Cache(src, 0, func() time.Time { return noon.Add(-time.Hour) })
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := c.Token(t.Context(), "sigstore"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if src.asked != 1 {
		t.Errorf("the source was asked %d times, want once", src.asked)
	}
}

type stuck struct{}

func (stuck) Token(ctx context.Context, _ string) (oidc.Token, error) {
	<-ctx.Done()
	return oidc.Token{}, ctx.Err()
}

func env(vars map[string]string) func(string) string { return func(k string) string { return vars[k] } }

// TestDetect names each source by the subject of the token it gives.
func TestDetect(t *testing.T) {
	token := func(sub string) string { return jwt(t, claims(map[string]any{"sub": sub})) }
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token("file")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"value":%q}`, token("github"))
	}))
	defer srv.Close()
	github := map[string]string{"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": srv.URL + "/?api=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s"}
	all := map[string]string{"SIGSTORE_ID_TOKEN": token("variable"), "MINE": token("mine")}
	for k, v := range github {
		all[k] = v
	}
	local := &fixed{raw: func(int) string { return token("local") }}
	login := &oidc.Login{Issuer: "http://127.0.0.1:1"}
	forked := map[string]string{"GITHUB_ACTIONS": "true"}
	for _, tt := range []struct {
		name string
		opts oidc.Options
		want string
		err  string
	}{
		{"file before all", oidc.Options{File: path, Env: env(all), Local: local, Login: login}, "file", ""},
		{"named variable before all", oidc.Options{EnvName: "MINE", Env: env(all), Local: local, Login: login}, "mine", ""},
		{"Sigstore's variable", oidc.Options{Env: env(all), Local: local, Login: login}, "variable", ""},
		{"local before GitHub", oidc.Options{Env: env(github), Local: local, Login: login}, "local", ""},
		{"GitHub before a person", oidc.Options{Env: env(github), Login: login}, "github", ""},
		{"a person", oidc.Options{Env: env(nil), Login: login}, "", "logging in at http://127.0.0.1:1"},
		{"nothing", oidc.Options{Env: env(nil)}, "", "no identity"},
		{"both flags", oidc.Options{File: path, EnvName: "MINE", Env: env(all)}, "", "name one"},
		{"no such file", oidc.Options{File: path + "x", Env: env(all)}, "", "opening identity token"},
		{"a token for a file", oidc.Options{File: token("x"), Env: env(all)}, "", "is a token itself"},
		{"unset variable", oidc.Options{EnvName: "YOURS", Env: env(all)}, "", "YOURS is not set"},
		{"GitHub without permission", oidc.Options{Env: env(forked), Login: login}, "", "may not ask"},
		{"GitHub at a strange address", oidc.Options{Env: env(map[string]string{
			"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": "http://example.com/", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s",
		})}, "", "not an https URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, err := oidc.Detect(tt.opts)
			var got oidc.Token
			if err == nil {
				got, err = src.Token(t.Context(), oidc.Audience)
			}
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got.Claims().Subject != tt.want {
					t.Errorf("the token is %s's, want %s's", got.Claims().Subject, tt.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if strings.Contains(err.Error(), "eyJ") {
				t.Errorf("the error shows a token: %v", err)
			}
		})
	}
	if _, err := oidc.Detect(oidc.Options{Env: env(nil)}); !errors.Is(err, oidc.ErrNone) || hint.Of(err) == "" {
		t.Errorf("error %v with hint %q, want ErrNone and what to do", err, hint.Of(err))
	}
}

func TestFileRenewed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	src, err := oidc.Detect(oidc.Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"one", "two"} {
		if err := os.WriteFile(path, []byte(jwt(t, claims(map[string]any{"sub": sub}))), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := src.Token(t.Context(), oidc.Audience)
		if err != nil {
			t.Fatal(err)
		}
		if token.Claims().Subject != sub {
			t.Errorf("token of %s, want %s", token.Claims().Subject, sub)
		}
	}
	if err := os.WriteFile(path, []byte("no token"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Token(t.Context(), oidc.Audience); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestGitHub(t *testing.T) {
	const secret = "request-secret"
	good := fmt.Sprintf(`{"value":%q}`, jwt(t, claims(nil)))
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	reset := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, tt := range []struct {
		name    string
		answers []http.HandlerFunc // the last one for ever
		asked   int
		err     string
	}{
		{"good", []http.HandlerFunc{answer(200, good)}, 1, ""},
		{"busy at first", []http.HandlerFunc{answer(503, "x"), answer(429, "x"), answer(200, good)}, 3, ""},
		{"reset at first", []http.HandlerFunc{reset, answer(200, good)}, 2, ""},
		{"hangs at first", []http.HandlerFunc{hang, answer(200, good)}, 2, ""},
		{"hangs", []http.HandlerFunc{hang}, 4, "did not answer"},
		{"down", []http.HandlerFunc{answer(500, "x")}, 4, "500 Internal Server Error"},
		{"forbidden", []http.HandlerFunc{answer(403, secret)}, 1, "403 Forbidden"},
		{"sends elsewhere", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }}, 1, "302 Found"},
		{"no JSON", []http.HandlerFunc{answer(200, "hello")}, 1, "without a token"},
		{"no token", []http.HandlerFunc{answer(200, `{"value":"hello"}`)}, 1, "three parts"},
		{"endless", []http.HandlerFunc{answer(200, strings.Repeat(" ", 1<<20)+good)}, 1, "without a token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			asked := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				h := tt.answers[min(asked, len(tt.answers)-1)]
				asked++
				mu.Unlock()
				if r.URL.Query().Get("audience") != oidc.Audience || r.URL.Query().Get("api") != "2" || r.Header.Get("Authorization") != "Bearer "+secret {
					t.Errorf("asked %s with %q", r.URL, r.Header.Get("Authorization"))
				}
				h(w, r)
			}))
			defer srv.Close()
			src, err := oidc.Detect(oidc.Options{
				Env: env(map[string]string{
					"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": srv.URL + "/token?api=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": secret,
				}),
				GitHub: oidc.GitHubOptions{Pause: time.Microsecond, Timeout: 100 * time.Millisecond},
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = src.Token(t.Context(), oidc.Audience)
			mu.Lock()
			defer mu.Unlock()
			if asked != tt.asked {
				t.Errorf("asked %d times, want %d", asked, tt.asked)
			}
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the secret: %v", err)
			}
			if tt.name == "forbidden" && !strings.Contains(hint.Of(err), "id-token: write") {
				t.Errorf("hint %q, want the permission's name", hint.Of(err))
			}
		})
	}
}

func TestGitHubCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }))
	defer srv.Close()
	src, err := oidc.Detect(oidc.Options{Env: env(map[string]string{
		"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": srv.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s",
	})})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Token(ctx, oidc.Audience); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
