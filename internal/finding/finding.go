// Package finding carries what a scan found: findings, their severity, and
// what the scan could not know.
//
// Unknown is a value of its own everywhere in this package. A severity that
// no source gives, an ecosystem without advisories, a package without a
// comparable version: each is kept and shown, and none of them ever reads as
// "nothing found".
package finding

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Severity is how bad an advisory says a vulnerability is. Values are ordered:
// a larger value is worse. Unknown is the smallest and means that no source
// gave a severity, not that there is none.
type Severity int

// The severities, from unknown to worst.
const (
	Unknown Severity = iota
	Negligible
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"unknown", "negligible", "low", "medium", "high", "critical"}

// String gives the lower-case word for s.
func (s Severity) String() string {
	if s < Unknown || s > Critical {
		return "unknown"
	}
	return severityNames[s]
}

// ParseSeverity reads the word for a severity in any case. Any other word is
// an error: a misspelt threshold must not become a weaker gate.
func ParseSeverity(word string) (Severity, error) {
	for i, name := range severityNames {
		if strings.EqualFold(word, name) {
			return Severity(i), nil
		}
	}
	return Unknown, fmt.Errorf("severity %q is none of %s", word, strings.Join(severityNames[:], ", "))
}

// MarshalText writes the lower-case word. A value that is none of the
// severities is an error: written as unknown it would read as the least.
func (s Severity) MarshalText() ([]byte, error) {
	if s < Unknown || s > Critical {
		return nil, fmt.Errorf("severity %d is not one of %s", int(s), strings.Join(severityNames[:], ", "))
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (s *Severity) UnmarshalText(text []byte) error {
	v, err := ParseSeverity(string(text))
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// Package is one installed package as a finding names it.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Type is the package URL type, such as deb, apk, pypi, golang or npm.
	Type string `json:"type"`
	PURL string `json:"purl,omitempty"`
	// Locations are the paths in the image that show the package, at most
	// five, sorted.
	Locations []string `json:"locations,omitempty"`
	// Upstream names the source package an advisory may be filed under;
	// empty when it is the package itself.
	Upstream string `json:"upstream,omitempty"`
}

// Finding is one advisory that applies to one installed package.
type Finding struct {
	// ID is the advisory's own identifier, such as CVE-2024-1234,
	// GHSA-xxxx-xxxx-xxxx or PYSEC-2024-1.
	ID string `json:"id"`
	// Aliases are other identifiers of the same vulnerability, sorted.
	Aliases []string `json:"aliases,omitempty"`
	Package Package  `json:"package"`
	// Severity is the first one known along the chain vendor, alias, CVSS
	// table; SeveritySource names the link that gave it.
	Severity       Severity `json:"severity"`
	SeveritySource string   `json:"severitySource,omitempty"`
	// FixedIn lists the versions that fix it; empty when no fix is known.
	FixedIn []string `json:"fixedIn,omitempty"`
	// FixState is fixed, not-fixed, wont-fix or unknown.
	FixState string `json:"fixState"`
	// KEV says that the vulnerability is in CISA's catalogue of known
	// exploited vulnerabilities.
	KEV bool `json:"kev"`
	// Namespace names the data set that holds the advisory, such as
	// "debian:distro:debian:12".
	Namespace string `json:"namespace,omitempty"`
	// Constraint is the version range that matched, for the explanation.
	Constraint string `json:"constraint,omitempty"`
	// URL is where a person reads more.
	URL string `json:"url,omitempty"`
	// Platforms lists the image platforms the finding is on, when the image
	// is an index.
	Platforms []string `json:"platforms,omitempty"`
}

// IDs gives the finding's identifier and all its aliases.
func (f Finding) IDs() []string { return append([]string{f.ID}, f.Aliases...) }

// Is says that id is one of the finding's identifiers, in any case.
func (f Finding) Is(id string) bool {
	return id != "" && slices.ContainsFunc(f.IDs(), func(own string) bool { return strings.EqualFold(own, id) })
}

// Fixable says that a fix is known, even if the versions with it are not.
func (f Finding) Fixable() bool { return len(f.FixedIn) > 0 || f.FixState == "fixed" }

// Database is what is known of the advisories a scan used.
type Database struct {
	// Schema is the database's schema version, such as "v6.1.10".
	Schema string `json:"schema"`
	// Built is when the database was made, in UTC.
	Built time.Time `json:"built"`
	// Digest is the SHA-256 of the database file as "sha256:hex".
	Digest string `json:"digest,omitempty"`
	// Source says where it came from: a path or URL without credentials.
	Source string `json:"source"`
	// Signed says that the archive's signature was verified against the
	// identity the policy names.
	Signed bool `json:"signed"`
	// Providers names the data sets inside, sorted.
	Providers []string `json:"providers,omitempty"`
}

// Coverage says, for one ecosystem of the image, whether the database could
// have found anything at all.
type Coverage struct {
	// Ecosystem is a package URL type, with the distribution for operating
	// system packages, such as "deb (debian 12)".
	Ecosystem string `json:"ecosystem"`
	Packages  int    `json:"packages"`
	// Covered is false when the database has no advisory for it: then "no
	// findings" says nothing.
	Covered bool `json:"covered"`
}

// Report is the result of one scan of one image.
type Report struct {
	// Subject is the digest the report is about.
	Subject v1.Hash `json:"subject"`
	// Image is the repository the subject was built for, without tag.
	Image string `json:"image,omitempty"`
	// Platform is the subject's, as os/arch[/variant]; empty for an index.
	Platform string `json:"platform,omitempty"`
	// Scanner and ScannerVersion name the matcher.
	Scanner        string     `json:"scanner"`
	ScannerVersion string     `json:"scannerVersion"`
	Database       Database   `json:"database"`
	Coverage       []Coverage `json:"coverage"`
	Findings       []Finding  `json:"findings"`
	// Uncomparable lists packages whose version could not be compared with
	// an advisory's range: neither affected nor cleared.
	Uncomparable []Package `json:"uncomparable,omitempty"`
}

// PredicateType is the in-toto predicate type under which a release attests a
// Report; its schema is published in docs/schemas.
const PredicateType = "https://hallmark.sh/scan/v1"
