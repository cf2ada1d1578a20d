package sbom_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/sbom"
)

const digestHex = "65edbb748031fd48edcfdfc30d0a291a49887a2ad0fcb9c0cb2105bdd922fa9c"

// minimal is the smallest document Decode takes, with more inside it.
func minimal(more string) string {
	return `{"bomFormat":"CycloneDX","specVersion":"1.5"` + more + `}`
}

func TestDecode(t *testing.T) {
	whole := `{
	  "components": [
	    {"type":"library","name":"libc6","purl":"pkg:deb/debian/libc6@2.36?distro=debian-12"},
	    {"type":"operating-system","name":"debian","version":"12"},
	    {"type":"file","name":"/etc/passwd"},
	    {"type":"application","name":"thing"},
	    {"type":"library","name":"a","purl":"pkg:PyPI/a@1","components":[
	       {"type":"library","name":"b","purl":"pkg:pypi/b@1","evidence":{"deep":[[{"x":null}]]}}]}
	  ],
	  "metadata": {"timestamp":"2024-01-01T00:00:00Z","component":{
	     "type":"container","name":"registry.example/app","version":"sha256:` + digestHex + `",
	     "hashes":[{"alg":"SHA-1","content":"da39"},{"alg":"SHA-256","content":"` + digestHex + `"}],
	     "purl":"pkg:oci/app@sha256%3A` + digestHex + `?arch=amd64"}},
	  "serialNumber": "urn:uuid:22d8a0b3-9d05-8377-9b44-71a09941dfd9",
	  "specVersion": "1.4", "version": 1, "bomFormat": "CycloneDX",
	  "vulnerabilities": [{"id":"CVE-1","ratings":[{"score":9.8e0}]}]
	}`
	got, err := sbom.Decode(strings.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := sbom.Summary{
		SpecVersion: "1.4", SerialNumber: "urn:uuid:22d8a0b3-9d05-8377-9b44-71a09941dfd9", Distro: "debian 12",
		Packages: map[string]int{"deb": 1, "pypi": 2, sbom.NoType: 1},
		Subject: sbom.Subject{
			Type: "container", Name: "registry.example/app", Version: "sha256:" + digestHex,
			PURL: "pkg:oci/app@sha256%3A" + digestHex + "?arch=amd64", Digests: []string{"sha256:" + digestHex},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Total() != 4 {
		t.Errorf("Total is %d, want 4", got.Total())
	}
}

// A document may claim one digest in one field and another in the next; the
// reader must see both.
func TestDecodeDigests(t *testing.T) {
	other := strings.Repeat("0", 64)
	for name, test := range map[string]struct {
		component string
		want      []string
	}{
		"none":             {`{"name":"x","version":"1.0"}`, nil},
		"version":          {`{"version":"SHA256:` + strings.ToUpper(digestHex) + `"}`, []string{"sha256:" + digestHex}},
		"purl unescaped":   {`{"purl":"pkg:oci/app@sha256:` + digestHex + `?arch=arm64"}`, []string{"sha256:" + digestHex}},
		"contradiction":    {`{"version":"sha256:` + digestHex + `","hashes":[{"alg":"SHA-256","content":"` + other + `"}]}`, []string{"sha256:" + other, "sha256:" + digestHex}},
		"too short":        {`{"version":"sha256:abcdef"}`, nil},
		"no hex":           {`{"version":"sha256:` + strings.Repeat("g", 64) + `"}`, nil},
		"other algorithm":  {`{"hashes":[{"alg":"SHA-512","content":"` + other + `"}]}`, nil},
		"component is nil": {`null`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := sbom.Decode(strings.NewReader(minimal(`,"metadata":{"component":` + test.component + `}`)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Subject.Digests); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	for name, test := range map[string]struct {
		doc  string
		says string
	}{
		"empty":              {"", "empty"},
		"spaces":             {" \n\t", "empty"},
		"xml":                {`<?xml version="1.0"?><bom/>`, "XML"},
		"text":               {"hello", "begins with 'h'"},
		"array":              {"[]", "begins with '['"},
		"no format":          {`{}`, "no bomFormat"},
		"spdx":               {`{"spdxVersion":"SPDX-2.3"}`, "spdxVersion"},
		"in-toto":            {`{"_type":"https://in-toto.io/Statement/v1"}`, "_type"},
		"other format":       {`{"bomFormat":"SPDX","specVersion":"1.5"}`, `bomFormat is "SPDX"`},
		"no version":         {`{"bomFormat":"CycloneDX"}`, "no specVersion"},
		"other version":      {`{"bomFormat":"CycloneDX","specVersion":"2.0"}`, "none of 1.2 to 1.7"},
		"version a number":   {`{"bomFormat":"CycloneDX","specVersion":1.5}`, "specVersion is a number"},
		"format twice":       {minimal(`,"bomFormat":"CycloneDX"`), `"bomFormat" occurs twice`},
		"components twice":   {minimal(`,"components":[],"components":[]`), `"components" occurs twice`},
		"metadata twice":     {minimal(`,"metadata":{},"metadata":{}`), `"metadata" occurs twice`},
		"subject twice":      {minimal(`,"metadata":{"component":{},"component":{}}`), "metadata.component"},
		"name twice":         {minimal(`,"components":[{"name":"a","name":"b"}]`), `"name" occurs twice in a component`},
		"two hashes":         {minimal(`,"metadata":{"component":{"hashes":[{"alg":"SHA-256","content":"a"},{"alg":"SHA-256","content":"b"}]}}`), "two SHA-256"},
		"components a map":   {minimal(`,"components":{}`), `"{" where an array was expected`},
		"component a string": {minimal(`,"components":["a"]`), "a string where an object was expected"},
		"purl a boolean":     {minimal(`,"components":[{"purl":true}]`), "purl is a boolean"},
		"deep, passed over":  {minimal(`,"x":` + deep), "nested deeper"},
		"deep components":    {minimal(`,"components":` + strings.Repeat(`[{"components":`, 100) + "[]" + strings.Repeat("}]", 100)), "nested deeper"},
		"long text":          {minimal(`,"serialNumber":"` + strings.Repeat("x", 10000) + `"`), "longer than"},
		"more follows":       {minimal("") + "{}", "more follows"},
		"garbage follows":    {minimal("") + "x", "more follows"},
		"no json":            {`{"bomFormat" "CycloneDX"}`, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sbom.Decode(strings.NewReader(test.doc))
			if !errors.Is(err, sbom.ErrFormat) || !strings.Contains(fmt.Sprint(err), test.says) {
				t.Errorf("Decode gave %v, want ErrFormat that says %s", err, test.says)
			}
		})
	}
}

func TestDecodeTruncated(t *testing.T) {
	whole := minimal(`,"metadata":{"component":{"name":"a"}},"components":[{"name":"b","x":[1,{"y":"z"}]}]`)
	for n := 1; n < len(whole); n++ {
		if _, err := sbom.Decode(strings.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("the first %d bytes gave %v, want an unexpected end", n, err)
		}
	}
}

// endless is a document that never ends.
type endless struct{ head io.Reader }

func (e endless) Read(p []byte) (int, error) {
	if n, err := e.head.Read(p); err == nil {
		return n, nil
	}
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestDecodeTooLarge(t *testing.T) {
	_, err := sbom.Decode(endless{strings.NewReader(`{"bomFormat":"CycloneDX",`)})
	if !errors.Is(err, sbom.ErrFormat) || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("Decode gave %v, want it to stop", err)
	}
}

// FuzzDecode: what Decode accepts, encoding/json accepts too, and the fields
// that decide what the document is mean the same to both.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(minimal("")))
	f.Add([]byte(minimal(`,"metadata":{"component":{"name":"a","version":"sha256:` + digestHex + `"}},"components":[{"purl":"pkg:deb/a@1"}]`)))
	f.Add([]byte(minimal(`,"BOMFORMAT":"x"`)))
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := sbom.Decode(bytes.NewReader(doc))
		if err != nil {
			if !errors.Is(err, sbom.ErrFormat) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("the error %v says neither what is wrong nor that the end is missing", err)
			}
			return
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(doc, &fields); err != nil {
			t.Fatalf("Decode takes what is no JSON: %v", err)
		}
		for key, want := range map[string]string{"bomFormat": "CycloneDX", "specVersion": got.SpecVersion} {
			var value string
			if err := json.Unmarshal(fields[key], &value); err != nil || value != want {
				t.Fatalf("%s is %q to encoding/json and %q to Decode", key, value, want)
			}
		}
		for typ, n := range got.Packages {
			if typ == "" || n < 1 {
				t.Fatalf("counts %d packages of type %q", n, typ)
			}
		}
	})
}
