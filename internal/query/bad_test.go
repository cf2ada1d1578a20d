package query_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/intake"
)

// endless repeats a text until there are so many bytes.
type endless struct {
	text     string
	at, left int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	e.left -= n
	return n, nil
}

const third = "registry.example/app@sha256:3333333333333333333333333333333333333333333333333333333333333333"

func cyclone(rest string) string { return `{"bomFormat":"CycloneDX","specVersion":"1.6",` + rest + `}` }

// What real and hostile documents do must end in a clear answer, and leave
// nothing of the image that was refused.
func TestBadDocuments(t *testing.T) {
	one := `{"type":"library","name":"django","version":"2.0.1","purl":"pkg:pypi/django@2.0.1"}`
	for _, c := range []struct {
		name   string
		body   io.Reader
		status int
		result string
		says   string
	}{
		{"truncated", strings.NewReader(document("2.0.1")[:120]), 422, "", ""},
		{"nothing", strings.NewReader(""), 422, "", ""},
		{"no document", strings.NewReader(`{"hello":1}`), 422, "", ""},
		{"deeply nested", strings.NewReader(cyclone(`"x":` + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000))), 422, "", ""},
		{"components within components", strings.NewReader(cyclone(`"components":` + strings.Repeat(`[{"name":"a","components":`, 20_000) + "[]" + strings.Repeat("}]", 20_000))), 422, "", ""},
		{"200 MB", io.MultiReader(strings.NewReader(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[`), &endless{text: strings.Repeat(one+",", 1000), left: 200 << 20}), 422, "", "more than 500000 packages"},
		{"200 MB of one name", io.MultiReader(strings.NewReader(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":"`), &endless{text: strings.Repeat("a", 4096), left: 200 << 20}), 422, "", "bytes"},
		{"no packages", strings.NewReader(cyclone(`"components":[]`)), 200, "refused", "sbom-empty"},
		{"of another image", strings.NewReader(cyclone(`"metadata":{"component":{"type":"container","name":"a","hashes":[{"alg":"SHA-256","content":"` + strings.Repeat("4", 64) + `"}]}},"components":[` + one + `]`)), 200, "refused", "sbom-other-subject"},
		{"invalid UTF-8", strings.NewReader(cyclone(`"components":[{"type":"library","name":"dj` + "\xff\xfe" + `ango","version":"1"}]`)), 422, "", "UTF-8"},
		{"no package URL", strings.NewReader(cyclone(`"components":[{"type":"library","name":"nameless","version":"1"}]`)), 200, "stored", ""},
		{"a key twice", strings.NewReader(cyclone(`"components":[` + one + `],"components":[` + one + `]`)), 422, "", "occurs twice"},
		{"versions that are none", strings.NewReader(cyclone(`"components":[{"type":"library","name":"django","version":"not a version","purl":"pkg:pypi/django@not%20a%20version"}]`)), 200, "stored", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := service(t, true)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/sboms?image="+url.QueryEscape(third), c.body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			raw, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || !strings.Contains(string(raw), c.says) {
				t.Fatalf("%d %s, want %d and %q", resp.StatusCode, raw, c.status, c.says)
			}
			var r intake.Result
			if err := json.Unmarshal(raw, &r); err != nil {
				t.Fatal(err)
			}
			if c.status == http.StatusOK && string(r.Result) != c.result {
				t.Errorf("%s, want %s", raw, c.result)
			}
			status, answer := send(t, server, http.MethodGet, "/v1/image?ref="+url.QueryEscape(third), "", "")
			if want := map[bool]int{true: 200, false: 404}[c.result == "stored"]; status != want || !utf8.ValidString(answer) {
				t.Errorf("the image then: %d %q, want %d", status, answer, want)
			}
			if c.result == "stored" {
				var report index.ImageReport
				if err := json.Unmarshal([]byte(answer), &report); err != nil || len(report.Packages) == 0 || report.Verified {
					t.Errorf("the image then: %v %s", err, answer)
				}
			}
		})
	}
}
