// Package osv carries advisories in the Open Source Vulnerability format
// (schema 1.7, https://ossf.github.io/osv-schema/) and answers which versions
// an advisory names.
//
// Records are read from wherever somebody publishes them, so the YAML library
// is the one that is hardened against hostile documents, not the one with the
// best messages. It also keeps a version such as 1.10 as it is written.
//
// It is plain data with a codec and one piece of reasoning, Walk, which turns
// a range's events into intervals the way the schema's own evaluation does. It
// knows no ecosystem: how two versions compare is handed in.
package osv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// MaxSize is the largest record read, in bytes. The largest known published
// records are under 8 MiB.
const MaxSize = 16 << 20

// ErrNotRecord says that a document is well formed but is not an OSV record.
var ErrNotRecord = errors.New("not an OSV record: it has no id")

// Record is one advisory. Fields that no reader here needs are left out.
type Record struct {
	ID        string `json:"id" yaml:"id"`
	Modified  Time   `json:"modified" yaml:"modified"`
	Published Time   `json:"published" yaml:"published"`
	Withdrawn Time   `json:"withdrawn" yaml:"withdrawn"`
	// Aliases name the same vulnerability; Upstream names the vulnerabilities
	// a distribution's advisory is about; Related is neither.
	Aliases    []string       `json:"aliases" yaml:"aliases"`
	Upstream   []string       `json:"upstream" yaml:"upstream"`
	Related    []string       `json:"related" yaml:"related"`
	Summary    string         `json:"summary" yaml:"summary"`
	Details    string         `json:"details" yaml:"details"`
	Severity   []Severity     `json:"severity" yaml:"severity"`
	Affected   []Affected     `json:"affected" yaml:"affected"`
	References []Reference    `json:"references" yaml:"references"`
	Specific   map[string]any `json:"database_specific" yaml:"database_specific"`
}

// Severity is one rating: a CVSS vector, or a word for the type Ubuntu.
type Severity struct {
	Type  string `json:"type" yaml:"type"`
	Score string `json:"score" yaml:"score"`
}

// Reference is one link.
type Reference struct {
	Type string `json:"type" yaml:"type"`
	URL  string `json:"url" yaml:"url"`
}

// Affected is what a record says of one package.
type Affected struct {
	Package  Package        `json:"package" yaml:"package"`
	Severity []Severity     `json:"severity" yaml:"severity"`
	Ranges   []Range        `json:"ranges" yaml:"ranges"`
	Versions []string       `json:"versions" yaml:"versions"`
	Eco      EcoSpecific    `json:"ecosystem_specific" yaml:"ecosystem_specific"`
	Specific map[string]any `json:"database_specific" yaml:"database_specific"`
}

// Package names a package within an ecosystem, such as "PyPI" or "Debian:12".
type Package struct {
	Ecosystem string `json:"ecosystem" yaml:"ecosystem"`
	Name      string `json:"name" yaml:"name"`
	PURL      string `json:"purl" yaml:"purl"`
}

// EcoSpecific is the part of ecosystem_specific that has a meaning here.
type EcoSpecific struct {
	// Imports are Go's vulnerable packages and symbols.
	Imports []Import `json:"imports" yaml:"imports"`
	// Custom are Go's ranges in the versions a module is tagged with, where
	// those are not the versions the go command knows.
	Custom []Range `json:"custom_ranges" yaml:"custom_ranges"`
	// Urgency is Debian's word for the severity.
	Urgency string `json:"urgency" yaml:"urgency"`
}

// Import is one vulnerable Go package; no symbols means all of it.
type Import struct {
	Path    string   `json:"path" yaml:"path"`
	Symbols []string `json:"symbols" yaml:"symbols"`
}

// Range is a set of versions, told by events.
type Range struct {
	// Type is SEMVER, ECOSYSTEM or GIT.
	Type   string  `json:"type" yaml:"type"`
	Events []Event `json:"events" yaml:"events"`
}

// Event is one change along the versions; exactly one field is set.
type Event struct {
	Introduced   string `json:"introduced" yaml:"introduced"`
	Fixed        string `json:"fixed" yaml:"fixed"`
	LastAffected string `json:"last_affected" yaml:"last_affected"`
	Limit        string `json:"limit" yaml:"limit"`
}

// Time is a time that may be absent; year 1 counts as absent, because the Go
// database publishes it for "unknown".
type Time struct{ time.Time }

// UnmarshalJSON reads an RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	return t.parse(s)
}

// UnmarshalYAML reads an RFC 3339 time, quoted or not.
func (t *Time) UnmarshalYAML(n *yaml.Node) error { return t.parse(n.Value) }

func (t *Time) parse(s string) error {
	*t = Time{}
	if s == "" || s == "null" {
		return nil
	}
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("reading time: %w", err)
	}
	if v.Year() > 1 {
		t.Time = v.UTC()
	}
	return nil
}

// IsRecordName says that a file of this name may hold a record.
func IsRecordName(name string) bool {
	if strings.HasPrefix(path.Base(name), ".") {
		return false
	}
	switch path.Ext(name) {
	case ".json", ".yaml", ".yml":
		return true
	}
	return false
}

// Decode reads one record, JSON or YAML by the name's extension. It returns
// ErrNotRecord for a document that is something else.
func Decode(name string, data []byte) (Record, error) {
	var r Record
	if len(data) > MaxSize {
		return r, fmt.Errorf("reading record: larger than %d bytes", MaxSize)
	}
	var err error
	if path.Ext(name) == ".json" {
		dec := json.NewDecoder(bytes.NewReader(data))
		if err = dec.Decode(&r); err == nil && dec.More() {
			err = errors.New("more than one JSON document")
		}
	} else {
		dec := yaml.NewDecoder(bytes.NewReader(data))
		if err = dec.Decode(&r); err == nil && !errors.Is(dec.Decode(&yaml.Node{}), io.EOF) {
			err = errors.New("more than one YAML document")
		}
	}
	if err != nil {
		if isOtherShape(data) {
			return Record{}, ErrNotRecord
		}
		return Record{}, fmt.Errorf("reading record: %s", oneLine(err))
	}
	if r.ID == "" {
		return r, ErrNotRecord
	}
	return r, nil
}

// isOtherShape says that data is valid JSON of another shape, such as a list.
func isOtherShape(data []byte) bool {
	data = bytes.TrimSpace(data)
	return len(data) > 0 && data[0] == '[' && json.Valid(data)
}

// oneLine makes the YAML library's lists of errors fit one line.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
