package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Key tells things apart: the SHA-256 of a canonical text.
type Key [sha256.Size]byte

// KeyOf is the key of a canonical text.
func KeyOf(canonical []byte) Key { return sha256.Sum256(canonical) }

// Package is one package by its match identity.
type Package struct {
	// ID is the store's number, from 1; zero in an arrival.
	ID  uint32
	Key Key
	// Body is what the package is. Notes is what a document said beside that,
	// such as its licences; the first document that says anything counts.
	Body, Notes []byte
}

// Arrival is an image to be taken in.
type Arrival struct {
	// Digest says which image. Name is the place it was seen at: a repository,
	// or a repository and a tag as REPOSITORY:TAG.
	Digest, Name string
	// Evidence is the digest of what the record rests on, "sha256:hex". The
	// same evidence again makes no new record.
	Evidence string
	// Verified says that the evidence was verified. A record that is not
	// never takes the place of one that is.
	Verified bool
	At       time.Time
	Body     []byte
	Packages []Package
}

// Check refuses an arrival beyond the bounds.
func (a Arrival) Check() error {
	switch {
	case a.Name == "" || a.Digest == "" || a.Evidence == "":
		return errors.New("an image needs a name, a digest and its evidence's digest")
	case Text(a.Name) != a.Name || Text(a.Digest) != a.Digest || Text(a.Evidence) != a.Evidence:
		return fmt.Errorf("the name %q is not valid text", a.Name)
	case len(a.Packages) > MaxPackages:
		return fmt.Errorf("%w: %d packages in one image, more than %d", ErrTooLarge, len(a.Packages), MaxPackages)
	case len(a.Body) > MaxBody:
		return fmt.Errorf("%w: %d bytes about one image, more than %d", ErrTooLarge, len(a.Body), MaxBody)
	}
	for _, p := range a.Packages {
		if len(p.Body)+len(p.Notes) > MaxBody {
			return fmt.Errorf("%w: a package of %d bytes, more than %d", ErrTooLarge, len(p.Body)+len(p.Notes), MaxBody)
		}
	}
	return nil
}

// Result is what became of an arrival.
type Result string

// The results.
const (
	// Stored: a new record.
	Stored Result = "stored"
	// Unchanged: the evidence was known already.
	Unchanged Result = "unchanged"
	// Kept: the evidence is unverified and the record there is verified.
	Kept Result = "kept"
)

// Outcome is what became of one arrival, and its record.
type Outcome struct {
	Result Result
	ID     uint32
	// NewPackages counts those never seen before.
	NewPackages int
}

// Image is one record.
type Image struct {
	// ID is the store's number, from 1, never used again.
	ID       uint32
	Digest   string
	Evidence string
	Verified bool
	// Names are the places it was seen at, in the order they were.
	Names []string
	// At is when it was taken in. Until is when it was superseded or retired;
	// zero while it stands.
	At, Until time.Time
	Body      []byte
	// Packages are the numbers of its packages, sorted.
	Packages []uint32
}

// Refusal is evidence that was not believed.
type Refusal struct {
	// Name is the place, as in an arrival. Digest is empty when not even that
	// is known.
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"`
	// Code is the verdict's, or one of package intake's.
	Code   string    `json:"code"`
	Reason string    `json:"reason"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Times  int       `json:"times"`
	// Ended is when the image was taken in after all; zero while it stands.
	Ended time.Time `json:"ended,omitzero"`
}

// ID tells refusals apart.
func (r Refusal) ID() Key {
	return KeyOf(fmt.Appendf(nil, "%q %q %q", r.Name, r.Digest, r.Code))
}

// Dataset is where advisory rows come from.
type Dataset struct {
	// Source names the database or folder, for people.
	Source string `json:"source"`
	// Digest is the SHA-256 of the database or archive, "sha256:hex".
	Digest string `json:"digest,omitempty"`
	// Built is when the data set was made; zero when it does not tell.
	Built time.Time `json:"built,omitzero"`
	// Partial adds and replaces rows and ends none.
	Partial bool      `json:"partial,omitempty"`
	At      time.Time `json:"at"`
}

// Row is one advisory row.
type Row struct {
	// Provider is whose row it is: an import replaces all rows of the
	// providers in it. Name tells the row apart from others of all providers.
	Provider, Name string
	// Hash tells versions of the row apart.
	Hash Key
	Body []byte
	// Added and Removed are the numbers of imports; Removed is zero while the
	// row stands.
	Added, Removed int64
}

// Check refuses a row beyond the bounds.
func (r Row) Check() error {
	switch {
	case r.Provider == "" || r.Name == "":
		return errors.New("an advisory row needs a provider and a name")
	case Text(r.Provider+r.Name) != r.Provider+r.Name:
		return fmt.Errorf("the advisory's name %q is not valid text", r.Name)
	case len(r.Provider)+len(r.Name) > 1<<10:
		return fmt.Errorf("%w: an advisory's name of %d bytes", ErrTooLarge, len(r.Name))
	case len(r.Body) > MaxBody:
		return fmt.Errorf("%w: advisory %q of %d bytes, more than %d", ErrTooLarge, r.Name, len(r.Body), MaxBody)
	}
	return nil
}

// Import is one finished import.
type Import struct {
	N int64 `json:"n"`
	Dataset
	// Rows counts those it brought, Added those new or changed, and Removed
	// those that are gone.
	Rows    int `json:"rows"`
	Added   int `json:"added"`
	Removed int `json:"removed"`
	// Announced says that its events were recorded.
	Announced bool `json:"-"`
}

// VEX is one VEX document.
type VEX struct {
	// Key tells documents apart: another of the same key takes its place.
	Key      string
	Body     []byte
	Verified bool
	// At is when it was taken in, Until when it was replaced.
	At, Until time.Time
}

// Event is something to tell: that images are newly affected.
type Event struct {
	ID   string
	At   time.Time
	Body []byte
	// Tries counts failed deliveries, and Reason says why the last failed.
	Tries     int
	Reason    string
	Delivered bool
}

// Kind is what a change is about.
type Kind string

// The kinds of changes.
const (
	// PackageChange: a package got its notes.
	PackageChange Kind = "package"
	// ImageChange: a record is new, has ended, or has a new name.
	ImageChange Kind = "image"
	// RefusalChange: evidence was refused.
	RefusalChange Kind = "refusal"
	// ImportChange: advisory rows were added or ended.
	ImportChange Kind = "import"
	// VEXChange: a document is new or was replaced.
	VEXChange Kind = "vex"
)

// Change is one entry of the change log. The pointer of its kind is set, and
// shows the thing as it is now, which may be later than the entry.
type Change struct {
	Seq     int64
	Kind    Kind
	Package *Package
	Image   *Image
	Refusal *Refusal
	Import  *Import
	VEX     *VEX
}

// Delta is a piece of the change log. Packages are those above the number that
// was asked for; Changes may refer to them.
type Delta struct {
	Packages []Package
	Changes  []Change
}

// Sink takes what Load reads, in the order of its fields. A function may keep
// what it is given. Nil functions are passed over.
type Sink struct {
	Package func(Package) error
	Image   func(Image) error
	Refusal func(Refusal) error
	// Import comes before any row that names it.
	Import func(Import) error
	Row    func(Row) error
	VEX    func(VEX) error
}

// Text is s as every engine can keep it: valid UTF-8 without NUL, at most 4 KiB.
func Text(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
	if len(s) > 4<<10 {
		s = strings.ToValidUTF8(s[:4<<10], "")
	}
	return s
}

// PackNumbers writes sorted numbers as differences, in the fewest bytes.
func PackNumbers(sorted []uint32) []byte {
	out := make([]byte, 0, 2*len(sorted)+4)
	var last uint32
	for _, n := range sorted {
		out = binary.AppendUvarint(out, uint64(n-last))
		last = n
	}
	return out
}

// UnpackNumbers reads what PackNumbers wrote. Anything else wraps ErrCorrupt.
func UnpackNumbers(packed []byte) ([]uint32, error) {
	out := make([]uint32, 0, len(packed))
	var last uint64
	for len(packed) > 0 {
		d, n := binary.Uvarint(packed)
		if n <= 0 || d == 0 || last+d > 1<<32-1 {
			return nil, fmt.Errorf("%w: a list of packages cannot be read", ErrCorrupt)
		}
		last += d
		out = append(out, uint32(last))
		packed = packed[n:]
	}
	return out, nil
}

// SortedSet sorts numbers and drops repeats.
func SortedSet(numbers []uint32) []uint32 {
	slices.Sort(numbers)
	return slices.Compact(numbers)
}
