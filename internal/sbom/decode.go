package sbom

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The bounds of a document Decode reads.
const (
	// MaxSize is the largest document, in bytes. The largest known in
	// practice have some 40 MB, each file of an image being a component.
	MaxSize = 64 << 20
	// maxDepth is how deep objects and arrays may nest.
	maxDepth = 128
	// maxText is the longest string that is kept, in bytes.
	maxText = 8 << 10
)

// Summary is what verification needs to know of a document: what it is about
// and whether it says anything.
type Summary struct {
	// SpecVersion is the CycloneDX version, 1.2 to 1.7.
	SpecVersion string
	// SerialNumber is empty when the document has none.
	SerialNumber string
	// Subject is metadata.component.
	Subject Subject
	// Distro is the operating system component, such as "debian 12".
	Distro string
	// Packages counts components by package URL type, nested ones too.
	// Files, operating systems and containers are not packages.
	Packages map[string]int
}

// Subject is the component a document describes.
type Subject struct {
	Type    string
	Name    string
	Version string
	PURL    string
	// Digests are the digests the component claims, as "sha256:hex": from its
	// hashes, its version and its package URL.
	Digests []string
}

// Total is the number of packages.
func (s Summary) Total() int { return Document{Packages: s.Packages}.Total() }

// ErrFormat means that what was read is no CycloneDX JSON document of a
// version Decode knows. The message says what it looks like instead.
var ErrFormat = errors.New("not a CycloneDX JSON document")

// Decode reads a CycloneDX JSON document of version 1.2 to 1.7. It keeps only
// the summary and passes over every field it has no use for, so that a
// document which merely breaks a rule of the schema somewhere is still read.
// What it does read must be unambiguous: a field it uses that occurs twice is
// an error, as is anything after the document. Memory does not grow with the
// document. Errors wrap ErrFormat, or io.ErrUnexpectedEOF when the document
// ends early.
func Decode(r io.Reader) (Summary, error) {
	limited := &io.LimitedReader{R: r, N: MaxSize + 1}
	buffered := bufio.NewReader(limited)
	if err := sniff(buffered); err != nil {
		return Summary{}, fmt.Errorf("reading SBOM: %w", err)
	}
	d := &decoder{json: json.NewDecoder(buffered), sum: Summary{Packages: map[string]int{}}}
	d.json.UseNumber()
	err := d.document()
	if limited.N <= 0 {
		return Summary{}, fmt.Errorf("reading SBOM: %w: larger than %d bytes", ErrFormat, MaxSize)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("reading SBOM: %w", err)
	}
	return d.sum, nil
}

// sniff names the usual things that are handed over by mistake.
func sniff(r *bufio.Reader) error {
	for {
		b, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: empty", ErrFormat)
		case err != nil:
			return err
		case b == ' ' || b == '\t' || b == '\r' || b == '\n':
			continue
		case b == '{':
			return r.UnreadByte()
		case b == '<':
			return fmt.Errorf("%w: looks like XML", ErrFormat)
		default:
			return fmt.Errorf("%w: begins with %q", ErrFormat, b)
		}
	}
}

// check judges the fields that say what kind of document it was.
func (d *decoder) check() error {
	if !d.saw["bomFormat"] {
		for _, key := range []string{"spdxVersion", "@context", "artifacts", "_type", "payloadType"} {
			if d.saw[key] {
				return fmt.Errorf("%w: it has %q, which is another format's", ErrFormat, key)
			}
		}
		return fmt.Errorf("%w: it has no bomFormat", ErrFormat)
	}
	if d.format != "CycloneDX" {
		return fmt.Errorf("%w: bomFormat is %q", ErrFormat, d.format)
	}
	switch d.sum.SpecVersion {
	case "1.2", "1.3", "1.4", "1.5", "1.6", "1.7":
		return nil
	case "":
		return fmt.Errorf("%w: it has no specVersion", ErrFormat)
	}
	return fmt.Errorf("%w: specVersion %q is none of 1.2 to 1.7", ErrFormat, d.sum.SpecVersion)
}

// digest is text as a digest Decode recognises, or empty.
func digest(text string) string {
	hex, ok := strings.CutPrefix(strings.ToLower(text), "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return "sha256:" + hex
}
