// Package lint finds the known weaknesses of admission policies for container
// images: those through which Kyverno 1.19 has been seen to admit what it was
// meant to refuse, and those that turn an outage into a hole or a hole into
// silence. Every weakness has a code and a fix; docs/policy-lint.md lists them
// with the experiment that shows each.
//
// It reads Kyverno's policies and exceptions of both generations, native
// ValidatingAdmissionPolicies with their bindings, webhook configurations, and
// the settings of Kyverno in its Deployment, as its chart renders it. Objects are
// judged one by one and as a set: a policy for debug containers may be an
// object of its own.
//
// Its limits: it reads expressions as text and does not evaluate them, so what
// an author hides in CEL it may miss, and no finding is no proof. Whether the
// policies hold is shown by an API server alone.
package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/manifest"
)

// Severity is how much a weakness gives away.
type Severity string

// The severities: High lets in what must not run, Medium does in some
// circumstances or keeps it from being seen, Low will one day.
const (
	High   Severity = "high"
	Medium Severity = "medium"
	Low    Severity = "low"
)

// Severities are all of them, the gravest first.
func Severities() []Severity { return []Severity{High, Medium, Low} }

// AtLeast says that s is as grave as t or graver.
func (s Severity) AtLeast(t Severity) bool {
	return slices.Index(Severities(), s) <= slices.Index(Severities(), t)
}

// Rule is one known weakness.
type Rule struct {
	// Code names it for machines; a code is never given another meaning.
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	// Why is one sentence on what the weakness lets happen.
	Why string `json:"why"`
	// Fix is what to write instead.
	Fix string `json:"fix"`
	// Shown says by which experiment or reading the weakness is known.
	Shown string `json:"shown"`

	check func(*estate, report)
}

// Finding is one weakness at one place.
type Finding struct {
	Rule
	// Object is Kind/name or Kind/namespace/name.
	Object string `json:"object"`
	File   string `json:"file"`
	// Line is where the weakness stands, or where the object begins.
	Line int `json:"line"`
	// Path is the field, such as spec.failurePolicy.
	Path string `json:"path,omitempty"`
	// Detail is what stands there.
	Detail string `json:"detail,omitempty"`
}

// Report is what was found.
type Report struct {
	// Policies counts the objects that were judged, and Passed those that are
	// of no kind known here.
	Policies int       `json:"policies"`
	Passed   int       `json:"passed"`
	Findings []Finding `json:"findings"`
}

// Worst says whether any finding is as grave as s or graver.
func (r Report) Worst(s Severity) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity.AtLeast(s) })
}

// Codes lists the codes found, each once, in order.
func (r Report) Codes() []string {
	var codes []string
	for _, f := range r.Findings {
		codes = append(codes, f.Code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// report takes a finding: where, in which field, and what stands there.
type report func(o *object, path, format string, args ...any)

// Run judges the objects, by themselves and together. The findings do not
// depend on the order of the objects. An object that says it is a policy and
// can't be read as one is an error, which names the file and the line.
func Run(objects []manifest.Object) (Report, error) {
	e, passed, err := read(objects)
	if err != nil {
		return Report{}, err
	}
	if err := e.signers().compiled(); err != nil {
		return Report{}, err
	}
	out := Report{Policies: len(objects) - passed, Passed: passed, Findings: []Finding{}}
	for _, rule := range Rules() {
		rule.check(e, func(o *object, path, format string, args ...any) {
			out.Findings = append(out.Findings, Finding{
				Rule: rule, Object: o.name(), File: o.File, Line: o.line(path),
				Path: path, Detail: fmt.Sprintf(format, args...),
			})
		})
	}
	slices.SortFunc(out.Findings, compare)
	out.Findings = slices.CompactFunc(out.Findings, func(a, b Finding) bool { return compare(a, b) == 0 })
	return out, nil
}

func compare(a, b Finding) int {
	return cmp.Or(
		strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Object, b.Object),
		cmp.Compare(slices.Index(Severities(), a.Severity), slices.Index(Severities(), b.Severity)),
		strings.Compare(a.Code, b.Code), strings.Compare(a.Path, b.Path), strings.Compare(a.Detail, b.Detail))
}
