package query_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/query"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

const (
	first  = "registry.example/app@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	second = "registry.example/app@sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// service serves a new store with two images that nobody vouches for, the
// second with Django 6 in place of 2, and one advisory that hits Django 2.
func service(t *testing.T, unverified bool) *httptest.Server {
	t.Helper()
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
	metrics := query.NewMetrics("test")
	metrics.TrustRoot("registry.test/app", time.Now().AddDate(1, 0, 0), time.Now().AddDate(0, 0, 7))
	server := httptest.NewServer(query.New(query.Config{
		Memory: m, Intake: intake.New(intake.Config{Memory: m, Unverified: unverified}), Metrics: metrics, Version: "test",
	}))
	t.Cleanup(server.Close)
	return server
}

func filled(t *testing.T) *httptest.Server {
	t.Helper()
	server := service(t, true)
	for image, version := range map[string]string{first: "2.0.1", second: "6.0.4"} {
		must(t, server, http.MethodPost, "/v1/sboms?image="+url.QueryEscape(image), "application/json", document(version))
	}
	must(t, server, http.MethodPost, "/v1/advisories?source=test", "application/x-ndjson", advisory("PYSEC-2019-16", "CVE-2019-14234"))
	return server
}

func document(version string) string {
	return `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[` +
		`{"type":"library","name":"django","version":"` + version + `","purl":"pkg:pypi/django@` + version + `","licenses":[{"license":{"id":"BSD-3-Clause"}}]},` +
		`{"type":"library","name":"flask","version":"3.0.0","purl":"pkg:pypi/flask@3.0.0"}]}`
}

func advisory(id, alias string) string {
	return `{"provider":"pypa","id":"` + id + `","aliases":["` + alias + `"],"severity":"critical","affected":[` +
		`{"type":"pypi","name":"django","ranges":[{"format":"python","constraint":">=2.0,<2.0.13 || >=2.1,<2.1.8","fixedIn":"2.0.13","fixState":"fixed"}]}]}` + "\n"
}

func send(t *testing.T, server *httptest.Server, method, path, kind, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func must(t *testing.T, server *httptest.Server, method, path, kind, body string) string {
	t.Helper()
	status, answer := send(t, server, method, path, kind, body)
	if status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// questions are one question for each that the API has, with what its answer
// must say.
var questions = map[string]struct{ ask, says string }{
	"/v1/who-has":       {"/v1/who-has?package=django", `"total":2`},
	"/v1/affected/{id}": {"/v1/affected/CVE-2019-14234", `"total":1`},
	"/v1/image":         {"/v1/image?ref=" + url.QueryEscape(first), `"PYSEC-2019-16"`},
	"/v1/diff":          {"/v1/diff?a=" + url.QueryEscape(first) + "&b=" + url.QueryEscape(second), `"6.0.4"`},
	"/v1/licences":      {"/v1/licences", `"BSD-3-Clause"`},
	"/v1/top":           {"/v1/top", first[len("registry.example/app@"):]},
	"/v1/explain":       {"/v1/explain?id=CVE-2019-14234&purl=" + url.QueryEscape("pkg:pypi/django@6.0.4"), `"PYSEC-2019-16"`},
	"/v1/refusals":      {"/v1/refusals", `"refusals":[]`},
	"/v1/events":        {"/v1/events", `"batches":[`},
	"/v1/status":        {"/v1/status", `"unverified":true`},
}

// Every answer must be what the served OpenAPI document says, and every
// question in that document must be asked here.
func TestAnswersKeepToTheServedDescription(t *testing.T) {
	server := filled(t)
	raw := must(t, server, http.MethodGet, "/openapi.json", "", "")
	var api struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(raw), &api); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(api.OpenAPI, "3.1.") {
		t.Errorf("the description is OpenAPI %q, not 3.1", api.OpenAPI)
	}
	parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("openapi.json", parsed); err != nil {
		t.Fatal(err)
	}
	for path, operations := range api.Paths {
		if _, asked := operations["get"]; !asked {
			continue
		}
		q, known := questions[path]
		if !known {
			t.Errorf("nobody asks %s here", path)
			continue
		}
		answer := must(t, server, http.MethodGet, q.ask, "", "")
		if !strings.Contains(answer, q.says) {
			t.Errorf("%s does not say %s: %s", q.ask, q.says, answer)
		}
		place := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(path)
		schema, err := compiler.Compile("openapi.json#/paths/" + place + "/get/responses/200/content/application~1json/schema")
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(answer)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s is not as described: %v\n%s", q.ask, err, answer)
		}
	}
}

// An advisory must be in the next answer after its import, under each of its
// names, and be told as newly affected.
func TestNewAdvisoryIsAnsweredAtOnce(t *testing.T) {
	server := filled(t)
	if status, answer := send(t, server, http.MethodGet, "/v1/affected/CVE-2030-1", "", ""); status != http.StatusNotFound {
		t.Errorf("an unknown advisory: %d %s, want 404", status, answer)
	}
	must(t, server, http.MethodPost, "/v1/advisories?source=test&partial=true", "application/x-ndjson", advisory("GHSA-xxxx-0000-0001", "CVE-2030-1"))
	for _, id := range []string{"CVE-2030-1", "GHSA-xxxx-0000-0001"} {
		answer := must(t, server, http.MethodGet, "/v1/affected/"+id, "", "")
		if !strings.Contains(answer, `"total":1`) || !strings.Contains(answer, `"unverified":1`) {
			t.Errorf("%s: %s, want one image, and that it is unverified", id, answer)
		}
	}
	if events := must(t, server, http.MethodGet, "/v1/events", "", ""); !strings.Contains(events, "CVE-2030-1") && !strings.Contains(events, "GHSA-xxxx-0000-0001") {
		t.Errorf("the events do not tell of it: %s", events)
	}
}

func TestRefusesWhatItCannotTake(t *testing.T) {
	server, closed := filled(t), service(t, false)
	for _, c := range []struct {
		name, method, path, kind, body string
		server                         *httptest.Server
		want                           int
	}{
		{"a misspelt filter", http.MethodGet, "/v1/affected/CVE-2019-14234?fixabel=true", "", "", server, http.StatusUnprocessableEntity},
		{"a broken cursor", http.MethodGet, "/v1/who-has?package=django&cursor=!!", "", "", server, http.StatusBadRequest},
		{"a document that ends early", http.MethodPost, "/v1/sboms?image=" + url.QueryEscape(second), "application/json", document("1")[:90], server, http.StatusUnprocessableEntity},
		{"an image by tag", http.MethodPost, "/v1/sboms?image=registry.example/app:v1", "application/json", document("1"), server, http.StatusBadRequest},
		{"a loose document where none may come in", http.MethodPost, "/v1/sboms?image=" + url.QueryEscape(first), "application/json", document("1"), closed, http.StatusForbidden},
		{"a record that is none", http.MethodPost, "/v1/advisories?source=x", "application/x-ndjson", advisory("A-1", "CVE-1") + "{", server, http.StatusBadRequest},
	} {
		status, answer := send(t, c.server, c.method, c.path, c.kind, c.body)
		if status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, status, answer, c.want)
		}
	}
	if answer := must(t, server, http.MethodGet, "/v1/who-has?package=django", "", ""); !strings.Contains(answer, `"total":2`) {
		t.Errorf("something of what was refused is kept: %s", answer)
	}
	if status, answer := send(t, server, http.MethodGet, "/v1/affected/A-1", "", ""); status != http.StatusNotFound {
		t.Errorf("half an import is kept: %d %s", status, answer)
	}
}
