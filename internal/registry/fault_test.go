package registry_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// operation is something a client does, with the requests it consists of.
type operation struct {
	name string
	opts registrytest.Options
	// before brings the registry to where the operation begins.
	before func(t *testing.T, c *registry.Client, repo name.Repository)
	do     func(ctx context.Context, c *registry.Client, repo name.Repository) error
	steps  []step
}

// step is one kind of request of an operation.
type step struct {
	name, method, path string
	from               int
	// absent says that 404 is a fine answer here.
	absent bool
}

var ping = step{name: "ping", method: "GET", path: "^/v2/$"}

func operations(t *testing.T) []operation {
	built := anImage(t, 7, 1, 1<<20+1000)
	digest := func(repo name.Repository) name.Digest { return repo.Digest(built.Digest.String()) }
	push := func(t *testing.T, c *registry.Client, repo name.Repository) {
		t.Helper()
		if _, err := c.Push(t.Context(), built, repo, nil); err != nil {
			t.Fatal(err)
		}
	}
	attach := func(ctx context.Context, c *registry.Client, repo name.Repository) error {
		return c.Attach(ctx, digest(repo), bundles(3))
	}
	attached := func(t *testing.T, c *registry.Client, repo name.Repository) {
		t.Helper()
		push(t, c, repo)
		if err := attach(t.Context(), c, repo); err != nil {
			t.Fatal(err)
		}
	}
	fallback := "/manifests/sha256-[0-9a-f]+$"
	return []operation{
		{
			name: "push",
			do: func(ctx context.Context, c *registry.Client, repo name.Repository) error {
				_, err := c.Push(ctx, built, repo, nil)
				return err
			},
			before: func(*testing.T, *registry.Client, name.Repository) {},
			steps: []step{
				ping,
				{name: "look for manifest", method: "GET", path: "/manifests/", absent: true},
				{name: "look for blob", method: "HEAD", path: "/blobs/", absent: true},
				{name: "begin upload", method: "POST", path: "/blobs/uploads/"},
				{name: "send blob", method: "PATCH", path: "/blobs/uploads/"},
				{name: "finish blob", method: "PUT", path: "/blobs/uploads/"},
				{name: "write manifest", method: "PUT", path: "/manifests/sha256:"},
				{name: "read manifest back", method: "GET", path: "/manifests/", from: 2},
			},
		},
		{
			name: "attach", before: push, do: attach,
			steps: []step{
				ping,
				{name: "read subject", method: "GET", path: "/manifests/sha256:"},
				{name: "list referrers", method: "GET", path: "/referrers/", absent: true},
				{name: "look for config", method: "HEAD", path: "/blobs/", absent: true},
				{name: "begin upload", method: "POST", path: "/blobs/uploads/"},
				{name: "finish blob", method: "PUT", path: "/blobs/uploads/"},
				{name: "write manifest", method: "PUT", path: "/manifests/sha256:"},
				{name: "list referrers again", method: "GET", path: "/referrers/", from: 2},
			},
		},
		{
			name: "attach by tag", opts: registrytest.Options{NoReferrers: true}, before: push, do: attach,
			steps: []step{
				{name: "read tag", method: "GET", path: fallback, absent: true},
				{name: "write tag", method: "PUT", path: fallback},
				{name: "read tag back", method: "GET", path: fallback, from: 3, absent: true},
			},
		},
		{
			name: "tag", before: push,
			do: func(ctx context.Context, c *registry.Client, repo name.Repository) error {
				return c.Tag(ctx, digest(repo), "v1")
			},
			steps: []step{
				ping,
				{name: "look at tag", method: "GET", path: "/manifests/v1$", absent: true},
				{name: "write tag", method: "PUT", path: "/manifests/v1$"},
				{name: "read tag back", method: "GET", path: "/manifests/v1$", from: 2},
			},
		},
		{
			name: "evidence", before: attached,
			do: func(ctx context.Context, c *registry.Client, repo name.Repository) error {
				found, err := c.Evidence(ctx, digest(repo))
				if err == nil && len(found) != 3 {
					return errIncomplete
				}
				return err
			},
			steps: []step{
				ping,
				{name: "list referrers", method: "GET", path: "/referrers/"},
				{name: "read manifest", method: "GET", path: "/manifests/sha256:"},
				{name: "read bundle", method: "GET", path: "/blobs/"},
				{name: "read legacy tag", method: "GET", path: `\.sig$`, absent: true},
			},
		},
	}
}

var errIncomplete = errors.New("not everything was found")

// each runs one operation against a fresh registry with one disturbance, and
// after the outcome was checked again without: then it must succeed.
func each(t *testing.T, faults func(op operation, s step) map[string]disturbed) {
	noCredentials(t)
	for _, op := range operations(t) {
		for _, s := range op.steps {
			for kind, d := range faults(op, s) {
				t.Run(op.name+"/"+s.name+"/"+kind, func(t *testing.T) {
					t.Parallel()
					server := registrytest.Start(t, op.opts)
					repo := server.Repository(t, "team/app")
					op.before(t, newClient(t, registry.Options{}), repo)
					server.Disturb(registrytest.Fault{Method: s.method, Path: s.path, From: s.from, Times: d.times, Do: d.do})
					err := op.do(t.Context(), newClient(t, registry.Options{Stall: d.stall, Settle: time.Millisecond}), repo)
					d.check(t, err)
					if err == errIncomplete {
						return
					}
					server.Calm()
					if err := op.do(t.Context(), newClient(t, registry.Options{Settle: time.Millisecond}), repo); err != nil {
						t.Errorf("second run: %v", err)
					}
				})
			}
		}
	}
}

type disturbed struct {
	do    registrytest.Disturbance
	times int
	stall time.Duration
	check func(t *testing.T, err error)
}

// What happens once and passes must not be noticed.
func TestPassingFaults(t *testing.T) {
	each(t, func(_ operation, s step) map[string]disturbed {
		fine := func(t *testing.T, err error) {
			if err != nil {
				t.Errorf("a passing fault was fatal: %v", err)
			}
		}
		faults := map[string]disturbed{
			"429":        {do: registrytest.TooMany("0"), times: 1},
			"500":        {do: registrytest.Status(500, "UNKNOWN", "oops"), times: 1},
			"503 thrice": {do: registrytest.Body(503, "text/html", "<html>gateway</html>"), times: 3},
			"reset":      {do: registrytest.Reset(), times: 1},
			"lost":       {do: registrytest.LoseAnswer(), times: 1},
		}
		if s.method == http.MethodGet && s != ping {
			faults["truncated"] = disturbed{do: registrytest.Truncate(), times: 1}
		}
		if s.method == http.MethodPatch || s.method == http.MethodPut {
			faults["reset in body"] = disturbed{do: registrytest.ResetAfter(100), times: 1}
		}
		for kind, d := range faults {
			d.check = fine
			faults[kind] = d
		}
		return faults
	})
}

// What stays ends the operation with an error that says what and what next.
func TestLastingFaults(t *testing.T) {
	each(t, func(op operation, s step) map[string]disturbed {
		status := func(want int, words string) func(*testing.T, error) {
			return func(t *testing.T, err error) {
				var got *registry.StatusError
				if !errors.As(err, &got) || got.Status != want {
					t.Fatalf("got %v, want status %d", err, want)
				}
				if got.Method != s.method || !strings.Contains(got.URL, "/v2/") || strings.Contains(got.URL, "?") {
					t.Errorf("error names the request %s %s, want %s %s", got.Method, got.URL, s.method, s.path)
				}
				if h := hint.Of(err); !strings.Contains(h, words) {
					t.Errorf("hint %q, want one with %q", h, words)
				}
			}
		}
		is := func(want error) func(*testing.T, error) {
			return func(t *testing.T, err error) {
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
		}
		some := func(t *testing.T, err error) {
			if err == nil {
				t.Error("got no error")
			}
		}
		faults := map[string]disturbed{
			"401":             {do: registrytest.Status(401, "UNAUTHORIZED", "no"), check: status(401, "docker login")},
			"403":             {do: registrytest.Status(403, "DENIED", "no"), check: status(403, "may not do this")},
			"429":             {do: registrytest.Status(429, "TOOMANYREQUESTS", "no"), check: status(429, "again later")},
			"429 for an hour": {do: registrytest.TooMany("3600"), check: status(429, "in 1h0m0s")},
			"500":             {do: registrytest.Status(500, "UNKNOWN", "no"), check: status(500, "in trouble")},
			"reset":           {do: registrytest.Reset(), check: some},
			"hang":            {do: registrytest.Hang(), stall: 200 * time.Millisecond, check: is(registry.ErrStalled)},
		}
		if s == ping {
			// The ping's 401 only says that credentials are needed.
			delete(faults, "401")
			// The login library keeps no headers.
			delete(faults, "429 for an hour")
		}
		if !s.absent {
			faults["404"] = disturbed{do: registrytest.Status(404, "NAME_UNKNOWN", "no"), check: some}
		}
		if s.method == http.MethodGet && s != ping {
			if op.name != "tag" && op.name != "push" && s.name != "read tag" || s.name == "read tag back" {
				faults["hang in answer"] = disturbed{do: registrytest.HangInAnswer(), stall: 200 * time.Millisecond, check: some}
			}
		}
		return faults
	})
}

// A registry that lies about what it stores is found out at every step.
func TestLies(t *testing.T) {
	each(t, func(op operation, s step) map[string]disturbed {
		lie := func(t *testing.T, err error) {
			var got *registry.DigestError
			if !errors.As(err, &got) {
				t.Errorf("got %v, want a DigestError", err)
			}
		}
		switch op.name + "/" + s.name {
		case "push/finish blob", "push/write manifest", "push/read manifest back", "attach/read subject", "attach/finish blob",
			"attach/write manifest", "attach by tag/write tag", "tag/write tag", "tag/read tag back", "evidence/read manifest":
			faults := map[string]disturbed{"header": {do: registrytest.LieInHeader(), check: lie}}
			if s.method == http.MethodGet && !strings.HasPrefix(s.path, "/manifests/v1") {
				faults["body"] = disturbed{do: registrytest.LieInBody(), check: lie}
				faults["both"] = disturbed{do: registrytest.LieInBoth(), check: lie}
			}
			return faults
		case "evidence/read bundle":
			return map[string]disturbed{"body": {do: registrytest.LieInBody(), check: lie}}
		}
		return nil
	})
}

func TestCancelled(t *testing.T) {
	noCredentials(t)
	for _, op := range operations(t) {
		t.Run(op.name, func(t *testing.T) {
			server := registrytest.Start(t, op.opts)
			repo := server.Repository(t, "app")
			op.before(t, newClient(t, registry.Options{}), repo)
			ctx, cancel := context.WithCancel(t.Context())
			last := op.steps[len(op.steps)-1]
			server.Disturb(registrytest.Fault{Method: last.method, Path: last.path, From: last.from,
				Do: func(_ *registrytest.Server, _ http.ResponseWriter, req *http.Request, _ http.Handler) {
					cancel()
					<-req.Context().Done()
				}})
			if err := op.do(ctx, newClient(t, registry.Options{}), repo); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		})
	}
}

// A large blob whose line breaks goes on where it broke.
func TestUploadResumes(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	built := anImage(t, 8, 1, 8<<20)
	for range 3 {
		server.Disturb(registrytest.Fault{Method: "PATCH", Times: 1, Do: registrytest.ResetAfter(2 << 20)})
	}
	d, err := newClient(t, registry.Options{Retry: registry.Retry{Attempts: 2, Base: time.Millisecond}}).Push(t.Context(), built, server.Repository(t, "app"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := server.Count("PATCH", "/blobs/uploads/"); n != 4 {
		t.Errorf("sent %d chunks, want 4: three that broke and the rest", n)
	}
	if n := server.Count("POST", "/blobs/uploads/"); n != 2 {
		t.Errorf("began %d uploads, want 2: the layer and the configuration", n)
	}
	whole(t, d)
}

// The registry forgets an upload that had broken off: it begins anew.
func TestUploadBeginsAnew(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	server.Disturb(registrytest.Fault{Method: "PATCH", Times: 1, Do: registrytest.ResetAfter(2 << 20)})
	server.Disturb(registrytest.Fault{Method: "GET", Path: "/blobs/uploads/", Do: registrytest.Status(404, "BLOB_UPLOAD_UNKNOWN", "gone")})
	d, err := newClient(t, registry.Options{}).Push(t.Context(), anImage(t, 9, 1, 8<<20), server.Repository(t, "app"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := server.Count("POST", "/blobs/uploads/"); n != 3 {
		t.Errorf("began %d uploads, want 3", n)
	}
	whole(t, d)
}

// The answer to the end of an upload is lost: the blob is there, and is not sent
// again.
func TestUploadIsNotRepeated(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	server.Disturb(registrytest.Fault{Method: "PUT", Path: "/blobs/uploads/", Do: registrytest.LoseAnswer()})
	d, err := newClient(t, registry.Options{}).Push(t.Context(), anImage(t, 13, 1, 2<<20), server.Repository(t, "app"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := server.Count("POST", "/blobs/uploads/"); n != 2 {
		t.Errorf("began %d uploads, want 2", n)
	}
	whole(t, d)
}

// A transport of the caller's own may report the end of a context as it likes.
func TestStallOverOwnTransport(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	server.Disturb(registrytest.Fault{Method: "GET", Path: "/manifests/", Do: registrytest.Hang()})
	client := newClient(t, registry.Options{Stall: 200 * time.Millisecond, Transport: vague{http.DefaultTransport}})
	if _, err := client.Resolve(t.Context(), server.Repository(t, "app").Tag("v1")); !errors.Is(err, registry.ErrStalled) {
		t.Errorf("got %v, want ErrStalled", err)
	}
}

type vague struct{ inner http.RoundTripper }

func (v vague) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := v.inner.RoundTrip(req)
	if err != nil && req.Context().Err() != nil {
		err = errors.New("request cancelled")
	}
	return resp, err
}

// A layout whose file is not what its name says is not pushed.
func TestPushOfDamagedLayout(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	for name, do := range map[string]func(layer string) error{
		"other bytes":  func(layer string) error { return os.WriteFile(layer, make([]byte, 1000), 0o600) },
		"cut short":    func(layer string) error { return os.Truncate(layer, 10) },
		"file missing": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			damage(t, server, func(layer string) {
				if err := do(layer); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
