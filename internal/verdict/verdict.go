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
}

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
