package evidence_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/evidence"
)

var subject = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}

func TestStrict(t *testing.T) {
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	tests := []struct {
		name, json, want string
	}{
		{"object", `{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}`, ""},
		{"scalar", ` "a" `, ""},
		{"strings that look like JSON", `{"a":"{\"a\":1","b":"\\","c":"\\\"","a\"":1}`, ""},
		{"many keys", "{" + strings.Join(many, ",") + "}", ""},
		{"deep enough", strings.Repeat("[", 128) + strings.Repeat("]", 128), ""},
		{"numbers", `[0,-0,1.5,-1.25e+10,1E-2,1e5,120]`, ""},
		{"words", `[true,false,null]`, ""},
		{"empty object and array", `{"a":{},"b":[ ]}`, ""},
		{"leading zero", `01`, "something after"},
		{"no digit", `-`, "bad number"},
		{"no digit after the point", `1.`, "bad number"},
		{"no digit in the exponent", `1e+`, "bad number"},
		{"no end of a string", `{"a":"b`, "string without end"},
		{"control character", "\"\n\"", "control character"},
		{"bad escape", `"\x"`, "bad escape"},
		{"bad Unicode escape", `"\u12g4"`, `bad \u escape`},
		{"key that is none", `{1:2}`, "no key"},
		{"key without end", `{"a`, "string without end"},
		{"no colon", `{"a" 1}`, "no colon"},
		{"no comma", `[1 2]`, "neither a comma"},
		{"comma at the end", `[1,]`, "no value"},
		{"empty", "  ", "empty"},
		{"cut off", `{"a":`, "no value"},
		{"two values", `{} {}`, "something after"},
		{"junk", "\x00\x01", "no value"},
		{"twice", `{"a":1,"a":2}`, `key "a" twice`},
		{"twice inside", `{"x":[{"a":1,"b":2,"a":2}]}`, `key "a" twice`},
		{"twice after a nested object", `{"a":{"b":1},"a":2}`, `key "a" twice`},
		{"twice by escape", `{"a":1,"\u0061":2}`, `key "a" twice`},
		{"twice but for case", `{"subject":1,"Subject":2}`, `key "subject" twice`},
		{"twice but for Unicode case", `{"subject":1,"ſubject":2}`, `key "subject" twice`},
		{"twice but for a sign Go folds", `{"key":1,"\u212aey":2}`, `key "key" twice`},
		{"twice among many", "{" + strings.Join(many, ",") + `,"k3":0}`, `key "k3" twice`},
		{"twice at the end of many", "{" + strings.Join(many, ",") + `,"k39":0}`, `key "k39" twice`},
		{"too deep", strings.Repeat("[", 129) + strings.Repeat("]", 129), "deeper than 128"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			matches(t, evidence.Strict([]byte(tt.json)), tt.want)
		})
	}
}

func TestDecodeStatement(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	good := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"r","digest":{"sha256":"` + digest + `"}}],"predicateType":"https://x.test/v1","predicate":{"a":1}}`
	change := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("%q is not in the statement", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	tests := []struct {
		name, json, want string
	}{
		{"version 1", good, ""},
		{"version 0.1, as cosign attest writes", change("Statement/v1", "Statement/v0.1"), ""},
		{"no predicate, as a signature may", change(`,"predicate":{"a":1}`, ""), ""},
		{"subject without name", change(`"name":"r",`, ""), ""},
		{"other version", change("Statement/v1", "Statement/v2"), "is not a statement's"},
		{"no type", change(`"_type":"https://in-toto.io/Statement/v1",`, ""), "no _type"},
		{"no predicate type", change(`"predicateType":"https://x.test/v1",`, ""), "no predicateType"},
		{"empty predicate type", change("https://x.test/v1", ""), "is not a URI"},
		{"predicate type with a line break", change("https://x.test/v1", `https://x.test/v1\n`), "is not a URI"},
		{"predicate type of another kind", change(`"https://x.test/v1"`, `7`), "predicateType:"},
		{"no subjects", change(`{"name":"r","digest":{"sha256":"`+digest+`"}}`, ""), "no subject"},
		{"subject without digest", change(`{"sha256":"`+digest+`"}`, `{}`), "has no digest"},
		{"digest in upper case", change(digest, strings.ToUpper(digest)), "not lower-case hex"},
		{"digest too short", change(digest, "ab"), "not lower-case hex"},
		{"digest with more behind", change(digest, digest+`\n`), "not lower-case hex"},
		{"unknown key", change(`"predicate":`, `"more":1,"predicate":`), `unknown key "more"`},
		{"key in other case", change(`"subject"`, `"Subject"`), `unknown key "Subject"`},
		{"duplicate subject", change(`"predicate":`, `"subject":[],"predicate":`), `key "subject" twice`},
		{"array", "[" + good + "]", "no "},
		{"null", "null", "no "},
		{"cut off", good[:40], "malformed JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := evidence.DecodeStatement([]byte(tt.json))
			matches(t, err, tt.want)
		})
	}
	t.Run("too many subjects", func(t *testing.T) {
		s := evidence.Statement{Type: evidence.StatementType, PredicateType: "x:y", Subject: make([]evidence.Subject, 1025)}
		for i := range s.Subject {
			s.Subject[i].Digest = map[string]string{"sha256": digest}
		}
		_, err := s.Payload()
		matches(t, err, "1025 subjects")
	})
	t.Run("too large", func(t *testing.T) {
		_, err := evidence.DecodeStatement(bytes.Repeat([]byte(" "), evidence.MaxStatement+1))
		matches(t, err, "more than the")
	})
}

func TestStatementSurvives(t *testing.T) {
	other := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("cd", 32)}
	made, err := evidence.About("registry.test/app", evidence.CycloneDX, []byte(`{"bomFormat":"CycloneDX"}`), subject, other)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := made.Payload()
	if err != nil {
		t.Fatal(err)
	}
	read, err := evidence.DecodeStatement(payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, read); diff != "" {
		t.Errorf("statement changed (-made +read):\n%s", diff)
	}
	if diff := cmp.Diff([]v1.Hash{subject, other}, read.Digests()); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
	if !read.IsAbout(other) || read.IsAbout(v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ef", 32)}) {
		t.Error("IsAbout does not tell its subjects from others")
	}
}

func TestAboutRefuses(t *testing.T) {
	if _, err := evidence.About("r", "t:t", []byte(`[]`), subject); err == nil {
		t.Error("a predicate that is no object was taken")
	}
	if _, err := evidence.About("r", "t:t", []byte(`{}`)); err == nil {
		t.Error("a statement about nothing was made")
	}
}

// envelope is the JSON of a bundle around a payload, without proof.
func envelope(payload string) string {
	return fmt.Sprintf(`{"mediaType":%q,"dsseEnvelope":{"payloadType":%q,"payload":%q,"signatures":[]}}`,
		evidence.BundleMediaType, evidence.PayloadType, base64.StdEncoding.EncodeToString([]byte(payload)))
}

func statement(t *testing.T) string {
	t.Helper()
	s, err := evidence.About("r", evidence.Scan, []byte(`{"a":1}`), subject)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Payload()
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

func TestParseBundle(t *testing.T) {
	good := envelope(statement(t))
	message := fmt.Sprintf(`{"mediaType":%q,"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":%q},"signature":"AA=="}}`,
		evidence.BundleMediaType, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xab}, 32)))
	tests := []struct {
		name, json, predicate, want string
	}{
		{"envelope", good, evidence.Scan, ""},
		{"version 0.2", strings.Replace(good, "bundle.v0.3+json", "bundle+json;version=0.2", 1), evidence.Scan, ""},
		{"message", message, "", ""},
		{"message of another hash", strings.Replace(message, "SHA2_256", "SHA2_512", 1), "", "is not SHA-256"},
		{"both", message[:len(message)-1] + `,"dsseEnvelope":{}}`, "", "both"},
		{"neither", `{"mediaType":"` + evidence.BundleMediaType + `"}`, "", "neither"},
		{"empty", "", "", "empty"},
		{"cut off", good[:len(good)/2], "", "malformed"},
		{"other media type", strings.Replace(good, "sigstore.bundle", "sigstore.thing", 1), "", "is not a bundle's"},
		{"other payload type", strings.Replace(good, "in-toto+json", "else+json", 1), "", "payload type"},
		{"payload type of another kind", strings.Replace(good, `"payloadType":"application/vnd.in-toto+json"`, `"payloadType":1`, 1), "", "payloadType: json"},
		{"envelope of another kind", `{"mediaType":"` + evidence.BundleMediaType + `","dsseEnvelope":1}`, "", "payload type"},
		{"payload of another kind", strings.Replace(good, `"payload":"`, `"payload":1,"x":"`, 1), "", "payload: no text"},
		{"payload with an escape", strings.Replace(good, `"payload":"e`, `"payload":"\u0065`, 1), evidence.Scan, ""},
		{"message of another kind", strings.Replace(message, `"messageDigest":{`, `"messageDigest":1,"x":{`, 1), "", "cannot unmarshal"},
		{"bad base64", strings.Replace(good, `"payload":"`, `"payload":"!`, 1), "", "payload: illegal"},
		{"payload not a statement", envelope(`{}`), "", "reading in-toto statement"},
		{"two payloads", strings.Replace(good, `"payload":`, `"payload":"","payload":`, 1), "", "twice"},
		{"of another type", `{"mediaType":1}`, "", "cannot unmarshal"},
		{"large junk", strings.Repeat("A", 50<<20), "", "malformed"},
		{"too large", strings.Repeat("A", evidence.MaxBundle+1), "", "more than the"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := evidence.ParseBundle([]byte(tt.json))
			matches(t, err, tt.want)
			if err != nil {
				return
			}
			want := evidence.Signed{PredicateType: tt.predicate, Subjects: []v1.Hash{subject}, Bundle: []byte(tt.json)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLines(t *testing.T) {
	one, err := evidence.ParseBundle([]byte(envelope(statement(t))))
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, one.Bundle, "", "  "); err != nil {
		t.Fatal(err)
	}
	wide := one
	wide.Bundle = indented.Bytes()

	var file bytes.Buffer
	if err := evidence.WriteLines(&file, []evidence.Signed{one, wide}); err != nil {
		t.Fatal(err)
	}
	file.WriteString("\n")
	got, err := evidence.ReadLines(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]evidence.Signed{one, one}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err = evidence.ReadLines(bytes.NewReader(indented.Bytes())); err != nil || len(got) != 1 {
		t.Errorf("one bundle over many lines: %d bundles, %v", len(got), err)
	}

	for name, text := range map[string]string{
		"line 2:":     string(one.Bundle) + "\n{}\n",
		"line 1:":     "junk\n",
		"no bundle":   "\n\n",
		"broken pipe": "",
	} {
		var err error
		if name == "broken pipe" {
			_, err = evidence.ReadLines(failing{})
		} else {
			_, err = evidence.ReadLines(strings.NewReader(text))
		}
		matches(t, err, name)
	}
	if err := evidence.WriteLines(failing{}, []evidence.Signed{one}); err == nil {
		t.Error("a failed write went unnoticed")
	}
	if err := evidence.WriteLines(&file, []evidence.Signed{{Bundle: []byte("{")}}); err == nil {
		t.Error("a broken bundle was written")
	}
}

func TestSignedStatement(t *testing.T) {
	good := envelope(statement(t))
	s, err := evidence.Signed{Bundle: []byte(good)}.Statement()
	if err != nil || s.PredicateType != evidence.Scan || !s.IsAbout(subject) {
		t.Errorf("statement %+v, %v", s, err)
	}
	for text, want := range map[string]string{
		"{":  "malformed",
		"{}": "no envelope",
		strings.Replace(good, "in-toto+json", "else+json", 1): "payload type",
	} {
		_, err := evidence.Signed{Bundle: []byte(text)}.Statement()
		matches(t, err, want)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errors.New("broken pipe") }
func (failing) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func matches(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v does not contain %q", err, want)
	}
}

// FuzzStrict holds Strict to its promise: what it lets through, Go's decoder
// and an independent count of keys read the same way.
func FuzzStrict(f *testing.F) {
	for _, seed := range []string{`{"a":1,"A":2}`, `[{"a":{}},"\\\""]`, `{"\u0061":[],"b":"}"}`, `{"a":{"b":{}},"c":1}`, "null", "{", `{"ſ":1,"S":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := evidence.Strict(raw)
		if !json.Valid(raw) {
			if err == nil {
				t.Fatal("malformed JSON let through")
			}
			return
		}
		twice, deepest := survey(t, raw)
		if want := twice || deepest > evidence.MaxDepth; want != (err != nil) {
			t.Fatalf("key twice %v, depth %d, but error %v", twice, deepest, err)
		}
	})
}

// survey finds repeated keys and depth the slow way, token by token.
func survey(t *testing.T, raw []byte) (twice bool, deepest int) {
	t.Helper()
	type level struct {
		keys  []string
		isObj bool
		next  bool
	}
	var stack []level
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return twice, deepest
		}
		top := len(stack) - 1
		if s, ok := token.(string); ok && top >= 0 && stack[top].isObj && !stack[top].next {
			for _, k := range stack[top].keys {
				// EqualFold is how encoding/json matches a key to a field.
				twice = twice || strings.EqualFold(k, s)
			}
			stack[top].keys = append(stack[top].keys, s)
			stack[top].next = true
			continue
		}
		if top >= 0 {
			stack[top].next = false
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			stack = append(stack, level{isObj: token == json.Delim('{')})
			deepest = max(deepest, len(stack))
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
			if top > 0 {
				stack[top-1].next = false
			}
		}
	}
}

// FuzzDecodeStatement checks that a statement once read can be written and
// read again without change.
func FuzzDecodeStatement(f *testing.F) {
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + subject.Hex + `"}}],"predicateType":"x:y","predicate":{"a":"<"}}`))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"name":"n","digest":{"sha256":"` + subject.Hex + `"}}],"predicateType":"x:y"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		first, err := evidence.DecodeStatement(payload)
		if err != nil {
			return
		}
		written, err := first.Payload()
		if err != nil {
			t.Fatalf("writing what was read: %v", err)
		}
		second, err := evidence.DecodeStatement(written)
		if err != nil {
			t.Fatalf("reading it again: %v", err)
		}
		again, err := second.Payload()
		if err != nil || !bytes.Equal(written, again) {
			t.Fatalf("changed:\n%s\n%s\n%v", written, again, err)
		}
	})
}

// FuzzParseBundle checks that any input ends in an error or in a bundle whose
// subjects are digests.
func FuzzParseBundle(f *testing.F) {
	f.Add([]byte(envelope(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + subject.Hex + `"}}],"predicateType":"x:y"}`)))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		signed, err := evidence.ParseBundle(raw)
		if err != nil {
			return
		}
		for _, s := range signed.Subjects {
			if _, err := v1.NewHash(s.String()); err != nil {
				t.Fatalf("subject %q is no digest: %v", s, err)
			}
		}
	})
}

func BenchmarkParseBundle(b *testing.B) {
	var sbom strings.Builder
	sbom.WriteString(`{"bomFormat":"CycloneDX","components":[`)
	for i := range 8000 {
		if i > 0 {
			sbom.WriteByte(',')
		}
		fmt.Fprintf(&sbom, `{"type":"file","bom-ref":"%016x","name":"/usr/lib/python3/dist-packages/file%d.py","hashes":[{"alg":"SHA-1","content":"%040x"},{"alg":"SHA-256","content":"%064x"}],"properties":[{"name":"a","value":"b"}]}`, i, i, i, i)
	}
	sbom.WriteString("]}")
	s, err := evidence.About("r", evidence.CycloneDX, []byte(sbom.String()), subject)
	if err != nil {
		b.Fatal(err)
	}
	payload, err := s.Payload()
	if err != nil {
		b.Fatal(err)
	}
	raw := []byte(envelope(string(payload)))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := evidence.ParseBundle(raw); err != nil {
			b.Fatal(err)
		}
	}
}
