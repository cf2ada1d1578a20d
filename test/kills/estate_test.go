//go:build kills

package kills_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// document is an SBOM made of a number, with what must be answered about it.
type document struct {
	image, digest, evidence string
	raw                     []byte
	packages                []string // keys, sorted
	hit                     bool     // by the advisories KILL-0 to KILL-39
}

const (
	common  = 40   // packages that every image has, in one of seven versions
	widened = 5000 // packages of which an image has some
	rows    = 1200 // advisories of one data set
)

// made keeps the documents: they are compared after every kill.
var made sync.Map

func documentOf(n int) document {
	if d, ok := made.Load(n); ok {
		return d.(document)
	}
	d := makeDocument(n)
	made.Store(n, d)
	return d
}

func makeDocument(n int) document {
	type licence struct {
		License struct {
			ID string `json:"id"`
		} `json:"license"`
	}
	type part struct {
		Type     string    `json:"type"`
		Name     string    `json:"name"`
		Version  string    `json:"version"`
		PURL     string    `json:"purl"`
		Licences []licence `json:"licenses,omitempty"`
	}
	doc := struct {
		Format string `json:"bomFormat"`
		Spec   string `json:"specVersion"`
		Parts  []part `json:"components"`
	}{Format: "CycloneDX", Spec: "1.6"}
	d := document{digest: sum(fmt.Appendf(nil, "image %d", n)), hit: n%7 < 3}
	d.image = "registry.example/app@" + d.digest
	add := func(name, version string, licensed bool) {
		p := component.Package{Type: "pypi", Name: name, Version: version}
		written := part{Type: "library", Name: name, Version: version, PURL: "pkg:pypi/" + name + "@" + version}
		if licensed { // some say what others left out: the package changes
			written.Licences = make([]licence, 1)
			written.Licences[0].License.ID = "MIT"
		}
		doc.Parts = append(doc.Parts, written)
		d.packages = append(d.packages, p.Key())
	}
	add(fmt.Sprintf("own-%d", n), "1.0.0", false)
	for i := range common {
		add(fmt.Sprintf("common-%d", i), fmt.Sprintf("1.%d.0", n%7), n%2 == 1)
	}
	for i := range n * 31 % 160 {
		add(fmt.Sprintf("wide-%d", (n*97+i*13)%widened), "2.0.0", i%3 == n%3)
	}
	slices.Sort(d.packages)
	d.packages = slices.Compact(d.packages)
	d.raw, _ = json.Marshal(doc)
	d.evidence = sum(d.raw)
	return d
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

// dataset is the nth version of the advisories, one record a line. Every
// version changes all records but those named NEW, of which it has one more:
// so an import replaces nearly everything, and has one thing to tell.
func dataset(t *testing.T, version int) []byte {
	t.Helper()
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	write := func(id, summary, name, below string) {
		r := vulnerability.Record{Provider: "kills", ID: id, Severity: finding.High, Summary: summary, Affected: []vulnerability.Row{{
			Type: "pypi", Name: name, Ranges: []vulnerability.Range{{Format: "python", Constraint: below}},
		}}}
		if err := lines.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rows {
		name := fmt.Sprintf("common-%d", i)
		if i >= common {
			name = fmt.Sprintf("nowhere-%d", i)
		}
		write(fmt.Sprintf("KILL-%d", i), said(version), name, "<1.3.0")
	}
	for n := range version {
		write(newID(n+1), "the same for ever", "common-0", "")
	}
	return out.Bytes()
}

func said(version int) string  { return fmt.Sprintf("as of data set %d", version) }
func newID(version int) string { return fmt.Sprintf("NEW-%d", version) }
func rowsOf(version int) int   { return rows + version }
func findings(d document, version int) (n int) {
	if version == 0 {
		return 0
	}
	if d.hit {
		n = common
	}
	return n + version
}
