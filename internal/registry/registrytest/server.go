// Package registrytest runs true registries for tests, with the faults that
// registries and the lines to them have: refusals, resets, silence, answers
// cut short, lies about digests, tokens that expire.
package registrytest

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/localregistry"
)

// Options choose what a registry is like. The zero value is an OCI 1.1
// registry that asks for no credentials.
type Options struct {
	// Handler is the registry; nil for the one of package localregistry with
	// the modes below.
	Handler http.Handler
	// Dir keeps the content; a fresh folder of the test when empty.
	Dir string
	// NoReferrers, ImmutableTags and PageSize are the registry's own modes.
	NoReferrers   bool
	ImmutableTags bool
	PageSize      int
	// NoConditions makes it ignore If-Match and If-None-Match, as the
	// reference registry does.
	NoConditions bool
	// ConfigTypes makes it list referrers under their configuration's media
	// type instead of their artifact type.
	ConfigTypes bool
	// Auth asks for credentials; nil for none.
	Auth *Auth
	// TLS serves https with the certificate in [Server.CAFile].
	TLS bool
}

// Server is a registry on a loopback address. The test's end stops it.
type Server struct {
	// Host is the address with its port.
	Host string
	// CAFile is the certificate to trust, for a server with TLS.
	CAFile string

	done   chan struct{}
	mu     sync.Mutex
	log    []localregistry.Access
	faults []*Fault
}

// Start runs a registry until the test ends.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s := &Server{done: make(chan struct{})}
	handler := opts.Handler
	if handler == nil {
		handler = local(t, opts)
	}
	if opts.NoConditions {
		handler = withoutConditions(handler)
	}
	if opts.ConfigTypes {
		handler = withConfigTypes(handler)
	}
	if opts.Auth != nil {
		handler = opts.Auth.protect(handler)
	}
	handler = s.record(s.disturb(handler))
	server := httptest.NewUnstartedServer(handler)
	if opts.TLS {
		server.StartTLS()
		s.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		if err := os.WriteFile(s.CAFile, block, 0o600); err != nil {
			t.Fatal(err)
		}
	} else {
		server.Start()
	}
	t.Cleanup(func() {
		close(s.done)
		server.Close()
	})
	s.Host = server.Listener.Addr().String()
	return s
}

func local(t testing.TB, opts Options) http.Handler {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	registry, err := localregistry.Open(opts.Dir, localregistry.Options{
		NoReferrers: opts.NoReferrers, ImmutableTags: opts.ImmutableTags, PageSize: opts.PageSize,
	})
	if err != nil {
		t.Fatalf("starting registry: %v", err)
	}
	return registry
}

// Repository is a repository at the server.
func (s *Server) Repository(t testing.TB, path string) name.Repository {
	t.Helper()
	repo, err := name.NewRepository(s.Host + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// Log is every request answered so far. One that was broken off has status 0.
func (s *Server) Log() []localregistry.Access {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]localregistry.Access{}, s.log...)
}

// Forget empties the log.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// Writes lists the requests of the log that are neither GET nor HEAD, as
// "METHOD path".
func (s *Server) Writes() []string {
	var list []string
	for _, a := range s.Log() {
		if a.Method != http.MethodGet && a.Method != http.MethodHead {
			list = append(list, a.Method+" "+a.Path)
		}
	}
	return list
}

// Count is how many requests of the log have the method and a path that
// contains part.
func (s *Server) Count(method, part string) int {
	n := 0
	for _, a := range s.Log() {
		if a.Method == method && strings.Contains(a.Path, part) {
			n++
		}
	}
	return n
}

// Put stores a manifest at an address with a bare request, past any client.
func Put(ctx context.Context, address, mediaType string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, address, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("storing %s: %s", address, resp.Status)
	}
	return nil
}

func (s *Server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		rec := &statusRecorder{ResponseWriter: w}
		method, path, query := req.Method, req.URL.Path, req.URL.RawQuery
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.log = append(s.log, localregistry.Access{Method: method, Path: path, Query: query, Status: rec.status})
		}()
		next.ServeHTTP(rec, req)
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// withoutConditions takes the preconditions out of requests.
func withoutConditions(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Header.Del("If-Match")
		req.Header.Del("If-None-Match")
		next.ServeHTTP(w, req)
	})
}

// withConfigTypes rewrites the types in lists of referrers.
func withConfigTypes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.Contains(req.URL.Path, "/referrers/") {
			next.ServeHTTP(w, req)
			return
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, req)
		body := strings.ReplaceAll(rec.Body.String(),
			`"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"`,
			`"artifactType":"application/vnd.oci.empty.v1+json"`)
		replay(w, rec, []byte(body))
	})
}

func replay(w http.ResponseWriter, rec *httptest.ResponseRecorder, body []byte) {
	for key, values := range rec.Header() {
		w.Header()[key] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}
