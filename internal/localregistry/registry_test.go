package localregistry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/hallmark-sh/hallmark/internal/localregistry"
)

// server is a registry with a bare client.
type server struct {
	t   *testing.T
	url string
}

func start(t *testing.T, dir string, opts localregistry.Options) *server {
	t.Helper()
	registry, err := localregistry.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(registry)
	t.Cleanup(s.Close)
	return &server{t, s.URL}
}

type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request whose headers are given as "Key: value".
func (s *server) do(method, path, body string, headers ...string) response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		req.Header.Set(key, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(b)}
}

// want sends a request and checks the answer's status and, for a refusal, its
// code.
func (s *server) want(status int, code, method, path, body string, headers ...string) response {
	s.t.Helper()
	r := s.do(method, path, body, headers...)
	if r.status != status || code != "" && !strings.Contains(r.body, `"code":"`+code+`"`) {
		s.t.Fatalf("%s %s: %d %s, want %d %s", method, path, r.status, r.body, status, code)
	}
	return r
}

func digest(content string) string {
	h, _, _ := v1.SHA256(strings.NewReader(content))
	return h.String()
}

// blob stores a blob in one request.
func (s *server) blob(repo, content string) string {
	s.t.Helper()
	d := digest(content)
	s.want(201, "", "POST", "/v2/"+repo+"/blobs/uploads/?digest="+d, content)
	return d
}

const manifestType = string(types.OCIManifestSchema1)

// manifest makes an image manifest with an empty configuration, which must be
// stored already.
func manifest(more string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[]%s}`, manifestType, digest("{}"), more)
}

func (s *server) put(status int, code, repo, reference, content string, headers ...string) response {
	s.t.Helper()
	return s.want(status, code, "PUT", "/v2/"+repo+"/manifests/"+reference, content, append(headers, "Content-Type: "+manifestType)...)
}

func TestWithAnotherClient(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, localregistry.Options{})
	repo, err := name.NewRepository(strings.TrimPrefix(s.url, "http://") + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(10_000, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(repo.Tag("v1"), index); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{s.url, start(t, dir, localregistry.Options{}).url} {
		tag, err := name.NewTag(strings.TrimPrefix(host, "http://") + "/team/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		got, err := remote.Index(tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(got); err != nil {
			t.Error(err)
		}
		repos, err := remote.Catalog(t.Context(), tag.Registry)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"team/app"}, repos); diff != "" {
			t.Errorf("catalogue (-want +got):\n%s", diff)
		}
	}
}

func TestUploads(t *testing.T) {
	s := start(t, t.TempDir(), localregistry.Options{})
	content := "0123456789"
	d := digest(content)
	begin := func() string {
		return s.want(202, "", "POST", "/v2/a/b/blobs/uploads/", "").header.Get("Location")
	}

	t.Run("at once", func(t *testing.T) {
		s.want(201, "", "PUT", begin()+"?digest="+digest("x"), "x")
		s.want(400, "DIGEST_INVALID", "PUT", begin()+"?digest="+digest("x"), "y")
		s.want(400, "DIGEST_INVALID", "PUT", begin()+"?digest=md5:00", "y")
		s.want(400, "DIGEST_INVALID", "PUT", begin(), "y")
	})
	t.Run("in chunks", func(t *testing.T) {
		at := begin()
		if r := s.want(202, "", "PATCH", at, content[:4], "Content-Range: 0-3"); r.header.Get("Range") != "0-3" {
			t.Errorf("range %q, want 0-3", r.header.Get("Range"))
		}
		s.want(416, "BLOB_UPLOAD_INVALID", "PATCH", at, content[5:], "Content-Range: 5-9")
		s.want(416, "BLOB_UPLOAD_INVALID", "PATCH", at, content[:4], "Content-Range: 0-3")
		if r := s.want(204, "", "GET", at, ""); r.header.Get("Range") != "0-3" {
			t.Errorf("range %q, want 0-3", r.header.Get("Range"))
		}
		s.want(202, "", "PATCH", at, content[4:8], "Content-Range: 4-7")
		r := s.want(201, "", "PUT", at+"?digest="+d, content[8:], "Content-Range: 8-9")
		if r.header.Get("Docker-Content-Digest") != d || r.header.Get("Location") != "/v2/a/b/blobs/"+d {
			t.Errorf("answered %v", r.header)
		}
		s.want(404, "BLOB_UPLOAD_UNKNOWN", "GET", at, "")
	})
	t.Run("given up", func(t *testing.T) {
		at := begin()
		s.want(204, "", "DELETE", at, "")
		s.want(404, "BLOB_UPLOAD_UNKNOWN", "PATCH", at, "x")
	})
	t.Run("fetched", func(t *testing.T) {
		if r := s.want(200, "", "GET", "/v2/a/b/blobs/"+d, ""); r.body != content {
			t.Errorf("got %q", r.body)
		}
		if r := s.want(206, "", "GET", "/v2/a/b/blobs/"+d, "", "Range: bytes=2-4"); r.body != "234" {
			t.Errorf("got the part %q", r.body)
		}
		if r := s.want(200, "", "HEAD", "/v2/a/b/blobs/"+d, ""); r.header.Get("Content-Length") != "10" {
			t.Errorf("length %q", r.header.Get("Content-Length"))
		}
	})
	t.Run("mounted", func(t *testing.T) {
		s.want(404, "BLOB_UNKNOWN", "GET", "/v2/c/blobs/"+d, "")
		s.want(202, "", "POST", "/v2/c/blobs/uploads/?from=other&mount="+d, "")
		s.want(201, "", "POST", "/v2/c/blobs/uploads/?from=a/b&mount="+d, "")
		s.want(200, "", "GET", "/v2/c/blobs/"+d, "")
	})
	t.Run("deleted", func(t *testing.T) {
		s.want(202, "", "DELETE", "/v2/c/blobs/"+d, "")
		s.want(404, "BLOB_UNKNOWN", "GET", "/v2/c/blobs/"+d, "")
		s.want(200, "", "GET", "/v2/a/b/blobs/"+d, "")
	})
}

func TestManifests(t *testing.T) {
	s := start(t, t.TempDir(), localregistry.Options{})
	m := manifest("")
	s.put(404, "MANIFEST_BLOB_UNKNOWN", "app", "v1", m)
	s.blob("app", "{}")
	r := s.put(201, "", "app", "v1", m)
	d := digest(m)
	if got := r.header.Get("Docker-Content-Digest"); got != d {
		t.Errorf("digest %s, want %s", got, d)
	}
	for _, reference := range []string{"v1", d} {
		r := s.want(200, "", "GET", "/v2/app/manifests/"+reference, "")
		if r.body != m || r.header.Get("Content-Type") != manifestType {
			t.Errorf("%s: %s %s", reference, r.header.Get("Content-Type"), r.body)
		}
		s.want(200, "", "HEAD", "/v2/app/manifests/"+reference, "")
	}
	s.put(404, "MANIFEST_BLOB_UNKNOWN", "app", "v2", `{"config":{}}`)
	s.put(400, "DIGEST_INVALID", "app", digest("other"), m)
	s.put(400, "MANIFEST_INVALID", "app", "v2", "{")
	s.want(400, "MANIFEST_INVALID", "PUT", "/v2/app/manifests/v2", m, "Content-Type: text/plain")
	s.put(413, "MANIFEST_INVALID", "app", "v2", strings.Repeat(" ", 4<<20)+m)
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"size":1,"digest":%q}]}`, types.OCIImageIndex, manifestType, digest("missing"))
	s.want(404, "MANIFEST_BLOB_UNKNOWN", "PUT", "/v2/app/manifests/v3", index, "Content-Type: "+string(types.OCIImageIndex))

	s.put(201, "", "app", "v1-same", m)
	s.want(202, "", "DELETE", "/v2/app/manifests/v1-same", "")
	s.want(200, "", "GET", "/v2/app/manifests/v1", "")
	s.want(202, "", "DELETE", "/v2/app/manifests/"+d, "")
	for _, reference := range []string{"v1", d} {
		s.want(404, "MANIFEST_UNKNOWN", "GET", "/v2/app/manifests/"+reference, "")
		s.want(404, "MANIFEST_UNKNOWN", "DELETE", "/v2/app/manifests/"+reference, "")
	}
}

func TestBadPaths(t *testing.T) {
	s := start(t, t.TempDir(), localregistry.Options{})
	s.want(200, "", "GET", "/v2/", "")
	for path, status := range map[string]int{
		"/":                              404,
		"/v1/":                           404,
		"/v2/app":                        404,
		"/v2/app/other/x":                404,
		"/v2/UPPER/manifests/v1":         400,
		"/v2/a//b/manifests/v1":          400,
		"/v2/%2e%2e/manifests/v1":        400,
		"/v2/_tags/manifests/v1":         400,
		"/v2/app/manifests/%2e%2e%2fx":   404,
		"/v2/app/manifests/.hidden":      400,
		"/v2/app/manifests/sha256:short": 400,
		"/v2/app/blobs/sha256:short":     400,
		"/v2/app/blobs/uploads/%2e%2e":   404,
		"/v2/app/blobs/uploads/NOSUCH":   404,
		"/v2/app/referrers/sha512:" + strings.Repeat("a", 128): 400,
	} {
		if r := s.do("GET", path, ""); r.status != status {
			t.Errorf("GET %s: %d, want %d", path, r.status, status)
		}
	}
	for path, allow := range map[string]string{
		"/v2/app/tags/list":                "GET",
		"/v2/app/manifests/v1":             "GET, HEAD, PUT, DELETE",
		"/v2/app/referrers/" + digest("x"): "GET",
		"/v2/app/blobs/uploads/":           "POST",
	} {
		if r := s.do("PATCH", path, ""); r.status != 405 || r.header.Get("Allow") != allow {
			t.Errorf("PATCH %s: %d, Allow %q; want 405, %q", path, r.status, r.header.Get("Allow"), allow)
		}
	}
}

func TestAccessIsTold(t *testing.T) {
	var mu sync.Mutex
	var got []localregistry.Access
	s := start(t, t.TempDir(), localregistry.Options{OnAccess: func(a localregistry.Access) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, a)
	}})
	s.do("GET", "/v2/", "")
	s.do("GET", "/v2/app/tags/list?n=1", "")
	s.do("HEAD", "/v2/app/manifests/v1", "")
	want := []localregistry.Access{
		{Method: "GET", Path: "/v2/", Status: 200},
		{Method: "GET", Path: "/v2/app/tags/list", Query: "n=1", Status: 200},
		{Method: "HEAD", Path: "/v2/app/manifests/v1", Status: 404},
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("access log (-want +got):\n%s", diff)
	}
}

func TestFolderIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "registry")
	s := start(t, dir, localregistry.Options{})
	s.blob("app", "secret")
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := localregistry.Open(filepath.Join(dir, "blobs", strings.TrimPrefix(digest("secret"), "sha256:")), localregistry.Options{}); err == nil {
		t.Error("opened a file as a folder")
	}
}

// Many writers: every blob and manifest is stored whole, every referrer listed.
func TestManyWriters(t *testing.T) {
	s := start(t, t.TempDir(), localregistry.Options{})
	s.blob("app", "{}")
	subject := manifest("")
	s.put(201, "", "app", "v1", subject)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			m := manifest(fmt.Sprintf(`,"subject":{"mediaType":%q,"size":1,"digest":%q},"annotations":{"n":"%d"}`, manifestType, digest(subject), i%10))
			for _, reference := range []string{digest(m), fmt.Sprintf("tag-%d", i%5)} {
				r := s.do("PUT", "/v2/app/manifests/"+reference, m, "Content-Type: "+manifestType)
				if r.status != 201 {
					t.Errorf("%s: %d %s", reference, r.status, r.body)
				}
			}
		})
	}
	group.Wait()
	var index v1.IndexManifest
	if err := json.Unmarshal([]byte(s.want(200, "", "GET", "/v2/app/referrers/"+digest(subject), "").body), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 10 {
		t.Errorf("%d referrers, want 10", len(index.Manifests))
	}
}

// No request whatever makes the registry fail inside, or write a file outside
// of its folder.
func FuzzRequests(f *testing.F) {
	parent := f.TempDir()
	dir := filepath.Join(parent, "registry")
	registry, err := localregistry.Open(dir, localregistry.Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, method := range []string{"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"} {
		f.Add(method, "/v2/app/manifests/v1", "digest=sha256:"+strings.Repeat("a", 64), manifest(""))
		f.Add(method, "/v2/app/blobs/uploads/", "digest="+digest("{}"), "{}")
		f.Add(method, "/v2/../../x/blobs/uploads/../../y", "mount="+digest("{}")+"&from=../app", `{"subject":{"digest":"sha256:../../x"}}`)
		f.Add(method, "/v2/app/referrers/"+digest("{}"), "n=0&last=x", `{"manifests":[{}]}`)
	}
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		req, err := http.NewRequest(method, "http://registry.test/", bytes.NewReader([]byte(body)))
		if err != nil {
			return
		}
		req.URL.Path, req.URL.RawQuery = path, query
		rec := httptest.NewRecorder()
		registry.ServeHTTP(rec, req)
		if rec.Code >= 500 {
			t.Errorf("%s %q ? %q: %d %s", method, path, query, rec.Code, rec.Body)
		}
		entries, err := os.ReadDir(parent)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%s %q ? %q: the folder's parent holds %v (%v)", method, path, query, entries, err)
		}
	})
}
