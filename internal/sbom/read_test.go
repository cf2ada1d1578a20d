package sbom_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/sbom"
)

func read(t *testing.T, doc string) sbom.Inventory {
	t.Helper()
	inv, err := sbom.Read(strings.NewReader(doc), sbom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestReadCycloneDX(t *testing.T) {
	got := read(t, "\xef\xbb\xbf"+`{"components":[
	  {"type":"library","name":"libc6","version":"2.36-9","purl":"pkg:deb/debian/libc6@2.36-9?arch=amd64&upstream=glibc",
	   "hashes":[{"alg":"SHA-256","content":"AB01"},{"alg":"x","content":"not hex"}],
	   "licenses":[{"license":{"id":"GPL-2.0-only"}},{"expression":"MIT OR ISC"},{"license":{"name":"NOASSERTION"}}],
	   "supplier":{"name":"Debian"}},
	  {"type":"library","name":"libc6","version":"2.36-9","purl":"pkg:deb/debian/libc6@2.36-9?arch=arm64&upstream=glibc","licenses":[{"license":{"id":"MIT"}}]},
	  {"type":"operating-system","name":"debian","version":"12"},
	  {"type":"file","name":"/etc/passwd"},
	  {"type":"library","name":"Flask_Login","version":"1.0","purl":"pkg:pypi/Flask_Login@1.0","supplier":"a string","components":[
	     {"type":"library","group":"org.example","name":"inner","version":"2"}]},
	  {"type":"library","name":"bad","version":"3","purl":"pkg:"},
	  {"type":"library","name":"trivys","purl":"pkg:deb/debian/trivys@1","properties":[{"name":"aquasecurity:trivy:SrcName","value":"src"},{"name":"aquasecurity:trivy:SrcVersion","value":"2"}]},
	  {"type":"library"}, "what is this"
	 ],
	 "metadata":{"component":{"type":"container","name":"app","version":"sha256:`+digestHex+`"}},
	 "bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:1","dependencies":[{"ref":"x"}]}`)
	want := sbom.Inventory{
		Format: "cyclonedx", SpecVersion: "1.6", Serial: "urn:uuid:1", Distro: "debian-12", Unidentified: 2,
		Subject: sbom.Subject{Type: "container", Name: "app", Version: "sha256:" + digestHex, Digests: []string{"sha256:" + digestHex}},
		Packages: []component.Listed{
			{Package: component.Package{Type: "deb", Namespace: "debian", Name: "libc6", Version: "2.36-9", Distro: "debian-12", Upstream: "glibc"},
				PURL:    "pkg:deb/debian/libc6@2.36-9?arch=amd64&upstream=glibc",
				Digests: []string{"sha256:ab01"}, Licences: []string{"GPL-2.0-only", "MIT", "MIT OR ISC"}, Supplier: "Debian"},
			{Package: component.Package{Type: "deb", Namespace: "debian", Name: "trivys", Version: "1", Distro: "debian-12", Upstream: "src@2"}, PURL: "pkg:deb/debian/trivys@1"},
			{Package: component.Package{Type: "pypi", Name: "flask-login", Version: "1.0"}, PURL: "pkg:pypi/Flask_Login@1.0"},
			{Package: component.Package{Type: "unknown", Name: "bad", Version: "3"}, PURL: "pkg:"},
			{Package: component.Package{Type: "unknown", Namespace: "org.example", Name: "inner", Version: "2"}},
		},
	}
	odd := got.Odd
	got.Odd = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(odd) != 3 {
		t.Errorf("the oddities are %q, want three", odd)
	}
}

func TestReadSPDX(t *testing.T) {
	got := read(t, `{"spdxVersion":"SPDX-2.3","documentNamespace":"https://example.com/1","packages":[
	  {"SPDXID":"SPDXRef-image","name":"app","versionInfo":"sha256:`+digestHex+`","primaryPackagePurpose":"CONTAINER"},
	  {"SPDXID":"SPDXRef-os","name":"alpine","versionInfo":"3.20.1","primaryPackagePurpose":"OPERATING-SYSTEM"},
	  {"SPDXID":"SPDXRef-1","name":"musl","versionInfo":"1.2.5-r0","filesAnalyzed":"false","supplier":"Alpine","licenseDeclared":"MIT","licenseConcluded":"NOASSERTION",
	   "checksums":[{"algorithm":"SHA1","checksumValue":"00ff"}],
	   "externalRefs":[{"referenceCategory":"SECURITY","referenceType":"cpe23Type","referenceLocator":"cpe:2.3:a:x"},
	                   {"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:alpine/musl@1.2.5-r0"}]},
	  {"SPDXID":"2","name":"github.com/Azure/go-autorest","versionInfo":"v14.2.0","supplier":"Organization: Azure",
	   "externalRefs":[{"referenceType":"http://spdx.org/rdf/references/purl","referenceLocator":"pkg:golang/github.com/Azure/go-autorest@v14.2.0"}]}
	 ],"relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relationshipType":"DESCRIBES","relatedSpdxElement":"SPDXRef-image"}]}`)
	want := sbom.Inventory{
		Format: "spdx", SpecVersion: "SPDX-2.3", Serial: "https://example.com/1", Distro: "alpine-3.20.1",
		Subject: sbom.Subject{Type: "container", Name: "app", Version: "sha256:" + digestHex, Digests: []string{"sha256:" + digestHex}},
		Packages: []component.Listed{
			{Package: component.Package{Type: "apk", Name: "musl", Version: "1.2.5-r0", Distro: "alpine-3.20.1"}, PURL: "pkg:alpine/musl@1.2.5-r0",
				Digests: []string{"sha1:00ff"}, Licences: []string{"MIT"}, Supplier: "Alpine"},
			{Package: component.Package{Type: "golang", Namespace: "github.com/azure", Name: "go-autorest", Version: "v14.2.0"},
				PURL: "pkg:golang/github.com/Azure/go-autorest@v14.2.0", Supplier: "Azure"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, test := range map[string]struct{ doc, says string }{
		"empty":             {"", "empty"},
		"xml":               {"<bom/>", "XML"},
		"spdx 3":            {`{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[]}`, "SPDX 3"},
		"syft":              {`{"artifacts":[]}`, "another format"},
		"statement":         {`{"_type":"https://in-toto.io/Statement/v1"}`, "another format"},
		"nothing":           {`{}`, "neither"},
		"other version":     {`{"bomFormat":"CycloneDX","specVersion":"2.0"}`, "none of 1.2 to 1.7"},
		"spdx 1":            {`{"spdxVersion":"SPDX-1.2"}`, "SPDX-1.2"},
		"components twice":  {minimal(`,"components":[],"components":[]`), "occurs twice"},
		"name twice":        {minimal(`,"components":[{"name":"a","name":"b"}]`), "occurs twice"},
		"not UTF-8":         {minimal(`,"components":[{"name":"a` + "\xff" + `"}]`), "UTF-8"},
		"more follows":      {minimal("") + "{}", "more follows"},
		"deep":              {minimal(`,"components":` + strings.Repeat(`[{"components":`, 100) + "[]" + strings.Repeat("}]", 100)), "nested deeper"},
		"deep, passed over": {minimal(`,"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000)), "depth"},
		"broken":            {`{"bomFormat" "CycloneDX"}`, "after object name"},
		"too many packages": {minimal(`,"components":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}]`), "more than 3 packages"},
		"too large":         {minimal(`,"x":"` + strings.Repeat("x", 70000) + `"`), "larger than"},
		"too large, no end": {minimal("") + strings.Repeat(" ", 70000), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sbom.Read(strings.NewReader(test.doc), sbom.Limits{Size: 60000, Packages: 3})
			if !errors.Is(err, sbom.ErrDocument) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Read gave %v, want ErrDocument that says %s", err, test.says)
			}
		})
	}
}

func TestReadTruncated(t *testing.T) {
	whole := minimal(`,"metadata":{"component":{"name":"a"}},"components":[{"name":"b","x":[1,{"y":"é"}],"licenses":[{"expression":"MIT"}]}]`)
	for n := 1; n < len(whole); n++ {
		if _, err := sbom.Read(strings.NewReader(whole[:n]), sbom.Limits{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("the first %d bytes gave %v, want an unexpected end", n, err)
		}
	}
}

// filler is a document that goes on with the same bytes for as long as it is
// read.
type filler struct {
	head io.Reader
	more string
	at   int
}

func (f *filler) Read(p []byte) (int, error) {
	if n, err := f.head.Read(p); err == nil {
		return n, nil
	}
	for n := range p {
		p[n] = f.more[f.at]
		f.at = (f.at + 1) % len(f.more)
	}
	return len(p), nil
}

// What a document of the largest size does not use must not be held in memory.
func TestReadBoundsMemory(t *testing.T) {
	for name, more := range map[string]string{
		"keys nobody knows": `"k":{"a":[1,2,3]},`, "empty texts": `"":"",`,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := sbom.Read(&filler{head: strings.NewReader(`{"bomFormat":"CycloneDX",`), more: more}, sbom.Limits{Size: 48 << 20})
			runtime.ReadMemStats(&after)
			if !errors.Is(err, sbom.ErrDocument) {
				t.Errorf("Read gave %v, want it to stop", err)
			}
			if held := after.Sys - before.Sys; held > 24<<20 {
				t.Errorf("reading 48 MiB took %d MiB of memory", held>>20)
			}
		})
	}
}

// FuzzRead: what Read takes is JSON to encoding/json too and of a version it
// knows, and every package has an identity that survives its key.
func FuzzRead(f *testing.F) {
	f.Add([]byte(minimal("")))
	f.Add([]byte(minimal(`,"components":[{"name":"a","purl":"pkg:deb/debian/a@1?distro=debian-12&upstream=b%402"}]`)))
	f.Add([]byte(`{"spdxVersion":"SPDX-2.3","packages":[{"name":"a","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:rpm/redhat/a@1?epoch=2&upstream=b-1-2.src.rpm"}]}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		inv, err := sbom.Read(bytes.NewReader(doc), sbom.Limits{})
		if err != nil {
			if !errors.Is(err, sbom.ErrDocument) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("the error %v says neither what is wrong nor that the end is missing", err)
			}
			return
		}
		if !json.Valid(bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))) || !utf8.Valid(doc) {
			t.Fatal("Read takes what is no JSON")
		}
		seen := map[string]bool{}
		for _, p := range inv.Packages {
			back, err := component.ParseKey(p.Key())
			if err != nil || back != p.Package {
				t.Fatalf("%+v comes back from its key as %+v: %v", p.Package, back, err)
			}
			if again := p.Normalize(); again != p.Package {
				t.Fatalf("%+v is not in its normal form: %+v", p.Package, again)
			}
			if seen[p.Key()] {
				t.Fatalf("%s is there twice", p)
			}
			seen[p.Key()] = true
		}
	})
}
