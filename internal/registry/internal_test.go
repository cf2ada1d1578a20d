package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

func TestRetryWaits(t *testing.T) {
	plan := Retry{}.withDefaults()
	for attempt := 1; attempt < plan.Attempts; attempt++ {
		longest := min(plan.Base<<(attempt-1), plan.Longest)
		for range 100 {
			d, ok := plan.wait(attempt, 0)
			if !ok || d < longest/2 || d > longest {
				t.Fatalf("wait after attempt %d: %s, %v; want between %s and %s", attempt, d, ok, longest/2, longest)
			}
		}
	}
	if d, ok := plan.wait(plan.Attempts, 0); ok {
		t.Errorf("waits %s after the last attempt", d)
	}
	if d, ok := plan.wait(1, 7*time.Second); !ok || d != 7*time.Second {
		t.Errorf("asked for 7s: waits %s, %v", d, ok)
	}
	if d, ok := plan.wait(1, time.Hour); ok {
		t.Errorf("asked for an hour: waits %s", d)
	}
}

func TestRetryAfter(t *testing.T) {
	soon := time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "-1": 0, "x": 0, "7": 7 * time.Second, "999999999": 24 * time.Hour,
		"Mon, 02 Jan 2006 15:04:05 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}); got != want {
			t.Errorf("Retry-After %q: %s, want %s", value, got, want)
		}
	}
	if got := retryAfter(http.Header{"Retry-After": {soon}}); got <= 0 || got > 11*time.Second {
		t.Errorf("Retry-After %q: %s", soon, got)
	}
}

func TestHints(t *testing.T) {
	const ecr = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
	for _, test := range []struct {
		host string
		err  StatusError
		want string
	}{
		{ecr, StatusError{Status: 401}, "aws sts get-caller-identity"},
		{ecr, StatusError{Status: 403}, "ecr:PutImage"},
		{ecr, StatusError{Status: 404, Code: "NAME_UNKNOWN"}, "aws ecr create-repository --repository-name team/app"},
		{"ghcr.io", StatusError{Status: 401}, "packages: write"},
		{"registry.test", StatusError{Status: 401}, "docker login registry.test"},
		{"registry.test", StatusError{Status: 404, Code: "NAME_UNKNOWN"}, "create the repository team/app at registry.test"},
		{"registry.test", StatusError{Status: 404}, "tag or digest"},
		{"registry.test", StatusError{Status: 502}, "in trouble"},
		{"registry.test", StatusError{Status: 429, RetryAfter: time.Minute}, "1m0s"},
	} {
		repo, err := name.NewRepository(test.host + "/team/app")
		if err != nil {
			t.Fatal(err)
		}
		if got := hint.Of(explain(fmt.Errorf("pushing: %w", &test.err), repo)); !strings.Contains(got, test.want) {
			t.Errorf("%s, %d %s: hint %q, want %q in it", test.host, test.err.Status, test.err.Code, got, test.want)
		}
	}
}

// Registries say "immutable" in their own words; these are theirs.
func TestSoundsImmutable(t *testing.T) {
	for _, test := range []struct {
		err  StatusError
		want bool
	}{
		{StatusError{Status: 400, Code: "TAG_INVALID", Message: "The image tag 'x' already exists in the 'app' repository and cannot be overwritten because the tag is immutable."}, true},
		{StatusError{Status: 412, Code: "PRECONDITION", Message: "Failed to process request due to 'app:x' configured as immutable."}, true},
		{StatusError{Status: 409, Code: "TAG_IMMUTABLE"}, true},
		{StatusError{Status: 403, Code: "DENIED", Message: "tag immutability is enabled"}, true},
		{StatusError{Status: 403, Code: "DENIED", Message: "requested access to the resource is denied"}, false},
		{StatusError{Status: 400, Code: "MANIFEST_INVALID", Message: "no"}, false},
		{StatusError{Status: 401, Code: "UNAUTHORIZED"}, false},
	} {
		if got := soundsImmutable(&test.err); got != test.want {
			t.Errorf("%v: %v, want %v", &test.err, got, test.want)
		}
	}
}

// The date of a bundle comes from inside it.
func TestMadeAt(t *testing.T) {
	for bundle, want := range map[string]string{
		`{"verificationMaterial":{"tlogEntries":[{"integratedTime":"1700000000"}]}}`: "2023-11-14T22:13:20Z",
		`{"verificationMaterial":{"tlogEntries":[{"integratedTime":"0"}]}}`:          "1970-01-01T00:00:00Z",
		`{}`: "1970-01-01T00:00:00Z",
	} {
		got, err := madeAt([]byte(bundle))
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %s, %v; want %s", bundle, got.UTC(), err, want)
		}
	}
}

var (
	aToken   = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}`)
	aControl = regexp.MustCompile(`[\x00-\x1f\x7f]`)
)

// Whatever a registry says, what is shown of it is short, printable text
// without tokens.
func FuzzTame(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x1b[2J", "Bearer abcdefghij", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", `{"token":"x"}`, "\xff\xfe", strings.Repeat("ä", 500), "eyJ\x00hbGciOiJSUzI1NiJ9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := tame(text)
		if aControl.MatchString(got) || aToken.MatchString(got) || !utf8.ValidString(got) || len(got) > messageLimit+4 {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// Adding to a fallback index loses nothing that was in it, and adds each
// descriptor once.
func FuzzFallbackIndex(f *testing.F) {
	f.Add(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`, "a")
	f.Add(`{"manifests":[{"digest":"sha256:`+strings.Repeat("ab", 32)+`","x":{"y":1}}],"annotations":{"a":"b"}}`, "b")
	f.Add(`{"manifests":null}`, "c")
	f.Fuzz(func(t *testing.T, index, content string) {
		var before fallback
		if json.Unmarshal([]byte(index), &before.index) != nil || before.index == nil {
			return
		}
		if raw, ok := before.index["manifests"]; ok {
			if json.Unmarshal(raw, &before.entries) != nil || json.Unmarshal(raw, &before.listed) != nil {
				return
			}
		}
		before.index["mediaType"] = json.RawMessage(`"` + types.OCIImageIndex + `"`)
		added := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: bytesBlob([]byte(content)).digest, Size: 1}
		missing := before.lacking([]v1.Descriptor{added})
		m, err := before.with(missing)
		if err != nil {
			t.Fatal(err)
		}
		var after struct{ Manifests []json.RawMessage }
		var listed struct{ Manifests []v1.Descriptor }
		if err := json.Unmarshal(m.raw, &after); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(m.raw, &listed); err != nil {
			t.Fatal(err)
		}
		if len(after.Manifests) != len(before.entries)+len(missing) {
			t.Fatalf("%d entries after %d and %d more", len(after.Manifests), len(before.entries), len(missing))
		}
		if rest := (fallback{listed: listed.Manifests}).lacking(append(before.listed, added)); len(rest) != 0 {
			t.Errorf("lost %v", rest)
		}
	})
}
