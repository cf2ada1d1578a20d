package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/gate"
	"github.com/hallmark-sh/hallmark/internal/release"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// releaseAnswer is the stable JSON answer of hallmark release; its schema is
// docs/schemas/release-v1.schema.json.
type releaseAnswer struct {
	Schema string `json:"schema"`
	// Outcome is released, already-released, checked, refused or unproven.
	Outcome  string            `json:"outcome"`
	Image    string            `json:"image,omitempty"`
	Digest   string            `json:"digest"`
	Tag      string            `json:"tag,omitempty"`
	Source   sourceAnswer      `json:"source"`
	Packages map[string]int    `json:"packages"`
	Findings map[string]int    `json:"findings"`
	Database finding.Database  `json:"database"`
	Gate     gate.Decision     `json:"gate"`
	Added    int               `json:"bundlesAdded"`
	Verdict  *verdict.Verdict  `json:"verdict,omitempty"`
	Files    []string          `json:"files,omitempty"`
	Millis   map[string]int64  `json:"milliseconds"`
	Platform map[string]string `json:"platforms"`
}

type sourceAnswer struct {
	Repository string `json:"repository,omitempty"`
	Commit     string `json:"commit"`
	Ref        string `json:"ref,omitempty"`
	Dirty      bool   `json:"dirty"`
}

func outcome(r release.Result, failure error, check bool) string {
	switch {
	case errors.Is(failure, release.ErrRefused):
		return "refused"
	case failure != nil:
		return "unproven"
	case check:
		return "checked"
	case r.Already:
		return "already-released"
	default:
		return "released"
	}
}

func newReleaseAnswer(r release.Result, failure error, check bool, files []string) releaseAnswer {
	a := releaseAnswer{
		Schema:   "hallmark.release/v1",
		Outcome:  outcome(r, failure, check),
		Digest:   r.Built.Digest.String(),
		Tag:      r.Tag,
		Source:   sourceAnswer{r.Source.Remote, r.Source.Commit, r.Source.Ref, r.Source.Dirty},
		Packages: packageCounts(r),
		Findings: map[string]int{},
		Database: r.Report.Database,
		Gate:     r.Decision,
		Added:    r.Added,
		Files:    files,
		Millis:   map[string]int64{},
		Platform: map[string]string{},
	}
	if image := r.Image.String(); r.Image.DigestStr() != "" {
		a.Image, a.Digest = image, r.Image.DigestStr()
	}
	for severity, count := range r.Report.Counts() {
		a.Findings[severity.String()] = count
	}
	for _, t := range r.Times {
		a.Millis[t.Stage] = t.Took.Milliseconds()
	}
	for _, p := range r.Built.Platforms {
		a.Platform[p.Name] = p.Digest.String()
	}
	if len(r.Verdict.Checks) > 0 {
		a.Verdict = &r.Verdict
	}
	return a
}

// packageCounts counts the packages of the whole image by package URL type.
func packageCounts(r release.Result) map[string]int {
	if len(r.Documents) == 0 {
		return map[string]int{}
	}
	return r.Documents[len(r.Documents)-1].Packages
}

func (a *app) printRelease(r release.Result, failure error, check bool, files []string) {
	s := a.screen
	switch outcome(r, failure, check) {
	case "refused":
		s.printf("%s  %s of commit %.12s\n\n", s.out(red, "REFUSED"), r.Built.Digest, r.Source.Commit)
		a.printRefusals(r.Decision)
	case "unproven":
		s.printf("%s  %s of commit %.12s\n", s.out(red, "NOT PROVEN"), r.Built.Digest, r.Source.Commit)
		a.printChecks(r.Verdict)
	case "checked":
		s.printf("%s  %s of commit %.12s; nothing was pushed\n", s.out(green, "WOULD PASS"), r.Built.Digest, r.Source.Commit)
	case "already-released":
		s.printf("%s  %s\n", s.out(green, "ALREADY RELEASED"), r.Image)
		if r.Image.DigestStr() != r.Built.Digest.String() {
			s.printf("  note      the build made just now differs (%s) and was not pushed\n", r.Built.Digest)
		}
	default:
		s.printf("%s  %s\n", s.out(green, "RELEASED"), r.Image)
	}
	a.printFacts(r, check || failure != nil)
	if len(files) > 0 {
		s.printf("  files     SBOM, scan, SARIF and summary in %s\n", clean(filepath.Dir(files[0])))
	}
	if a.flags.verbose {
		for _, t := range r.Times {
			s.note("  %-10s %6d ms", t.Stage, t.Took.Milliseconds())
		}
	}
	if r.Tag != "" {
		s.printf("\nnext: hallmark verify %s\n", r.Image)
	}
}

func (a *app) printFacts(r release.Result, unpublished bool) {
	s := a.screen
	where := r.Source.Remote
	if where == "" {
		where = r.Source.Dir
	}
	s.printf("  source    %s @ %s %s\n", clean(where), r.Source.Commit, clean(r.Source.Ref))
	s.printf("  packages  %s\n", countsText(packageCounts(r)))
	s.printf("  findings  %s; advisories of %s\n", severityText(r.Report.Counts()), r.Report.Database.Built.Format("2006-01-02"))
	for _, w := range r.Decision.Warnings {
		s.printf("  %s   %s\n", s.out(yellow, "warning"), clean(w.Reason))
	}
	for _, e := range r.Decision.Excepted {
		s.printf("  %s   %s\n", s.out(yellow, "excused"), clean(e.String()))
	}
	if unpublished || len(r.Verdict.Checks) == 0 {
		return
	}
	s.printf("  tag       %s\n", r.Tag)
	s.printf("  evidence  %d bundles added; all %d checks pass from the registry\n", r.Added, len(r.Verdict.Checks))
}

// printRefusals prints why the gate said no: findings as a table, the rest as
// sentences.
func (a *app) printRefusals(d gate.Decision) {
	rows := [][]string{{"PACKAGE", "INSTALLED", "FIXED IN", "SEVERITY", "ID", "WHY"}}
	for _, r := range d.Refusals {
		if r.Finding == nil {
			continue
		}
		f := r.Finding
		fixed := strings.Join(f.FixedIn, ", ")
		if fixed == "" {
			fixed = "no fix"
		}
		rows = append(rows, []string{f.Package.Name, f.Package.Version, fixed, f.Severity.String(), f.ID, r.Reason})
	}
	if len(rows) > 1 {
		a.screen.table(rows)
		a.screen.printf("\n")
	}
	for _, r := range d.Refusals {
		if r.Finding == nil {
			a.screen.printf("  %s\n", clean(r.Reason))
		}
		if r.Finding == nil && r.Next != "" {
			a.screen.printf("    next: %s\n", clean(r.Next))
		}
	}
}

// printChecks prints a verdict, one line a link.
func (a *app) printChecks(v verdict.Verdict) {
	for _, c := range v.Checks {
		a.printCheck(c)
	}
}

func (a *app) printCheck(c verdict.Check) {
	word, in := "UNKNOWN", yellow
	switch c.Outcome {
	case verdict.Pass:
		word, in = "pass", green
	case verdict.Fail:
		word, in = "FAIL", red
	}
	a.screen.printf("  %-11s %-7s  %s\n", clean(c.Name), a.screen.out(in, word), clean(c.Reason))
	if c.Outcome != verdict.Pass && c.Next != "" {
		a.screen.printf("  %-11s          next: %s\n", "", clean(c.Next))
	}
}

func severityText(counts map[finding.Severity]int) string {
	var words []string
	for s := finding.Critical; s >= finding.Unknown; s-- {
		if counts[s] > 0 {
			words = append(words, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

func countsText(counts map[string]int) string {
	types := make([]string, 0, len(counts))
	for t := range counts {
		types = append(types, t)
	}
	sort.Slice(types, func(i, j int) bool {
		if counts[types[i]] != counts[types[j]] {
			return counts[types[i]] > counts[types[j]]
		}
		return types[i] < types[j]
	})
	words := make([]string, len(types))
	for i, t := range types {
		words[i] = fmt.Sprintf("%d %s", counts[t], t)
	}
	return clean(strings.Join(words, ", "))
}
