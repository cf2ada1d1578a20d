// Package gate decides whether an image may be released: a policy, a scan
// report, VEX documents and a time go in, a decision with its reasons comes
// out.
//
// Decide is pure and total: it reads no file and no clock, and it has an
// answer for every input. It fails closed: what is not known, not covered, too
// old, from the future or out of range refuses, unless the policy says
// otherwise in so many words. It does not know where findings come from or
// what a refusal leads to.
package gate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// Kind names a reason for machines.
type Kind string

// The kinds of reasons.
const (
	// Severity is a finding at the policy's threshold or above.
	Severity Kind = "severity"
	// KEV is a finding in CISA's catalogue of known exploited vulnerabilities.
	KEV Kind = "kev"
	// UnknownSeverity is a finding whose severity no source gives.
	UnknownSeverity Kind = "unknown-severity"
	// Unfixed is a finding that only-fixable lets through.
	Unfixed Kind = "unfixed"
	// DatabaseAge is a database older than the policy allows, or undated.
	DatabaseAge Kind = "database-age"
	// DatabaseFuture is a database from after the decision.
	DatabaseFuture Kind = "database-future"
	// EmptyDatabase is a database without any data set.
	EmptyDatabase Kind = "empty-database"
	// Uncovered is an ecosystem that the database has no advisories for.
	Uncovered Kind = "uncovered"
	// Uncomparable are packages whose version could not be compared.
	Uncomparable Kind = "uncomparable"
	// UnusedException is an exception that no finding needed.
	UnusedException Kind = "unused-exception"
	// InvalidException is an exception that lacks what makes it one.
	InvalidException Kind = "invalid-exception"
)

// clockSkew is how far apart two honest clocks may be.
const clockSkew = time.Hour

// Decision is what the gate says of one image. Its JSON is described in
// docs/schemas/gate-v1.schema.json.
type Decision struct {
	// Refused says that the image must not be released. It is true exactly
	// when there are refusals.
	Refused bool `json:"refused"`
	// Image and Subject are what was decided about.
	Image   string  `json:"image"`
	Subject v1.Hash `json:"subject"`
	// At is the time of the decision, in UTC.
	At time.Time `json:"at"`
	// Refusals are the reasons against, findings first and the worst of them
	// first.
	Refusals []Refusal `json:"refusals"`
	// Warnings are reasons that the policy does not refuse for.
	Warnings []Refusal `json:"warnings"`
	// Excepted are findings that would be among the refusals or warnings, were
	// it not for an exception or a VEX statement.
	Excepted []Excused `json:"excepted"`
	// Expired are findings among the refusals or warnings whose exception has
	// run out.
	Expired []Excused `json:"expired"`
	// Counts counts all findings by severity.
	Counts map[finding.Severity]int `json:"counts"`
}

// Refusal is one reason.
type Refusal struct {
	Kind Kind `json:"kind"`
	// Finding is the finding behind the reason; nil when it is none.
	Finding *finding.Finding `json:"finding,omitempty"`
	// Reason is a sentence without final stop.
	Reason string `json:"reason"`
	// Next is the next step for a person; empty when there is none.
	Next string `json:"next,omitempty"`
	// Packages are those an uncomparable reason is about.
	Packages []finding.Package `json:"packages,omitempty"`
}

// Excused is a finding and what spoke for it: an exception or a VEX statement.
type Excused struct {
	Finding finding.Finding `json:"finding"`
	// Kind is why the finding would have counted.
	Kind      Kind               `json:"kind"`
	Exception *policy.Exception  `json:"exception,omitempty"`
	VEX       *finding.Statement `json:"vex,omitempty"`
}

// String says what was excused, by whom, and until when.
func (e Excused) String() string {
	return fmt.Sprintf("%s in %s %s: %s", e.Finding.ID, e.Finding.Package.Name, e.Finding.Package.Version, e.words())
}

// words says who excused the finding and why.
func (e Excused) words() string {
	switch {
	case e.Exception != nil:
		return fmt.Sprintf("exception of %s until %s: %s", e.Exception.Author, day(e.Exception.Expires), strings.TrimSpace(e.Exception.Reason))
	case e.VEX != nil:
		why := cmp.Or(e.VEX.Justification, e.VEX.Impact, "no reason given")
		return fmt.Sprintf("VEX of %s says %s: %s", e.VEX.Author, e.VEX.Status, why)
	default:
		return "nothing"
	}
}

// Decide judges the report r on an image of the repository image, at the time
// now. The zero Gate is one with every default. A severity that is none of
// package finding's counts as critical.
func Decide(g policy.Gate, image string, r finding.Report, vex []finding.VEX, now time.Time) Decision {
	r.Findings, r.Coverage, r.Uncomparable = known(r.Findings), slices.Clone(r.Coverage), slices.Clone(r.Uncomparable)
	r.Sort()
	d := Decision{
		Image: image, Subject: r.Subject, At: now.UTC(), Counts: r.Counts(),
		Refusals: []Refusal{}, Warnings: []Refusal{}, Excepted: []Excused{}, Expired: []Excused{},
	}
	j := judge{gate: g, image: image, subject: r.Subject, vex: vex, now: now, used: make([]bool, len(g.Exceptions)), decision: &d}
	for _, f := range r.Findings {
		j.finding(f)
	}
	j.database(r.Database)
	j.coverage(r.Coverage)
	j.uncomparable(r.Uncomparable)
	j.exceptions()
	d.Refused = len(d.Refusals) > 0
	return d
}

// known copies findings, with a severity that means nothing made the worst.
func known(findings []finding.Finding) []finding.Finding {
	out := slices.Clone(findings)
	for i, f := range out {
		if f.Severity < finding.Unknown || f.Severity > finding.Critical {
			out[i].Severity = finding.Critical
		}
	}
	return out
}

// judge is one decision in the making.
type judge struct {
	gate     policy.Gate
	image    string
	subject  v1.Hash
	vex      []finding.VEX
	now      time.Time
	used     []bool // by exception: a finding needed it
	decision *Decision
}

// note files a reason as the policy wants its kind handled.
func (j *judge) note(how string, r Refusal) {
	switch how {
	case policy.Allow:
	case policy.Warn:
		j.decision.Warnings = append(j.decision.Warnings, r)
	default:
		j.decision.Refusals = append(j.decision.Refusals, r)
	}
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
