package pullrequest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/pullrequest"
)

// gitHub is the part of GitHub's API that keeps comments, as its reference
// describes it: pages of comments with a Link header, and a refusal to edit
// what another wrote.
type gitHub struct {
	*httptest.Server
	mu       sync.Mutex
	comments []comment
	requests []string
	broken   []int // statuses to answer with first
}

type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	URL  string `json:"html_url"`
	own  bool
}

func newGitHub(t *testing.T, comments ...comment) *gitHub {
	t.Helper()
	g := &gitHub{comments: comments}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/acme/app/issues/7/comments", g.list)
	mux.HandleFunc("POST /repos/acme/app/issues/7/comments", g.create)
	mux.HandleFunc("PATCH /repos/acme/app/issues/comments/{id}", g.edit)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.requests = append(g.requests, r.Method)
		switch {
		case r.Header.Get("Authorization") != "Bearer t0ken":
			http.Error(w, `{"message":"Bad credentials"}`, http.StatusUnauthorized)
		case len(g.broken) > 0:
			w.WriteHeader(g.broken[0])
			g.broken = g.broken[1:]
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gitHub) list(w http.ResponseWriter, r *http.Request) {
	var page, size int
	_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
	_, _ = fmt.Sscan(r.URL.Query().Get("per_page"), &size)
	from := max(page-1, 0) * size
	to := min(from+size, len(g.comments))
	if to < len(g.comments) {
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?per_page=%d&page=%d>; rel="next"`, g.URL, r.URL.Path, size, max(page, 1)+1))
	}
	_ = json.NewEncoder(w).Encode(g.comments[from:to])
}

func (g *gitHub) create(w http.ResponseWriter, r *http.Request) {
	c := comment{ID: int64(len(g.comments) + 1), own: true}
	_ = json.NewDecoder(r.Body).Decode(&c)
	c.URL = fmt.Sprintf("%s/c/%d", g.URL, c.ID)
	g.comments = append(g.comments, c)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(c)
}

func (g *gitHub) edit(w http.ResponseWriter, r *http.Request) {
	for i, c := range g.comments {
		if fmt.Sprint(c.ID) != r.PathValue("id") {
			continue
		}
		if !c.own {
			http.Error(w, `{"message":"Resource not accessible by integration"}`, http.StatusForbidden)
			return
		}
		_ = json.NewDecoder(r.Body).Decode(&g.comments[i])
		_ = json.NewEncoder(w).Encode(g.comments[i])
		return
	}
	http.NotFound(w, r)
}

func (g *gitHub) options() pullrequest.Options {
	return pullrequest.Options{API: g.URL, Token: "t0ken", Pause: time.Microsecond}
}

// The comment is written once and edited after that, wherever in the list it
// stands and whatever others wrote.
func TestComment(t *testing.T) {
	var others []comment
	for i := range 230 {
		others = append(others, comment{ID: int64(i + 1), Body: "hello"})
	}
	others[3].Body = "<!-- hallmark -->\na stranger's"
	g := newGitHub(t, others...)
	for _, text := range []string{"first", "second"} {
		address, err := pullrequest.Comment(t.Context(), "acme/app", 7, text, g.options())
		if err != nil {
			t.Fatal(err)
		}
		last := g.comments[len(g.comments)-1]
		if len(g.comments) != 231 || last.Body != "<!-- hallmark -->\n"+text || address != last.URL {
			t.Errorf("%d comments, the last %+v, at %s", len(g.comments), last, address)
		}
	}
	if g.comments[3].Body != "<!-- hallmark -->\na stranger's" {
		t.Error("a stranger's comment was changed")
	}
}

func TestLongComment(t *testing.T) {
	g := newGitHub(t)
	if _, err := pullrequest.Comment(t.Context(), "acme/app", 7, strings.Repeat("a line of text\n", 10000), g.options()); err != nil {
		t.Fatal(err)
	}
	body := g.comments[0].Body
	if len(body) > 65536 || !strings.HasSuffix(body, "a line of text\n\nThis was cut: the page of the run has the rest.\n") {
		t.Errorf("%d bytes that end in %q", len(body), body[len(body)-80:])
	}
}

// Reading is asked again; writing is not, because an answer may be lost after
// the work is done.
func TestFaults(t *testing.T) {
	g := newGitHub(t)
	g.broken = []int{502, 500}
	if _, err := pullrequest.Comment(t.Context(), "acme/app", 7, "x", g.options()); err != nil {
		t.Errorf("two faults at reading: %v", err)
	}
	g = newGitHub(t)
	g.broken = []int{500, 500, 500, 500, 500}
	if _, err := pullrequest.Comment(t.Context(), "acme/app", 7, "x", g.options()); err == nil || len(g.requests) != 4 {
		t.Errorf("lasting faults: %v after %d requests", err, len(g.requests))
	}
	o := g.options()
	o.Token = "wrong-s3cret"
	g.broken = nil
	_, err := pullrequest.Comment(t.Context(), "acme/app", 7, "x", o)
	if err == nil || !strings.Contains(hint.Of(err), "pull-requests: write") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("without rights: %v, hint %s", err, hint.Of(err))
	}
	if slices.Contains(g.requests, "POST") {
		t.Error("it wrote all the same")
	}
}

func TestMisuse(t *testing.T) {
	g := newGitHub(t)
	for name, test := range map[string]struct {
		repository string
		o          pullrequest.Options
	}{
		"no owner":   {"app", g.options()},
		"a path":     {"acme/app/pulls", g.options()},
		"no token":   {"acme/app", pullrequest.Options{API: g.URL}},
		"no address": {"acme/app", pullrequest.Options{API: "", Token: "t"}},
	} {
		if _, err := pullrequest.Comment(t.Context(), test.repository, 7, "x", test.o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if len(g.requests) > 0 {
		t.Errorf("GitHub was asked: %v", g.requests)
	}
}
