package finding

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/openvex/go-vex/pkg/vex"
	"github.com/package-url/packageurl-go"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// MaxVEX is the size in bytes above which a VEX document is not read.
const MaxVEX = 16 << 20

// VEX is one OpenVEX document (https://openvex.dev/ns/v0.2.0): statements on
// whether vulnerabilities affect products.
//
// A statement speaks of an image when one of its products is the image, by
// package URL (pkg:oci/name with the digest as version or with repository_url)
// or by SHA-256; a bare pkg:oci/name could be anybody's and names none. It
// speaks of a finding when it names the vulnerability by any of its
// identifiers, and its product has no subcomponents or one that is the
// package, by package URL. Statements whose product is a package rather than
// an image are not honoured.
type VEX struct {
	// File is where the document was read from.
	File string

	author     string
	statements []vex.Statement
}

// Statement is what a VEX document says of one finding.
type Statement struct {
	// File and Author are the document's.
	File   string `json:"file"`
	Author string `json:"author"`
	// Status is not_affected, affected, fixed or under_investigation.
	Status string `json:"status"`
	// Justification is OpenVEX's label for why not; Impact says it in words.
	Justification string `json:"justification,omitempty"`
	Impact        string `json:"impact,omitempty"`
	// At is when the statement was made, in UTC.
	At time.Time `json:"at"`
}

// Clears says that the statement lets the finding pass.
func (s Statement) Clears() bool {
	return s.Status == string(vex.StatusNotAffected) || s.Status == string(vex.StatusFixed)
}

// ReadVEX reads an OpenVEX document in JSON from a file.
func ReadVEX(path string) (VEX, error) {
	f, err := os.Open(path)
	if err != nil {
		return VEX{}, hint.Add(fmt.Errorf("reading VEX document: %w", err), "gate.vex in the policy names it, relative to the policy file")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxVEX+1))
	if err != nil {
		return VEX{}, fmt.Errorf("reading VEX document %s: %w", path, err)
	}
	return ParseVEX(path, data)
}

// ParseVEX reads an OpenVEX document; file is what errors and statements call
// it. Every statement must be valid by the specification: one that is not may
// have meant anything.
func ParseVEX(file string, data []byte) (VEX, error) {
	doc, err := parseVEX(data)
	if err != nil {
		return VEX{}, hint.Add(fmt.Errorf("reading VEX document %s: %w", file, err), "a VEX document is OpenVEX 0.2.0 in JSON; vexctl writes it")
	}
	v := VEX{File: file, author: doc.Author}
	for i := range doc.Statements {
		s := doc.Statements[i]
		if s.Timestamp == nil {
			s.Timestamp = doc.Timestamp
		}
		v.statements = append(v.statements, s)
	}
	return v, nil
}

func parseVEX(data []byte) (*vex.VEX, error) {
	if len(data) > MaxVEX {
		return nil, fmt.Errorf("larger than %d bytes", MaxVEX)
	}
	var head struct {
		Context string `json:"@context"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, err
	}
	if head.Context != vex.ContextLocator() {
		return nil, fmt.Errorf("@context is %q, not %s", head.Context, vex.ContextLocator())
	}
	doc, err := vex.Parse(data)
	if err != nil {
		return nil, err
	}
	if doc.Timestamp == nil || doc.Timestamp.IsZero() || doc.Author == "" {
		return nil, errors.New("the document has no author or no timestamp")
	}
	for i := range doc.Statements {
		s := &doc.Statements[i]
		if err := s.Validate(); err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		if s.Vulnerability.Name == "" && s.Vulnerability.ID == "" {
			return nil, fmt.Errorf("statement %d names no vulnerability", i+1)
		}
	}
	return doc, nil
}

// Exploitability gives what the documents last said of a finding in an image,
// by its digest and its repository; false when they say nothing. Of two
// statements of the same time, the one that does not clear the finding counts.
func Exploitability(documents []VEX, f Finding, subject v1.Hash, image string) (Statement, bool) {
	var last Statement
	found := false
	for _, v := range documents {
		for i := range v.statements {
			s := &v.statements[i]
			if !names(s.Vulnerability, f) || !slices.ContainsFunc(s.Products, func(p vex.Product) bool {
				return isImage(p.Component, subject, image) && hasPackage(p.Subcomponents, f.Package)
			}) {
				continue
			}
			at := s.Timestamp.UTC()
			if found && (at.Before(last.At) || at.Equal(last.At) && !last.Clears()) {
				continue
			}
			found, last = true, Statement{
				File: v.File, Author: v.author, Status: string(s.Status),
				Justification: string(s.Justification), Impact: s.ImpactStatement, At: at,
			}
		}
	}
	return last, found
}

func names(v vex.Vulnerability, f Finding) bool {
	return f.Is(string(v.Name)) || f.Is(v.ID) ||
		slices.ContainsFunc(v.Aliases, func(id vex.VulnerabilityID) bool { return f.Is(string(id)) })
}

// isImage says that a VEX product is the image. A product that gives another
// SHA-256 is another image, whatever else it says.
func isImage(c vex.Component, subject v1.Hash, image string) bool {
	hash, hashed := c.Hashes[vex.SHA256]
	if hashed {
		return subject.Algorithm == "sha256" && strings.EqualFold(string(hash), subject.Hex)
	}
	for _, id := range []string{c.ID, c.Identifiers[vex.PURL]} {
		if strings.HasPrefix(id, "pkg:") {
			if isImageURL(id, subject, image) {
				return true
			}
		} else if id != "" && (id == subject.String() || id == image+"@"+subject.String()) {
			return true
		}
	}
	return false
}

func isImageURL(purl string, subject v1.Hash, image string) bool {
	p, err := packageurl.FromString(purl)
	if err != nil || p.Type != packageurl.TypeOCI || p.Subpath != "" || p.Namespace != "" {
		return false
	}
	repo, err := name.NewRepository(image)
	if err != nil || p.Name != strings.ToLower(repo.RepositoryStr()[strings.LastIndexByte(repo.RepositoryStr(), '/')+1:]) {
		return false
	}
	exact := false
	if p.Version != "" {
		if p.Version != subject.String() {
			return false
		}
		exact = true
	}
	for _, q := range p.Qualifiers {
		if q.Key != "repository_url" {
			return false // such as arch or tag, which a digest may not have
		}
		other, err := name.NewRepository(q.Value)
		if err != nil || other.Name() != repo.Name() {
			return false
		}
		exact = true
	}
	return exact
}

func hasPackage(subcomponents []vex.Subcomponent, p Package) bool {
	return len(subcomponents) == 0 || slices.ContainsFunc(subcomponents, func(s vex.Subcomponent) bool {
		for _, id := range []string{s.ID, s.Identifiers[vex.PURL]} {
			if strings.HasPrefix(id, "pkg:") && p.Is(id) {
				return true
			}
		}
		return false
	})
}

// Vulnerabilities are the names of all vulnerabilities the document speaks of,
// in upper case, each once.
func (v VEX) Vulnerabilities() []string {
	var out []string
	add := func(name string) {
		if name = strings.ToUpper(name); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, s := range v.statements {
		add(string(s.Vulnerability.Name))
		add(s.Vulnerability.ID)
		for _, alias := range s.Vulnerability.Aliases {
			add(string(alias))
		}
	}
	return out
}

// Products are the images the document can speak of: digests as
// "sha256:hex", and repositories of which it means every image, as they are
// written and in full. Whether a statement is about an image is for
// Exploitability to say.
func (v VEX) Products() (digests, repositories []string) {
	add := func(list *[]string, s string) {
		if s != "" && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	for _, s := range v.statements {
		for _, p := range s.Products {
			if hash := p.Hashes[vex.SHA256]; hash != "" {
				add(&digests, "sha256:"+strings.ToLower(string(hash)))
			}
			for _, id := range []string{p.ID, p.Identifiers[vex.PURL]} {
				if !strings.HasPrefix(id, "pkg:") {
					add(&digests, id[strings.LastIndexByte(id, '@')+1:])
					continue
				}
				u, err := packageurl.FromString(id)
				if err != nil || u.Type != packageurl.TypeOCI {
					continue
				}
				if u.Version != "" {
					add(&digests, u.Version)
					continue
				}
				written := u.Qualifiers.Map()["repository_url"]
				add(&repositories, written)
				if repo, err := name.NewRepository(written); err == nil {
					add(&repositories, repo.Name())
				}
			}
		}
	}
	return digests, repositories
}
