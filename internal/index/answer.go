package index

import (
	"time"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/finding"
)

// DefaultLimit is the size of a page when none is asked for, MaxLimit the
// largest.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Options go with every question.
type Options struct {
	// AsOf asks what was known at a time; zero for now.
	AsOf time.Time
	// Limit is the size of the page; zero for DefaultLimit.
	Limit int
	// Cursor is the Next of the page before; empty for the first.
	Cursor string
	// VEX leaves out what VEX statements clear. Without it, and for what they
	// do not clear, their status is shown only.
	VEX bool
}

// Digest is ALGORITHM:HEX, as the OCI image specification writes digests; empty
// when there is none. It is text because answers hold hundreds, and writing
// them was half of the time an answer took.
type Digest string

// String is the digest as it is.
func (d Digest) String() string { return string(d) }

// ImageRef names an image in an answer.
type ImageRef struct {
	Digest     Digest    `json:"digest"`
	Repository string    `json:"repository,omitempty"`
	Tags       []string  `json:"tags,omitempty"`
	Evidence   Digest    `json:"evidence"`
	Verified   bool      `json:"verified"`
	Commit     string    `json:"commit,omitempty"`
	Recorded   time.Time `json:"recorded"`
}

// Doubts are what an answer can't know. They come with every answer, and are
// about the images and packages it was looked for in.
type Doubts struct {
	// Uncovered are the ecosystems of packages on which no advisory was
	// loaded: nothing found there says nothing.
	Uncovered []Uncovered `json:"uncovered,omitempty"`
	// Uncomparable are packages an advisory names whose version can't be
	// compared with its range, at most maxDoubts of them; UncomparableTotal
	// counts all.
	Uncomparable      []Uncomparable `json:"uncomparable,omitempty"`
	UncomparableTotal int            `json:"uncomparableTotal,omitempty"`
	// NoDistro counts the operating system packages whose distribution is
	// unknown, and the images that hold them: no advisory can be matched.
	NoDistro       int `json:"noDistro,omitempty"`
	NoDistroImages int `json:"noDistroImages,omitempty"`
	// NoPURL counts packages without a package URL and the images that hold
	// them: they are found by name only.
	NoPURL       int `json:"noPurl,omitempty"`
	NoPURLImages int `json:"noPurlImages,omitempty"`
	// Refused counts the images whose evidence was refused: nothing is known
	// of what they hold.
	Refused int `json:"refused,omitempty"`
	// Unverified counts the images of the answer, on all its pages, that rest
	// on unverified documents.
	Unverified int `json:"unverified,omitempty"`
	// NoAdvisories is true when no advisory at all was loaded.
	NoAdvisories bool `json:"noAdvisories,omitempty"`
}

// Uncovered is an ecosystem without advisories: a package URL type, with the
// distribution for packages of an operating system.
type Uncovered struct {
	Ecosystem string `json:"ecosystem"`
	Packages  int    `json:"packages"`
	Images    int    `json:"images"`
}

// Uncomparable is a package that an advisory may affect or may not.
type Uncomparable struct {
	Package component.Package `json:"package"`
	ID      string            `json:"id"`
	Reason  string            `json:"reason"`
	Images  int               `json:"images"`
}

// PackageQuery asks for packages: by a package URL, which means every package
// that is equal to it or more special, or by name.
type PackageQuery struct {
	// Text is a package URL, or a name with an optional range, as log4j-core,
	// org.apache.logging.log4j:log4j-core@<2.17.1 or openssl@3.0.11-1. A name
	// means the full name or its last part, in any case.
	Text string
	// Type and Distro limit the answer; both may be empty. Distro is
	// debian-12, debian:12 or debian.
	Type   string
	Distro string
}

// WhoHas answers which images hold a package.
type WhoHas struct {
	// Versions are the distinct packages that are meant, the most spread
	// first, at most maxVersions of them; VersionsTotal counts all.
	Versions      []VersionCount `json:"versions"`
	VersionsTotal int            `json:"versionsTotal"`
	// Total counts the images; Images is a page of them, the newest first.
	Total  int        `json:"total"`
	Images []ImageHas `json:"images"`
	Next   string     `json:"next,omitempty"`
	Doubts Doubts     `json:"doubts"`
}

// VersionCount is a package and the number of images that hold it.
type VersionCount struct {
	Package component.Package `json:"package"`
	Images  int               `json:"images"`
}

// ImageHas is an image and which of the packages it holds.
type ImageHas struct {
	ImageRef
	Packages []component.Package `json:"packages"`
}

// AffectedQuery asks which images an advisory hits.
type AffectedQuery struct {
	// ID is any name of the vulnerability, in any case.
	ID string
	// Severity is the least severity that counts; Unknown for all. A severity
	// that nobody gave is Unknown, and left out by any other threshold: the
	// answer's Severity says so.
	Severity finding.Severity
	// Fixable and KEV leave out what has no known fix, and what is not known
	// to be exploited.
	Fixable bool
	KEV     bool
}

// Affected answers which images an advisory hits.
type Affected struct {
	Vulnerability Vulnerability `json:"vulnerability"`
	// Versions are the distinct packages that are hit; see WhoHas.
	Versions      []VersionCount `json:"versions"`
	VersionsTotal int            `json:"versionsTotal"`
	// Total counts the images that are hit; Images is a page of them, the
	// newest first. Cleared counts those that VEX statements clear of every
	// hit: part of Total, unless Options.VEX left them out.
	Total   int          `json:"total"`
	Cleared int          `json:"cleared,omitempty"`
	Images  []ImageHit   `json:"images"`
	Next    string       `json:"next,omitempty"`
	Doubts  Doubts       `json:"doubts"`
	Filter  *FilterNotes `json:"filter,omitempty"`
}

// FilterNotes say what the question's own filters left out.
type FilterNotes struct {
	// Excluded counts packages that are hit but did not pass the filters.
	Excluded int `json:"excluded"`
	// UnknownSeverity says that some have no severity from any source.
	UnknownSeverity bool `json:"unknownSeverity,omitempty"`
}

// Vulnerability is one vulnerability under all its names.
type Vulnerability struct {
	// ID is the name that was asked for, or the CVE.
	ID string `json:"id"`
	// Aliases are all other names that advisories give it, directly or through
	// one another, sorted.
	Aliases        []string         `json:"aliases,omitempty"`
	Severity       finding.Severity `json:"severity"`
	SeveritySource string           `json:"severitySource,omitempty"`
	KEV            bool             `json:"kev"`
	Summary        string           `json:"summary,omitempty"`
	URLs           []string         `json:"urls,omitempty"`
	// Advisories are the keys (provider/ID) of the records.
	Advisories []string `json:"advisories"`
}

// ImageHit is an image with what is hit in it.
type ImageHit struct {
	ImageRef
	Hits []Hit `json:"hits"`
}

// Hit is one advisory on one package.
type Hit struct {
	Package component.Package `json:"package"`
	// ID is the advisory's, Aliases its other names.
	ID             string           `json:"id"`
	Aliases        []string         `json:"aliases,omitempty"`
	Provider       string           `json:"provider"`
	Severity       finding.Severity `json:"severity"`
	SeveritySource string           `json:"severitySource,omitempty"`
	KEV            bool             `json:"kev"`
	FixedIn        []string         `json:"fixedIn,omitempty"`
	FixState       string           `json:"fixState"`
	Constraint     string           `json:"constraint"`
	// Exploitability is what VEX says of it in this image, if anything.
	Exploitability *finding.Statement `json:"vex,omitempty"`
}

// ImageReport answers what one image holds and what is found in it.
type ImageReport struct {
	ImageRef
	Source string    `json:"source,omitempty"`
	Built  time.Time `json:"built,omitzero"`
	// Packages are all of them, by type and name; Findings the worst first.
	Packages []PackageNote            `json:"packages"`
	Findings []Hit                    `json:"findings"`
	Counts   map[finding.Severity]int `json:"counts"`
	Doubts   Doubts                   `json:"doubts"`
}

// PackageNote is a package with what its row says beside its identity.
type PackageNote struct {
	component.Package
	Licences []string `json:"licences,omitempty"`
	Supplier string   `json:"supplier,omitempty"`
}

// Diff answers what changed from one image to another.
type Diff struct {
	From ImageRef `json:"from"`
	To   ImageRef `json:"to"`
	// Added and Removed are packages of names that only one side has; Changed
	// are those of one name in other versions.
	Added   []component.Package `json:"added"`
	Removed []component.Package `json:"removed"`
	Changed []VersionChange     `json:"changed"`
	// FindingsAdded and FindingsRemoved are findings, by vulnerability and
	// package name, that only one side has; FindingsKept counts the others.
	FindingsAdded   []Hit  `json:"findingsAdded"`
	FindingsRemoved []Hit  `json:"findingsRemoved"`
	FindingsKept    int    `json:"findingsKept"`
	Doubts          Doubts `json:"doubts"`
}

// VersionChange is one name whose versions differ.
type VersionChange struct {
	Type string   `json:"type"`
	Name string   `json:"name"`
	From []string `json:"from"`
	To   []string `json:"to"`
}

// Licences answers which licences packages carry. With a licence asked for,
// Packages names those that carry it.
type Licences struct {
	Licences []LicenceCount `json:"licences"`
	Total    int            `json:"total"`
	Next     string         `json:"next,omitempty"`
	Packages []VersionCount `json:"packages,omitempty"`
	// Undeclared counts the packages of which no document gives a licence.
	Undeclared int    `json:"undeclared"`
	Doubts     Doubts `json:"doubts"`
}

// LicenceCount is a licence with the packages that carry it and the images
// that hold any of them.
type LicenceCount struct {
	Licence  string `json:"licence"`
	Packages int    `json:"packages"`
	Images   int    `json:"images"`
}

// The rankings of Top.
const (
	TopImages   = "images"
	TopPackages = "packages"
	TopOldest   = "oldest"
)

// Top answers with one ranking: the images with the worst findings, the
// packages in most images, or the images longest unchanged.
type Top struct {
	Kind     string         `json:"kind"`
	Images   []ImageCounts  `json:"images,omitempty"`
	Packages []VersionCount `json:"packages,omitempty"`
	Total    int            `json:"total"`
	Doubts   Doubts         `json:"doubts"`
}

// ImageCounts is an image with its findings counted.
type ImageCounts struct {
	ImageRef
	Built  time.Time                `json:"built,omitzero"`
	Counts map[finding.Severity]int `json:"counts"`
	KEV    int                      `json:"kev"`
}

// Explanation says why an advisory does or does not hit a package.
type Explanation struct {
	Vulnerability Vulnerability     `json:"vulnerability"`
	Package       component.Package `json:"package"`
	// Affected is the verdict; Known is false when a comparison could not be
	// made, and then Affected says nothing.
	Affected bool `json:"affected"`
	Known    bool `json:"known"`
	// Held says that some image holds this very package.
	Held bool `json:"held"`
	// Steps are the comparisons, in order; empty when no advisory row names
	// the package. Reason says it in a sentence.
	Steps  []Step `json:"steps"`
	Reason string `json:"reason"`
	Doubts Doubts `json:"doubts"`
}

// Step is one advisory row held against the package.
type Step struct {
	Advisory string `json:"advisory"`
	Provider string `json:"provider"`
	// Import and From say which database the row is from and since when the
	// memory has it.
	Import string    `json:"import,omitempty"`
	From   time.Time `json:"from"`
	// Matched is the name the row was found by, the package's own or its
	// source package's; Version is the version that was compared.
	Matched    string `json:"matched"`
	Distro     string `json:"distro,omitempty"`
	Version    string `json:"version"`
	Format     string `json:"format"`
	Constraint string `json:"constraint"`
	FixedIn    string `json:"fixedIn,omitempty"`
	// Result is affected, not affected, unaffected (a row that takes back
	// another), not comparable, other module or ignored; Detail says more.
	Result string `json:"result"`
	Detail string `json:"detail,omitempty"`
}

// Stats are the sizes of an index.
type Stats struct {
	Images     int `json:"images"`
	Unverified int `json:"unverified"`
	Refused    int `json:"refused"`
	Packages   int `json:"packages"`
	// Occurrences counts packages of live images.
	Occurrences int `json:"occurrences"`
	Advisories  int `json:"advisories"`
	// Findings counts (advisory, package) pairs.
	Findings int `json:"findings"`
	VEX      int `json:"vex"`
	// Advised is when the advisories last changed.
	Advised time.Time `json:"advised,omitzero"`
	// Epoch is the store's sequence number up to which the index has followed.
	Epoch uint64 `json:"epoch"`
}
