// Package localregistry is a small OCI registry that keeps everything in one
// folder. The demo, the local trust and the tests push to it; it is not meant
// for production traffic.
//
// It implements the OCI distribution specification 1.1: blobs (monolithic,
// chunked and resumed uploads, mounts, ranges), manifests, tags, referrers
// with filter and pages, deletion and the catalogue. Two modes make it behave
// like registries found in the field: without the referrers API, and with
// tags that can never be overwritten. Writing a tag honours If-Match and
// If-None-Match.
//
// Limits: digests are SHA-256 only; one process may serve a folder at a time;
// what it has acknowledged survives the process, though not necessarily the
// machine, because it does not flush to the disk.
package localregistry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// Options choose how a registry behaves. The zero value is an OCI 1.1 registry
// with the referrers API and movable tags.
type Options struct {
	// NoReferrers turns the referrers API off, as registries of OCI 1.0 are.
	NoReferrers bool
	// ImmutableTags refuses every write to a tag that exists, even with the
	// same content, as Amazon ECR does for repositories of that setting.
	ImmutableTags bool
	// PageSize is the most entries a listing of tags or referrers gives at
	// once; default 100.
	PageSize int
	// OnAccess is told of every request once it is answered. It is called
	// from many goroutines.
	OnAccess func(Access)
}

// Access is one answered request.
type Access struct {
	Method string
	Path   string
	Query  string
	Status int
}

// Registry is an http.Handler that serves one folder.
type Registry struct {
	opts    Options
	store   store
	uploads uploads

	// writing orders changes of manifests, tags and referrers.
	writing sync.Mutex
}

// Open serves dir, which is made when it does not exist, readable for its
// owner only.
func Open(dir string, opts Options) (*Registry, error) {
	if opts.PageSize <= 0 {
		opts.PageSize = 100
	}
	s, err := openStore(dir)
	if err != nil {
		return nil, fmt.Errorf("opening registry folder %s: %w", dir, err)
	}
	return &Registry{opts: opts, store: s}, nil
}

// ServeHTTP answers one request of the distribution API.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	rec := &recorder{ResponseWriter: w}
	if r.opts.OnAccess != nil {
		path, query := req.URL.Path, req.URL.RawQuery
		defer func() {
			r.opts.OnAccess(Access{Method: req.Method, Path: path, Query: query, Status: rec.status})
		}()
	}
	rec.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if err := r.route(rec, req); err != nil {
		refuse(rec, err)
	}
}

var repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// route finds the handler from the end of the path, because a repository's
// name may itself have any number of segments.
func (r *Registry) route(w http.ResponseWriter, req *http.Request) error {
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	switch {
	case req.URL.Path == "/v2/" || req.URL.Path == "/v2":
		return answerJSON(w, "application/json", struct{}{})
	case path == req.URL.Path:
		return refusal{http.StatusNotFound, "NOT_FOUND", "no such path"}
	case path == "_catalog":
		return r.catalog(w)
	}
	segments := strings.Split(path, "/")
	n := len(segments)
	if n >= 4 && segments[n-3] == "blobs" && segments[n-2] == "uploads" {
		return r.named(segments[:n-3], func(repo string) error { return r.serveUpload(w, req, repo, segments[n-1]) })
	}
	if n < 3 {
		return refusal{http.StatusNotFound, "NOT_FOUND", "no such path"}
	}
	last := segments[n-1]
	handlers := map[string]func(repo string) error{
		"blobs":     func(repo string) error { return r.serveBlob(w, req, repo, last) },
		"manifests": func(repo string) error { return r.serveManifest(w, req, repo, last) },
		"tags":      func(repo string) error { return r.listTags(w, req, repo) },
		"referrers": func(repo string) error { return r.listReferrers(w, req, repo, last) },
	}
	handle, ok := handlers[segments[n-2]]
	if !ok {
		return refusal{http.StatusNotFound, "NOT_FOUND", "no such path"}
	}
	return r.named(segments[:n-2], handle)
}

func (r *Registry) named(segments []string, handle func(repo string) error) error {
	repo := strings.Join(segments, "/")
	if !repositoryName.MatchString(repo) || len(repo) > 255 {
		return refusal{http.StatusBadRequest, "NAME_INVALID", "repository name is not valid"}
	}
	return handle(repo)
}

func (r *Registry) catalog(w http.ResponseWriter) error {
	repos, err := r.store.repositories()
	if err != nil {
		return err
	}
	return answerJSON(w, "application/json", map[string][]string{"repositories": repos})
}

// refusal is an error of the distribution specification, section "Error Codes".
type refusal struct {
	status  int
	code    string
	message string
}

func (r refusal) Error() string { return r.code + ": " + r.message }

func refuse(w *recorder, err error) {
	if w.status != 0 {
		return
	}
	r, ok := err.(refusal)
	if !ok {
		r = refusal{http.StatusInternalServerError, "UNKNOWN", err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	body := map[string]any{"errors": []map[string]string{{"code": r.code, "message": r.message}}}
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(body)
}

func notAllowed(w http.ResponseWriter, methods string) error {
	w.Header().Set("Allow", methods)
	return refusal{http.StatusMethodNotAllowed, "UNSUPPORTED", "method is not supported here"}
}

func answerJSON(w http.ResponseWriter, mediaType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(body)
	return err
}

// recorder remembers the status, for the access log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
