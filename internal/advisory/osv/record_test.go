package osv

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const record = `{"id": "X-1", "modified": "2024-01-02T03:04:05Z", "published": "0001-01-01T00:00:00Z",
 "aliases": ["CVE-2024-1"],
 "affected": [{"package": {"ecosystem": "Go", "name": "example.com/a"},
  "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.10"}]}],
  "versions": ["1.10", "2.0"],
  "ecosystem_specific": {"imports": [{"path": "example.com/a/b", "symbols": ["F"]}]}}]}`

const recordYAML = `
id: X-1
modified: 2024-01-02T03:04:05Z
published: '0001-01-01T00:00:00Z'
aliases: [CVE-2024-1]
affected:
- package: {ecosystem: Go, name: example.com/a}
  ranges:
  - type: SEMVER
    events: [{introduced: '0'}, {fixed: 1.10}]
  versions: [1.10, '2.0']
  ecosystem_specific:
    imports:
    - path: example.com/a/b
      symbols: [F]
`

func TestDecode(t *testing.T) {
	want := Record{ID: "X-1", Modified: Time{time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)}, Aliases: []string{"CVE-2024-1"},
		Affected: []Affected{{Package: Package{Ecosystem: "Go", Name: "example.com/a"},
			Ranges:   []Range{{Type: "SEMVER", Events: []Event{{Introduced: "0"}, {Fixed: "1.10"}}}},
			Versions: []string{"1.10", "2.0"},
			Eco:      EcoSpecific{Imports: []Import{{Path: "example.com/a/b", Symbols: []string{"F"}}}}}}}
	for name, text := range map[string]string{"x.json": record, "x.yaml": recordYAML, "x.yml": recordYAML} {
		got, err := Decode(name, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		file, text, want string
		other            bool
	}{
		"list":            {"x.json", `[1, 2]`, "not an OSV record", true},
		"other object":    {"x.json", `{"name": "index"}`, "not an OSV record", true},
		"cut off":         {"x.json", record[:200], "reading record", false},
		"two documents":   {"x.json", record + record, "more than one", false},
		"bad time":        {"x.json", `{"id": "X", "modified": "yesterday"}`, "reading time", false},
		"two of YAML":     {"x.yaml", recordYAML + "\n---\n" + recordYAML, "more than one", false},
		"tag in YAML":     {"x.yaml", "id: X\naliases: !x 1]\n", "reading record", false},
		"no YAML":         {"x.yaml", "", "reading record", false},
		"aliases of YAML": {"x.yaml", "id: X\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\ndatabase_specific: {x: [*e,*e,*e,*e,*e,*e,*e,*e,*e]}\n", "reading record", false},
		"broken YAML":     {"x.yaml", "id: [", "reading record", false},
		"too large":       {"x.json", strings.Repeat(" ", MaxSize+1), "larger than", false},
		"wrong shape":     {"x.json", `{"id": 7}`, "reading record", false},
		"list in a YAML":  {"x.yaml", `[1]`, "not an OSV record", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(tt.file, []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if errors.Is(err, ErrNotRecord) != tt.other {
				t.Errorf("ErrNotRecord = %v", !tt.other)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
		})
	}
}

func TestIsRecordName(t *testing.T) {
	for name, want := range map[string]bool{"a/b.json": true, "b.yaml": true, "b.yml": true, "LICENSE": false, ".id-allocator": false, "a/.x.json": false, "b.toml": false} {
		if got := IsRecordName(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// FuzzDecode asserts that any input is an error or a record with an id.
func FuzzDecode(f *testing.F) {
	f.Add("x.json", []byte(record))
	f.Add("x.yaml", []byte(recordYAML))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		r, err := Decode(name, data)
		if err == nil && r.ID == "" {
			t.Error("no error and no id")
		}
	})
}
