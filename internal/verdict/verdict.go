// Package verdict carries the answer to "is this exactly what was built": a
// list of checks, each passed, failed or unknown, with its reason.
//
// Only package verify makes verdicts. Unknown is never shown or counted as
// pass: a verdict passes when every check in it passed.
package verdict

import "time"

// Outcome is the result of one check.
type Outcome string

// The outcomes of a check.
const (
	Pass    Outcome = "pass"
	Fail    Outcome = "fail"
	Unknown Outcome = "unknown"
)

// Check is one link of the chain, judged.
type Check struct {
	// Name is the link: subject, signature, sbom, scan, provenance, source,
	// tag.
	Name string `json:"name"`
	// Outcome is pass, fail or unknown.
	Outcome Outcome `json:"outcome"`
	// Code names the reason for machines, such as "no-signature" or
	// "identity-mismatch"; it is empty for a pass.
	Code string `json:"code,omitempty"`
	// Reason says in one sentence what was seen.
	Reason string `json:"reason"`
	// Next is the next step for a person; empty for a pass.
	Next string `json:"next,omitempty"`
	// Details are named facts behind the reason, in the order shown.
	Details []Detail `json:"details,omitempty"`
}

// Detail is one fact behind a check.
type Detail struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Verdict is the whole answer about one image or file.
type Verdict struct {
	// Subject is the image by digest, or the file's name.
	Subject string `json:"subject"`
	// Digest is the digest of the subject as "sha256:hex".
	Digest string `json:"digest"`
	// At is the time of judgement, in UTC.
	At time.Time `json:"at"`
	// PolicyDigest is the SHA-256 of the policy file judged by, "sha256:hex";
	// empty when the policy came from flags.
	PolicyDigest string  `json:"policyDigest,omitempty"`
	Checks       []Check `json:"checks"`
	// Carriers are the digests that were looked at for evidence, with all that
	// was found on each: the subject first, then the platforms of an index.
	// They are there when an explanation was asked for, and decide nothing.
	Carriers []Carrier `json:"carriers,omitempty"`
}

// Carrier is one digest and the evidence found on it.
type Carrier struct {
	Digest string `json:"digest"`
	// Platform is os/arch[/variant] for a platform of an index, and empty for
	// the subject itself.
	Platform string `json:"platform,omitempty"`
	// Outcome is whether this digest alone passes the policy, and Reason the
	// first thing that keeps it from it.
	Outcome Outcome  `json:"outcome"`
	Reason  string   `json:"reason,omitempty"`
	Bundles []Bundle `json:"bundles"`
}

// Bundle is one piece of evidence as it was found, whether or not it counts.
type Bundle struct {
	// Kind is the link it could speak for, signature, sbom, scan or
	// provenance; or vex, or other.
	Kind          string `json:"kind"`
	PredicateType string `json:"predicateType"`
	// Counts says that it is genuine, about this digest and by the policy's
	// identity; Code and Reason say why not.
	Counts bool   `json:"counts"`
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Identity and Issuer are the certificate's; empty for a bundle that is
	// not genuine, of which nothing is believed.
	Identity string  `json:"identity,omitempty"`
	Issuer   string  `json:"issuer,omitempty"`
	Stamps   []Stamp `json:"stamps,omitempty"`
}

// Stamp is one witness of when a bundle was signed.
type Stamp struct {
	// By is ByLog or ByAuthority.
	By string `json:"by"`
	// At is the time; absent for a log that gives its entries none.
	At *time.Time `json:"at,omitempty"`
	// LogIndex is the entry's number in the log.
	LogIndex *int64 `json:"logIndex,omitempty"`
	// URI is where the authority is found, where the trust root says it.
	URI string `json:"uri,omitempty"`
}

// The witnesses of a time.
const (
	ByLog       = "transparency-log"
	ByAuthority = "timestamp-authority"
)

// Passed says that there is at least one check and every check passed.
func (v Verdict) Passed() bool {
	for _, c := range v.Checks {
		if c.Outcome != Pass {
			return false
		}
	}
	return len(v.Checks) > 0
}

// Failing lists the checks that did not pass.
func (v Verdict) Failing() []Check {
	var out []Check
	for _, c := range v.Checks {
		if c.Outcome != Pass {
			out = append(out, c)
		}
	}
	return out
}

// Fails says that a check did not pass for the reason of the given code.
func (v Verdict) Fails(code string) bool {
	for _, c := range v.Failing() {
		if c.Code == code {
			return true
		}
	}
	return false
}

// Find gives the check of the given name.
func (v Verdict) Find(name string) (Check, bool) {
	for _, c := range v.Checks {
		if c.Name == name {
			return c, true
		}
	}
	return Check{}, false
}
