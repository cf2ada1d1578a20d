package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// pushIndex stores an index of platforms, whose images are as small as can be.
func (y *yard) pushIndex(t *testing.T, tag string, platforms ...string) (index name.Digest, members []name.Digest) {
	t.Helper()
	put := func(ref, mediaType string, raw []byte) name.Digest {
		if err := registrytest.Put(t.Context(), "http://"+y.Host+"/v2/acme/app/manifests/"+ref, mediaType, bytes.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(raw)
		return y.repo.Digest("sha256:" + hex.EncodeToString(sum[:]))
	}
	y.pushEmptyBlob(t)
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	var entries []string
	for _, platform := range platforms {
		raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":2},"layers":[],"annotations":{"platform":%q}}`,
			manifestType, emptyBlob, platform)
		sum := sha256.Sum256(raw)
		member := put("sha256:"+hex.EncodeToString(sum[:]), manifestType, raw)
		system, machine, _ := strings.Cut(platform, "/")
		entries = append(entries, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":%q,"architecture":%q}}`, manifestType, member.DigestStr(), len(raw), system, machine))
		members = append(members, member)
	}
	const indexType = "application/vnd.oci.image.index.v1+json"
	return put(tag, indexType, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, indexType, strings.Join(entries, ","))), members
}

// emptyBlob is the SHA-256 of "{}".
const emptyBlob = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

func (y *yard) pushEmptyBlob(t *testing.T) {
	t.Helper()
	resp, err := http.Post("http://"+y.Host+"/v2/acme/app/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	upload, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	query := upload.Query()
	query.Set("digest", "sha256:"+emptyBlob)
	upload.RawQuery = query.Encode()
	if err := registrytest.Put(t.Context(), upload.String(), "application/octet-stream", strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
}

// told is a verdict's carriers in a line each.
func told(v verdict.Verdict) map[string][]string {
	out := map[string][]string{}
	for _, c := range v.Carriers {
		lines := []string{string(c.Outcome)}
		for _, b := range c.Bundles {
			word := "counts"
			if !b.Counts {
				word = "ignored " + b.Code
			}
			lines = append(lines, fmt.Sprintf("%s %s, %d stamps", b.Kind, word, len(b.Stamps)))
		}
		platform := c.Platform
		if platform == "" {
			platform = "subject"
		}
		out[platform] = lines
	}
	return out
}

// An explanation tells what was found on the index and on each platform, and
// changes no check.
func TestExplain(t *testing.T) {
	w, y := newWorld(t, nil), newYard(t, registrytest.Options{})
	index, members := y.pushIndex(t, "v1", "linux/amd64", "linux/arm64", "linux/riscv64")
	y.attach(t, index, w.sign(t, claims(), releaseOf(t, claims(), hash(t, index))...)...)
	y.attach(t, index, w.sign(t, localtrust.GitHubClaims("mallory/app", workflow, ref, commit), statement(t, evidence.Signature, `{}`, hash(t, index)))...)
	y.attach(t, index, w.sign(t, claims(), statement(t, "https://example.test/other", `{}`, hash(t, index)))...)
	y.attach(t, members[0], w.sign(t, claims(), releaseOf(t, claims(), hash(t, members[0]))...)...)
	y.attach(t, members[1], w.sign(t, claims(), releaseOf(t, claims(), hash(t, members[1]))[1])...)

	plain, err := verify.Image(t.Context(), y.client, index, w.options())
	if err != nil {
		t.Fatal(err)
	}
	if plain.Carriers != nil {
		t.Errorf("nobody asked for an explanation: %+v", plain.Carriers)
	}
	o := w.options()
	o.Explain = true
	v, err := verify.Image(t.Context(), y.client, index, o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outcomes(plain), outcomes(v)); diff != "" {
		t.Errorf("explaining changes the verdict: %s", diff)
	}
	all := []string{"pass", "signature counts, 2 stamps", "sbom counts, 2 stamps", "scan counts, 2 stamps", "provenance counts, 2 stamps"}
	want := map[string][]string{
		"subject": {"pass", "signature counts, 2 stamps", "signature ignored identity-mismatch, 2 stamps", "sbom counts, 2 stamps",
			"scan counts, 2 stamps", "provenance counts, 2 stamps", "other ignored , 0 stamps"},
		"linux/amd64":   all,
		"linux/arm64":   {"fail", "sbom counts, 2 stamps"},
		"linux/riscv64": {"fail"},
	}
	if diff := cmp.Diff(want, told(v)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	stranger := v.Carriers[0].Bundles[1]
	if !strings.Contains(stranger.Identity, "mallory/app") || stranger.Issuer != localtrust.Issuer || !strings.Contains(stranger.Reason, "mallory/app") {
		t.Errorf("the stranger's signature is told as %+v", stranger)
	}
	validVerdict(t, v)

	// By the digest of a platform there is one carrier, and a broken bundle is
	// told without anything it says of itself.
	y.attach(t, members[2], edit(t, w.sign(t, claims(), releaseOf(t, claims(), hash(t, members[2]))[0])[0], func(b map[string]any) {
		at(b, "dsseEnvelope").(map[string]any)["signatures"] = []any{map[string]any{"sig": "AAAA"}}
	}))
	v, err = verify.Image(t.Context(), y.client, members[2], o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"subject": {"fail", "signature ignored signature-invalid, 0 stamps"}}, told(v)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if b := v.Carriers[0].Bundles[0]; b.Identity != "" {
		t.Errorf("the identity of a forged bundle is believed: %+v", b)
	}
	validVerdict(t, v)
}

// What could not be looked at is unknown, and the others are told all the same.
func TestExplainUnseen(t *testing.T) {
	w, y := newWorld(t, nil), newYard(t, registrytest.Options{})
	index, members := y.pushIndex(t, "v1", "linux/amd64", "linux/arm64")
	y.attach(t, index, w.sign(t, claims(), releaseOf(t, claims(), hash(t, index))...)...)
	y.Disturb(registrytest.Fault{Path: "/referrers/" + members[1].DigestStr(), Do: registrytest.Status(http.StatusForbidden, "DENIED", "not for you")})
	o := w.options()
	o.Explain = true
	v, err := verify.Image(t.Context(), y.client, index, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := told(v); got["subject"][0] != "pass" || got["linux/amd64"][0] != "fail" || got["linux/arm64"][0] != "unknown" {
		t.Errorf("carriers: %v", got)
	}
	validVerdict(t, v)
}

func validVerdict(t *testing.T, v verdict.Verdict) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schemas/verdict-v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("the schema refuses %s: %v", raw, err)
	}
}
