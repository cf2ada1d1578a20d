//go:build actions

package actions_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// comments is the part of GitHub's API that keeps the comments of pull request
// 7 of acme/app.
type comments struct {
	mu      sync.Mutex
	bodies  []string
	strange []string // requests that are none of those
}

func (c *comments) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sent struct {
		Body string `json:"body"`
	}
	_ = json.NewDecoder(r.Body).Decode(&sent)
	type comment struct {
		ID   int    `json:"id"`
		Body string `json:"body"`
		URL  string `json:"html_url"`
	}
	show := func(id int) comment {
		return comment{id, c.bodies[id-1], fmt.Sprintf("https://github.com/acme/app/pull/7#issuecomment-%d", id)}
	}
	var id int
	switch _, err := fmt.Sscanf(r.URL.Path, "/repos/acme/app/issues/comments/%d", &id); {
	case r.Header.Get("Authorization") != "Bearer "+jobToken:
		w.WriteHeader(http.StatusForbidden)
	case r.Method == "PATCH" && err == nil && id <= len(c.bodies):
		c.bodies[id-1] = sent.Body
		_ = json.NewEncoder(w).Encode(show(id))
	case r.Method == "GET" && r.URL.Path == "/repos/acme/app/issues/7/comments":
		all := []comment{}
		for i := range c.bodies {
			all = append(all, show(i+1))
		}
		_ = json.NewEncoder(w).Encode(all)
	case r.Method == "POST" && r.URL.Path == "/repos/acme/app/issues/7/comments":
		c.bodies = append(c.bodies, sent.Body)
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(show(len(c.bodies)))
	default:
		c.strange = append(c.strange, r.Method+" "+r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	}
}

// pullRequest runs the check of a pull request against a base commit.
func (s *scene) pullRequest(base string, fork bool) outcome {
	s.t.Helper()
	event := filepath.Join(s.t.TempDir(), "event.json")
	s.write(event, fmt.Sprintf(`{"pull_request": {"number": 7, "base": {"sha": %q, "ref": "main"}, "head": {"ref": "topic", "repo": {"fork": %v}}}}`, base, fork))
	return s.act("pull_request", "--eventpath", event)
}

// A pull request gets one comment with what changes to the base; nothing is
// signed and nothing pushed.
func TestPullRequest(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	base := s.begin(0)
	if o := s.act("push"); !o.passed {
		t.Fatal(o)
	}
	s.git("checkout", "--quiet", "-b", "topic")
	s.write(filepath.Join(s.app, "main.go"), "package main\n\nimport \"golang.org/x/sys/unix\"\n\nfunc main() { println(unix.Getpid()) }\n")
	s.write(filepath.Join(s.app, "go.mod"), "module example.test/app\n\ngo 1.26.0\n\nrequire golang.org/x/sys v0.48.0\n")
	s.write(filepath.Join(s.app, "go.sum"), "golang.org/x/sys v0.48.0 h1:bbX/i/6MgT9BVLM9RT1thmxL04yeTAhbEz4SyadbXoo=\ngolang.org/x/sys v0.48.0/go.mod h1:hNLxWAXmnKAxqDtdwIYC4bM9oQPEecfsnNMuSxOs3og=\n")
	s.commit()
	before := s.writes()
	for range 2 {
		o := s.pullRequest(base, false)
		if !o.passed {
			t.Fatal(o)
		}
		if len(s.comments.bodies) != 1 || len(s.comments.strange) > 0 {
			t.Fatalf("%d comments, strange requests %v: %s", len(s.comments.bodies), s.comments.strange, o)
		}
		said, _ := o.job("report")
		if !strings.Contains(said, "What changes") || !strings.Contains(said, "WOULD PASS") {
			t.Errorf("the report job says: %s", said)
		}
	}
	body := s.comments.bodies[0]
	for _, want := range []string{"Packages: 1 added, 0 removed, 0 changed.", "<code>golang.org/x/sys</code>", "acme/app&#64;sha256"} {
		if !strings.Contains(body, want) {
			t.Errorf("the comment does not hold %q", want)
		}
	}
	t.Log(body)
	if s.writes() != before || s.tokens.requests() != 0 || s.left("workspace-of-report") != "" {
		t.Errorf("%d writes to the registry, %d identity tokens, files in the report job: %q", s.writes()-before, s.tokens.requests(), s.left("workspace-of-report"))
	}
	if strings.Contains(s.left("environment-of-build"), jobToken) {
		t.Error("the pull request's code sees the job's token")
	}
	t.Run("from a fork", func(t *testing.T) {
		s.t = t
		s.comments.bodies = nil
		if o := s.pullRequest(base, true); !o.passed || len(s.comments.bodies) > 0 {
			t.Errorf("%d comments: %s", len(s.comments.bodies), o)
		}
	})
	t.Run("base never released", func(t *testing.T) {
		s.t = t
		o := s.pullRequest(strings.Repeat("1", 40), false)
		if !o.passed || !strings.Contains(strings.Join(s.comments.bodies, ""), "Nothing to compare with") {
			t.Errorf("comments %q: %s", s.comments.bodies, o)
		}
	})
}
