package sbom

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/hallmark-sh/hallmark/internal/component"
)

// ErrDocument means that what was read is no CycloneDX 1.2 to 1.7 or SPDX 2.x
// document in JSON, or one beyond its limits. The message says where and what
// it looks like instead.
var ErrDocument = errors.New("not a CycloneDX or SPDX JSON document")

// Limits bound what Read takes; a zero field means its default.
type Limits struct {
	// Size is the largest document in bytes; MaxSize by default.
	Size int64
	// Packages is the largest number of packages; 500,000 by default.
	Packages int
}

const (
	defaultPackages = 500_000
	// maxOdd is how many notes on oddities are kept.
	maxOdd = 20
	// maxLicence is the longest licence name that is kept: some tools put the
	// whole text there.
	maxLicence = 256
)

// Inventory is what a document says is installed.
type Inventory struct {
	// Format is "cyclonedx" or "spdx"; SpecVersion as the document has it,
	// such as 1.6 or SPDX-2.3.
	Format      string
	SpecVersion string
	// Serial is the serial number or the document's namespace.
	Serial string
	// Subject is what the document is about.
	Subject Subject
	// Distro is the distribution the document names, as "debian-12".
	Distro string
	// Packages are the packages, each identity once, sorted by Key.
	Packages []component.Listed
	// Unidentified counts entries that name nothing.
	Unidentified int
	// Odd says what was passed over or made the best of, at most maxOdd notes.
	Odd []string
}

// Read reads an SBOM anybody's tool made. It takes what documents in the wild
// hold against their own schemas: a wrong type in a field it has no use for, a
// missing or broken package URL, repeated components. It refuses what would
// have it guess: a field it uses that occurs twice in one object, bytes that
// are not UTF-8, an end before the end, anything after it.
//
// It reads a stream and holds the packages only, never the document. Errors
// wrap ErrDocument, or io.ErrUnexpectedEOF when the document ends early.
func Read(r io.Reader, l Limits) (Inventory, error) {
	l.Size, l.Packages = cmp.Or(l.Size, MaxSize), cmp.Or(l.Packages, defaultPackages)
	limited := &io.LimitedReader{R: r, N: l.Size + 1}
	buffered := bufio.NewReaderSize(limited, 64<<10)
	if head, err := buffered.Peek(3); err == nil && bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		buffered.Discard(3) // A byte order mark, as some tools on Windows write.
	}
	if err := sniff(buffered); err != nil {
		if errors.Is(err, ErrFormat) {
			err = fmt.Errorf("%w: %s", ErrDocument, strings.TrimPrefix(err.Error(), ErrFormat.Error()+": "))
		}
		return Inventory{}, fmt.Errorf("reading SBOM: %w", err)
	}
	d := &reader{json: jsontext.NewDecoder(buffered, jsontext.AllowDuplicateNames(true)), limits: l}
	err := d.document()
	if limited.N <= 0 {
		err = fmt.Errorf("%w: larger than %d bytes", ErrDocument, l.Size)
	}
	var syntax *jsontext.SyntacticError
	switch {
	case err == nil:
		return d.inventory(), nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, ErrDocument):
	case errors.As(err, &syntax):
		err = fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return Inventory{}, fmt.Errorf("reading SBOM: %w", err)
}

// entry is one component or package as it is written.
type entry struct {
	id, typ, group, name, version, purl string
	supplier, publisher                 string
	licences, digests                   []string
	source                              srcPackage
}

// srcPackage is the source package as trivy tells it, in properties.
type srcPackage struct{ name, version, release, epoch string }

func (s srcPackage) String() string {
	if s.name == "" {
		return ""
	}
	v := s.version
	if v != "" && s.release != "" {
		v += "-" + s.release
	}
	if v != "" && s.epoch != "" && s.epoch != "0" {
		v = s.epoch + ":" + v
	}
	if v != "" {
		return s.name + "@" + v
	}
	return s.name
}

// reader walks a document token by token.
type reader struct {
	json   *jsontext.Decoder
	limits Limits
	depth  int

	out       Inventory
	format    string // bomFormat
	entries   []entry
	subject   entry
	system    string   // the operating system component
	described []string // SPDX identifiers of the subject
	foreign   string   // a key that tells another format
}

func (d *reader) odd(format string, args ...any) {
	if len(d.out.Odd) < maxOdd {
		d.out.Odd = append(d.out.Odd, fmt.Sprintf(format, args...))
	}
}

func (d *reader) document() error {
	err := d.object("the document", func(key string) error {
		switch key {
		case "bomFormat":
			return d.text(&d.format)
		case "specVersion", "spdxVersion":
			return d.text(&d.out.SpecVersion)
		case "serialNumber", "documentNamespace":
			return d.text(&d.out.Serial)
		case "metadata":
			return d.metadata()
		case "components":
			return d.array(d.component)
		case "packages":
			return d.array(d.spdxPackage)
		case "documentDescribes":
			return d.array(d.describes)
		case "relationships":
			return d.array(d.relationship)
		case "@context", "artifacts", "_type", "payloadType":
			d.foreign = key
		}
		return d.json.SkipValue()
	})
	if err != nil {
		return err
	}
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more follows the document", ErrDocument)
	}
	return d.check()
}

// check judges what kind of document it was.
func (d *reader) check() error {
	v := d.out.SpecVersion
	switch {
	case d.format == "CycloneDX":
		d.out.Format = "cyclonedx"
		if slices.Contains([]string{"1.2", "1.3", "1.4", "1.5", "1.6", "1.7"}, v) {
			return nil
		}
		return fmt.Errorf("%w: specVersion %q is none of 1.2 to 1.7", ErrDocument, v)
	case d.format != "":
		return fmt.Errorf("%w: bomFormat is %q", ErrDocument, d.format)
	case strings.HasPrefix(v, "SPDX-2."):
		d.out.Format = "spdx"
		return nil
	case v != "":
		return fmt.Errorf("%w: the version %q is not read", ErrDocument, v)
	case d.foreign == "@context":
		return fmt.Errorf("%w: it looks like SPDX 3 or other JSON-LD, which is not read", ErrDocument)
	case d.foreign != "":
		return fmt.Errorf("%w: it has %q, which is another format's", ErrDocument, d.foreign)
	}
	return fmt.Errorf("%w: it has neither bomFormat nor spdxVersion", ErrDocument)
}

func (d *reader) metadata() error {
	return d.object("metadata", func(key string) error {
		if key != "component" {
			return d.json.SkipValue()
		}
		before := len(d.entries)
		err := d.component()
		// What it holds in turn are packages; it is not.
		if err == nil && len(d.entries) > before {
			last := len(d.entries) - 1
			d.subject, d.entries = d.entries[last], d.entries[:last]
		}
		return err
	})
}

// keep adds an entry.
func (d *reader) keep(e entry) error {
	if len(d.entries) >= d.limits.Packages {
		return fmt.Errorf("%w: more than %d packages", ErrDocument, d.limits.Packages)
	}
	d.entries = append(d.entries, e)
	return nil
}

// inventory makes packages of the entries.
func (d *reader) inventory() Inventory {
	out := &d.out
	for _, e := range d.entries {
		if d.isSubject(e) && d.subject.name == "" {
			d.subject = e
		}
	}
	out.Subject = d.subject.about()
	for _, e := range d.entries {
		if e.typ == "operating-system" && d.system == "" {
			d.system = strings.TrimSpace(e.name) + "-" + strings.TrimSpace(e.version)
		}
	}
	out.Distro = component.Distro(strings.TrimSuffix(d.system, "-"), "")
	byID := make(map[component.Package]int, len(d.entries))
	for _, e := range d.entries {
		if !isPackage(e.typ) || e.container() {
			continue
		}
		p, ok := d.identify(e, out.Distro)
		if !ok {
			out.Unidentified++
			continue
		}
		at, known := byID[p]
		if !known {
			at = len(out.Packages)
			byID[p] = at
			out.Packages = append(out.Packages, component.Listed{Package: p, PURL: e.purl})
		}
		l := &out.Packages[at]
		l.Licences, l.Digests = append(l.Licences, e.licences...), append(l.Digests, e.digests...)
		l.Supplier = cmp.Or(l.Supplier, e.supplier, e.publisher)
	}
	for n := range out.Packages {
		l := &out.Packages[n]
		slices.Sort(l.Licences)
		slices.Sort(l.Digests)
		l.Licences, l.Digests = slices.Compact(l.Licences), slices.Compact(l.Digests)
	}
	slices.SortFunc(out.Packages, func(a, b component.Listed) int { return strings.Compare(a.Key(), b.Key()) })
	return *out
}

func (d *reader) isSubject(e entry) bool { return e.id != "" && slices.Contains(d.described, e.id) }

// container says that an entry is an image: what the packages are in.
func (e entry) container() bool {
	return strings.HasPrefix(e.purl, "pkg:oci/") || strings.HasPrefix(e.purl, "pkg:docker/")
}

func (e entry) about() Subject {
	c := decoded{typ: e.typ, name: e.name, version: e.version, purl: e.purl}
	for _, digest := range e.digests {
		if hex, ok := strings.CutPrefix(digest, "sha256:"); ok {
			c.sha256 = hex
		}
	}
	return c.subject()
}

// identify gives an entry's identity; false when it has no name at all.
func (d *reader) identify(e entry, distro string) (component.Package, bool) {
	if e.purl != "" {
		p, err := component.FromPURL(e.purl, e.version, distro)
		if err == nil {
			if p.Upstream == "" && component.OS(p.Type) {
				p.Upstream = component.Upstream(p.Type, p.Name, e.source.String())
			}
			// Syft writes the end of a long module path as the subpath.
			if _, subpath, ok := strings.Cut(e.purl, "#"); ok && p.Type == "golang" && strings.EqualFold(e.name, p.FullName()+"/"+subpath) {
				p.Namespace, p.Name = "", e.name
				p = p.Normalize()
			}
			return p, true
		}
		d.odd("%v", err)
	}
	p := component.Package{Type: component.Unknown, Namespace: e.group, Name: e.name, Version: e.version}.Normalize()
	return p, p.Name != ""
}
