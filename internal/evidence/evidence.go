// Package evidence carries what is signed about an image: the in-toto
// statement, and the Sigstore bundle that a signed statement becomes.
//
// It is plain data with a codec. Who signs is package sign's knowledge, where
// evidence is stored package registry's, and what a predicate means is known
// only to the package that makes or judges it.
package evidence

import (
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// StatementType is the type of an in-toto Statement, version 1
// (https://in-toto.io/Statement/v1).
const StatementType = "https://in-toto.io/Statement/v1"

// PayloadType is the DSSE payload type of an in-toto statement.
const PayloadType = "application/vnd.in-toto+json"

// BundleMediaType is the media type of a Sigstore bundle, version 0.3; it is
// also the artifact type under which a registry keeps one.
const BundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// The predicate types of a release's evidence.
const (
	// Signature is cosign 3's predicate for "this image is signed". Only it
	// counts as a signature; any other attestation does not.
	Signature = "https://sigstore.dev/cosign/sign/v1"
	// CycloneDX is the predicate type of an SBOM.
	CycloneDX = "https://cyclonedx.org/bom"
	// Scan is the predicate type of a hallmark scan report.
	Scan = "https://hallmark.sh/scan/v1"
	// Provenance is SLSA provenance, version 1.
	Provenance = "https://slsa.dev/provenance/v1"
	// OpenVEX is the predicate type of a VEX document as cosign attests it;
	// other tools add the version, as /v0.2.0. Read, never written.
	OpenVEX = "https://openvex.dev/ns"
	// ProvenanceV02 is SLSA provenance, version 0.2: read, never written.
	ProvenanceV02 = "https://slsa.dev/provenance/v0.2"
)

// Subject is one artifact a statement is about.
type Subject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

// Statement is an in-toto statement, version 1.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// About makes a statement of the given predicate type about the given digests
// of one repository. The predicate must be a JSON object.
func About(repository, predicateType string, predicate []byte, digests ...v1.Hash) (Statement, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(predicate, &object); err != nil {
		return Statement{}, fmt.Errorf("reading predicate %s: %w", predicateType, err)
	}
	s := Statement{Type: StatementType, PredicateType: predicateType, Predicate: predicate}
	for _, d := range digests {
		s.Subject = append(s.Subject, Subject{Name: repository, Digest: map[string]string{d.Algorithm: d.Hex}})
	}
	if len(s.Subject) == 0 {
		return Statement{}, fmt.Errorf("making statement %s: no subject", predicateType)
	}
	return s, nil
}

// IsAbout says that one of the statement's subjects has the digest d.
func (s Statement) IsAbout(d v1.Hash) bool {
	for _, sub := range s.Subject {
		if sub.Digest[d.Algorithm] == d.Hex {
			return true
		}
	}
	return false
}

// Signed is one signed statement: a Sigstore bundle whose DSSE envelope holds
// the statement. Its bytes are kept as they were made or fetched.
type Signed struct {
	// PredicateType is what the bundle says it holds. Before verification it
	// is a hint for humans and for fetching in order, nothing more.
	PredicateType string
	// Subjects are the digests the evidence is to be found by: it is attached
	// to each of them.
	Subjects []v1.Hash
	// Bundle is the bundle's JSON.
	Bundle []byte
}

// IsOpenVEX says that a predicate type is OpenVEX's, of any version.
func IsOpenVEX(predicateType string) bool {
	return predicateType == OpenVEX || strings.HasPrefix(predicateType, OpenVEX+"/")
}
