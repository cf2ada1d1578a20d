package query_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/access"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/localregistry"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/query"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// contract holds answers against the served description, and keeps count of
// which operations gave which status.
type contract struct {
	compiler *jsonschema.Compiler
	paths    map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]json.RawMessage `json:"content"`
		} `json:"responses"`
	}
	seen map[string][]int // METHOD path -> statuses
}

// read reads the description, which must itself be valid.
func read(t *testing.T, description string) *contract {
	t.Helper()
	c := &contract{compiler: jsonschema.NewCompiler(), seen: map[string][]int{}}
	raw, err := os.ReadFile(filepath.Join("testdata", "openapi-3.1.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	for at, text := range map[string]string{"openapi-3.1.json": string(raw), "openapi.json": description} {
		parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.compiler.AddResource(at, parsed); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.compiler.Compile("openapi-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(description))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("the description is no OpenAPI 3.1 document: %v", err)
	}
	if err := json.Unmarshal([]byte(description), &struct{ Paths any }{&c.paths}); err != nil {
		t.Fatal(err)
	}
	return c
}

// call is one request with the status it must get.
type call struct {
	op         string // METHOD path, as described
	path       string // what to ask; the described path when empty
	body, kind string
	token      string
	want       int
}

// make sends a request and holds the answer against the description.
func (c *contract) make(t *testing.T, server *httptest.Server, do call) {
	t.Helper()
	method, template, _ := strings.Cut(do.op, " ")
	if do.path == "" {
		do.path = template
	}
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+do.path, strings.NewReader(do.body))
	if err != nil {
		t.Fatal(err)
	}
	if do.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if do.kind != "" {
		req.Header.Set("Content-Type", do.kind)
	}
	if do.token != "" {
		req.Header.Set("Authorization", "Bearer "+do.token)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != do.want {
		t.Errorf("%s %s: %d %s, want %d", method, do.path, resp.StatusCode, body.String(), do.want)
		return
	}
	c.seen[do.op] = append(c.seen[do.op], resp.StatusCode)
	described, ok := c.paths[template][strings.ToLower(method)].Responses[fmt.Sprint(resp.StatusCode)]
	if !ok {
		t.Errorf("%s gives %d, which is not described", do.op, resp.StatusCode)
		return
	}
	if len(described.Content) == 0 {
		if body.Len() > 0 {
			t.Errorf("%s %d is described without a body and has %q", do.op, resp.StatusCode, body.String())
		}
		return
	}
	kind := resp.Header.Get("Content-Type")
	if _, ok := described.Content[kind]; !ok {
		t.Errorf("%s %d is %q, which is not described", do.op, resp.StatusCode, kind)
		return
	}
	if err := c.validate(template, strings.ToLower(method), fmt.Sprint(resp.StatusCode), kind, body.Bytes()); err != nil {
		t.Errorf("%s %d is not as described: %v\n%s", do.op, resp.StatusCode, err, body.String())
	}
}

func (c *contract) validate(path, method, status, kind string, body []byte) error {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "+", "%2B").Replace
	schema, err := c.compiler.Compile("openapi.json#/paths/" + escape(path) + "/" + method + "/responses/" + status + "/content/" + escape(kind) + "/schema")
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// guarded is a service with access rules, a registry beside it that holds one
// image without evidence, and a policy for its repository.
type guarded struct {
	*httptest.Server
	tokens     map[access.Role]string
	host       string
	tag        name.Tag
	digest     string
	repository string
}

func serveGuarded(t *testing.T, readRate float64) guarded {
	t.Helper()
	handler, err := localregistry.Open(t.TempDir(), localregistry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	images := httptest.NewServer(handler)
	t.Cleanup(images.Close)
	g := guarded{tokens: map[access.Role]string{}, host: strings.TrimPrefix(images.URL, "http://")}
	g.repository = g.host + "/acme/app"
	if g.tag, err = name.NewTag(g.repository + ":v1"); err != nil {
		t.Fatal(err)
	}
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(g.tag, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	g.digest = digest.String()
	text := "tokens:\n"
	for _, role := range []access.Role{access.Read, access.Intake, access.Admin} {
		secret, entry := access.NewToken(role.String(), role)
		g.tokens[role] = secret
		text += fmt.Sprintf("  - {name: %s, role: %s, sha256: %s}\n", entry.Name, entry.Role, entry.SHA256)
	}
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := access.ReadRules(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse("hallmark.yaml", []byte("version: 1\nimage: "+g.repository+"\nbuild:\n  go: {package: .}\ntrust: {root: local}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "memory.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m, err := memory.Open(t.Context(), memory.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	client, err := registry.New(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := intake.New(intake.Config{Memory: m, Registry: client, Unverified: true, Judge: func(_ context.Context, repository string) (verify.Options, error) {
		if repository != g.repository {
			return verify.Options{}, fmt.Errorf("%s: %w", repository, intake.ErrNoPolicy)
		}
		return verify.Options{Policy: p}, nil
	}})
	g.Server = httptest.NewServer(query.New(query.Config{Memory: m, Intake: in, Access: rules, Metrics: query.NewMetrics("test"), Version: "test", ReadRate: readRate}))
	t.Cleanup(g.Server.Close)
	return g
}

const openvex = `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://acme.example/vex/1","author":"acme","timestamp":"2026-01-01T00:00:00Z","version":1,` +
	`"statements":[{"vulnerability":{"name":"CVE-2019-14234"},"products":[{"@id":"pkg:pypi/django@2.0.1"}],"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"}]}`

// Every operation of the description is called, and every answer, of success
// and of refusal, must be as described.
func TestEveryOperationKeepsToTheDescription(t *testing.T) {
	g := serveGuarded(t, 0)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.tokens[access.Read])
	resp, err := g.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var description bytes.Buffer
	if _, err := description.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	c := read(t, description.String())
	reader, admin := g.tokens[access.Read], g.tokens[access.Admin]
	pushed := fmt.Sprintf(`{"events":[{"action":"push","target":{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":%q,"repository":"acme/app","tag":"v1"},"request":{"host":%q}}]}`, g.digest, g.host)
	// What a service may write, in an order in which each finds what it needs.
	writing := []call{
		{op: "POST /v1/sboms", path: "/v1/sboms?image=" + url.QueryEscape(first), body: document("2.0.1"), want: 200},
		{op: "POST /v1/sboms", path: "/v1/sboms?image=" + url.QueryEscape(second), body: document("6.0.4"), want: 200},
		{op: "POST /v1/sboms", path: "/v1/sboms?image=" + url.QueryEscape(second), body: document("6.0.4")[:80], want: 422},
		{op: "POST /v1/sboms", path: "/v1/sboms?image=app", body: document("6.0.4"), want: 400},
		{op: "POST /v1/advisories", path: "/v1/advisories?source=test", kind: "application/x-ndjson", body: advisory("PYSEC-2019-16", "CVE-2019-14234"), want: 200},
		{op: "POST /v1/advisories", path: "/v1/advisories?source=test", kind: "application/x-ndjson", body: "{", want: 400},
		{op: "POST /v1/vex", body: openvex, want: 200},
		{op: "POST /v1/vex", body: "{}", want: 400},
		{op: "POST /v1/vex", body: `"` + strings.Repeat("x", 1<<20) + `"`, want: 413},
		{op: "POST /v1/images", body: fmt.Sprintf(`{"image":%q}`, g.tag), want: 200},
		{op: "POST /v1/images", body: `{"image":"elsewhere.example/app:v1"}`, want: 403},
		{op: "POST /v1/images", body: `{"image":"//"}`, want: 400},
		{op: "POST /v1/releases", body: `{"repository":"r.example/a/b","commit":"` + strings.Repeat("a", 40) + `","outcome":"refused","reasons":["severity"]}`, want: 204},
		{op: "POST /v1/releases", body: `{"repository":"r.example/a/b","commit":"main","outcome":"refused"}`, want: 422},
		{op: "POST /v1/releases", body: `{"repository":"r.example/a/b","commit":"` + strings.Repeat("a", 40) + `","outcome":"refused","reasons":["because"]}`, want: 422},
		{op: "POST /v1/releases", body: `{"repository":"r.example/a/b","commit":"` + strings.Repeat("a", 40) + `","outcome":"released","digest":"sha256:1"}`, want: 400},
		{op: "POST /v1/sweeps", body: fmt.Sprintf(`{"repository":%q}`, g.repository), want: 200},
		{op: "POST /v1/notifications/distribution", body: pushed, kind: "application/vnd.docker.distribution.events.v2+json", want: 200},
		{op: "POST /v1/notifications/distribution", body: "{", want: 400},
		{op: "POST /v1/notifications/ecr", body: `{"source":"aws.ecr","detail-type":"ECR Image Scan"}`, want: 200},
		{op: "POST /v1/notifications/ecr", body: "{", want: 400},
	}
	for _, do := range writing {
		do.token = admin
		c.make(t, g.Server, do)
	}
	for path, q := range questions {
		op := "GET " + path
		c.make(t, g.Server, call{op: op, path: q.ask, token: reader, want: 200})
		c.make(t, g.Server, call{op: op, path: q.ask, want: 401})
		if path == "/v1/status" {
			continue
		}
		mark := "?"
		if strings.Contains(q.ask, "?") {
			mark = "&"
		}
		c.make(t, g.Server, call{op: op, path: q.ask + mark + "limt=1", token: reader, want: 422})
	}
	for _, do := range []call{
		{op: "GET /v1/who-has", path: "/v1/who-has?package=django&cursor=!!", want: 400},
		{op: "GET /v1/affected/{id}", path: "/v1/affected/CVE-1999-0001", want: 404},
		{op: "GET /v1/image", path: "/v1/image?ref=" + strings.Repeat("0", 64), want: 404},
	} {
		do.token = reader
		c.make(t, g.Server, do)
	}
	for _, do := range append(writing, call{op: "DELETE /v1/images/{digest}", path: "/v1/images/" + first[len(first)-71:]}) {
		do.token, do.want = reader, http.StatusForbidden
		c.make(t, g.Server, do)
	}
	for want, digest := range map[int]string{204: first[len(first)-71:], 404: "sha256:" + strings.Repeat("0", 64), 400: "no-digest"} {
		c.make(t, g.Server, call{op: "DELETE /v1/images/{digest}", path: "/v1/images/" + digest, token: admin, want: want})
	}
	slow := serveGuarded(t, 0.001)
	for _, want := range []int{200, 429} {
		c.make(t, slow.Server, call{op: "GET /v1/status", token: slow.tokens[access.Read], want: want})
	}
	c.complete(t)
}

// complete fails for an operation that never succeeded here.
func (c *contract) complete(t *testing.T) {
	t.Helper()
	for path, operations := range c.paths {
		for method := range operations {
			op := strings.ToUpper(method) + " " + path
			if !slices.ContainsFunc(c.seen[op], func(status int) bool { return status < 300 }) {
				t.Errorf("nobody calls %s here, or it never succeeds", op)
			}
		}
	}
	answers := 0
	for _, statuses := range c.seen {
		answers += len(statuses)
	}
	t.Logf("%d answers of %d operations are as described", answers, len(c.seen))
}
