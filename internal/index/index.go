// Package index answers, from memory, which images hold a package and which
// are hit by an advisory.
//
// Packages are interned by what they are (component.Package) and carry the set
// of images that hold them. A finding is an advisory on a package, never on an
// image: an advisory is compared once with each distinct version, and the
// images follow from the sets. When advisories change, only the packages they
// name are compared again.
//
// The index holds no truth of its own. Everything in it comes from rows that a
// store keeps, which also allots all identifiers; it is rebuilt from them at
// start and then follows the store's log. It knows no SQL and no HTTP.
//
// An Index may be used by any number of readers and one writer at a time; it
// serialises writers itself. Readers see each write whole or not at all.
package index

import (
	"errors"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// The reasons for which a question has no answer. Every other error is a
// question that makes no sense, and says why.
var (
	// ErrUnknownImage means that no image of this digest or reference was
	// ever taken in.
	ErrUnknownImage = errors.New("no such image")
	// ErrAmbiguous means that a reference names several images.
	ErrAmbiguous = errors.New("the reference names several images")
	// ErrUnknownAdvisory means that no advisory has this name.
	ErrUnknownAdvisory = errors.New("no such advisory")
	// ErrUnknownPackage means that no image ever held such a package.
	ErrUnknownPackage = errors.New("no such package")
	// ErrCursor means that a cursor is not one this index gave.
	ErrCursor = errors.New("not a cursor")
)

// PackageRow is one interned package. ID is allotted by the store, from 1, and
// should be dense. What documents say beside the identity, the licences and
// the supplier, belongs to the row: the first document that says it counts.
type PackageRow struct {
	ID       uint32
	Package  component.Package
	Licences []string
	Supplier string
}

// Image is one image as it was taken in. A digest has one Image; to take it in
// again with other evidence is a new Image with a new ID, which replaces it.
type Image struct {
	// ID is allotted by the store, from 1, in the order images are taken in.
	ID uint32
	// Digest is the image's. Repository is where it was seen, such as
	// registry.example/team/app; Tags are the tags that named it then.
	Digest     v1.Hash
	Repository string
	Tags       []string
	// Evidence is the digest of the attestation or document the packages come
	// from.
	Evidence v1.Hash
	// Verified says that the evidence was verified; false for a loose SBOM
	// that was let in unverified.
	Verified bool
	// Commit and Source are the revision and repository of its provenance.
	Commit string
	Source string
	// Recorded is when it was taken in, Built when it was made, both UTC.
	Recorded time.Time
	Built    time.Time
	// Packages are the identifiers of its packages, in any order.
	Packages []uint32
	// Unidentified counts packages of the document that have no name.
	Unidentified int
}

// Refusal is an image whose evidence was not good enough.
type Refusal struct {
	Digest     v1.Hash
	Repository string
	Reason     string
	Recorded   time.Time
}

// Revision is one version of an advisory record with the time it was valid.
type Revision struct {
	// Record is the content; its Key identifies it.
	Record vulnerability.Record
	// From is when the memory learnt it, To when it was replaced or withdrawn;
	// a zero To means that it still holds.
	From time.Time
	To   time.Time
	// Import names the import that brought it, such as the digest of a
	// database with its date; explain shows it.
	Import string
}

// Change is one change of the advisories, as the store recorded it: Records
// replace those of the same key, Removed are the keys of those that are gone.
type Change struct {
	Records []vulnerability.Record
	Removed []string
	At      time.Time
	Import  string
}

// VEX is one VEX document with the time it was valid in the memory.
type VEX struct {
	// Key identifies the document, such as its digest; a document of the same
	// key replaces it.
	Key      string
	Document finding.VEX
	// Verified says that it came as a verified attestation.
	Verified bool
	From     time.Time
	To       time.Time
}

// Event says that an advisory newly affects images: either the advisory or the
// part of it that hits the packages is new.
type Event struct {
	At       time.Time        `json:"at"`
	ID       string           `json:"id"`
	Aliases  []string         `json:"aliases,omitempty"`
	Severity finding.Severity `json:"severity"`
	KEV      bool             `json:"kev"`
	// Packages are those newly hit, at most maxEventPackages of them; Images
	// is the number of live images that hold any, not of those listed only.
	Packages []component.Package `json:"packages"`
	Images   int                 `json:"images"`
	// Newest are the newest of these images, at most maxEventImages.
	Newest []ImageRef `json:"newest"`
}
