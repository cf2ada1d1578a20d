package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/sbom"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// accepted lists the witnesses that count, of one kind.
func (p *opinion) accepted(predicateType string) []witness {
	var out []witness
	for _, w := range p.witnesses {
		if w.accepted() && w.predicateType == predicateType {
			out = append(out, w)
		}
	}
	return out
}

// missing fails a link that no witness speaks for: with the reason why those
// of its kind do not count, or with the code for there being none.
func (p *opinion) missing(name, code, reason string, kinds ...string) verdict.Check {
	if no := p.worst(kinds...); no != nil {
		return fail(name, no.code, no.reason, p.ignored(kinds...)...)
	}
	return fail(name, code, reason)
}

// ranks orders refusals by how much they tell. What no code here names is
// about cryptography, and tells most: somebody changed something.
var ranks = []string{codeUnreadable, codeNotKeyless, codeIssuer, codeIdentity, codeOtherSubject}

// worst gives the refusal that tells most among those of the given kinds, or
// of all; nil when there is none.
func (p *opinion) worst(kinds ...string) *refusal {
	var found *refusal
	rank := func(no *refusal) int {
		if i := slices.Index(ranks, no.code); i >= 0 {
			return i
		}
		return len(ranks)
	}
	for _, w := range p.witnesses {
		if w.refusal != nil && isOf(w, kinds) && (found == nil || rank(w.refusal) > rank(found)) {
			found = w.refusal
		}
	}
	return found
}

// ignored names what was found of the given kinds, or of all, and does not
// count.
func (p *opinion) ignored(kinds ...string) []verdict.Detail {
	reasons := map[string]int{}
	for _, w := range p.witnesses {
		if w.refusal != nil && isOf(w, kinds) {
			reasons[kindName(w.predicateType)+": "+w.refusal.reason]++
		}
	}
	return counted("ignored", "%s, %s", reasons)
}

func isOf(w witness, kinds []string) bool {
	return len(kinds) == 0 || slices.Contains(kinds, w.predicateType)
}

func kindName(predicateType string) string {
	switch predicateType {
	case evidence.Signature:
		return "signature"
	case evidence.CycloneDX:
		return "SBOM"
	case evidence.Scan:
		return "scan report"
	case evidence.Provenance, evidence.ProvenanceV02:
		return "provenance"
	}
	return "of no known kind"
}

func (p *opinion) checkSignature() []verdict.Check {
	const name = policy.Signature
	found := p.accepted(evidence.Signature)
	if len(found) == 0 {
		return []verdict.Check{p.missing(name, codeNoSignature, "nobody signed it; other attestations do not count as a signature", evidence.Signature)}
	}
	w := found[0]
	said := fmt.Sprintf("signed by %s at %s", shown(w.certificate.SubjectAlternativeName), moment(w.signedAt))
	if w.legacy {
		said += ", in the format of cosign 2"
	}
	return []verdict.Check{pass(name, said, append(p.terms(w), p.ignored(evidence.Signature)...)...)}
}

// terms says whose word a witness is, and by which trust root.
func (p *opinion) terms(w witness) []verdict.Detail {
	out := []verdict.Detail{
		detail("identity", "%s", w.certificate.SubjectAlternativeName),
		detail("issuer", "%s", w.certificate.Issuer),
		detail("authority", "%s", w.certificate.CertificateIssuer),
	}
	if p.Anchor.Source != "" {
		out = append(out, detail("trust root", "%s", p.Anchor.Source))
	}
	for _, lacks := range []struct {
		what  string
		count int
	}{
		{"transparency log", len(p.Anchor.Material.RekorLogs())},
		{"certificate log", len(p.Anchor.Material.CTLogs())},
	} {
		if lacks.count == 0 {
			out = append(out, detail("not demanded", "the trust root lists no %s", lacks.what))
		}
	}
	return out
}

// first judges the contents of the witnesses of one kind: the first good one
// speaks for the link. Bad ones beside it are named; with none good, the first
// bad one is the reason.
func (p *opinion) first(name, code, reason, kind string, read func(witness) (string, []verdict.Detail, *refusal)) verdict.Check {
	var bad []*refusal
	for _, w := range p.accepted(kind) {
		said, details, no := read(w)
		if no != nil {
			bad = append(bad, no)
			continue
		}
		return pass(name, said, append(append(details, badOnes(bad)...), p.ignored(kind)...)...)
	}
	if len(bad) > 0 {
		return fail(name, bad[0].code, bad[0].reason, append(badOnes(bad[1:]), p.ignored(kind)...)...)
	}
	return p.missing(name, code, reason, kind)
}

func badOnes(bad []*refusal) []verdict.Detail {
	var out []verdict.Detail
	for _, no := range bad {
		out = append(out, detail("ignored", "one by the policy's identity: %s", no.reason))
	}
	return out
}

func (p *opinion) checkSBOM() []verdict.Check {
	return []verdict.Check{p.first(policy.SBOMLink, codeNoSBOM, "no SBOM is attested", evidence.CycloneDX, p.readSBOM)}
}

func (p *opinion) readSBOM(w witness) (string, []verdict.Detail, *refusal) {
	summary, err := sbom.Decode(bytes.NewReader(w.statement.Predicate))
	if err != nil {
		return "", nil, refuse(codeSBOMUnreadable, "%v", err)
	}
	about := summary.Subject.Digests
	switch {
	case summary.Total() == 0:
		return "", nil, refuse(codeSBOMEmpty, "the SBOM lists no component")
	case slices.ContainsFunc(about, func(claimed string) bool { return claimed != p.subject.String() }):
		return "", nil, refuse(codeSBOMOther, "the SBOM describes %s, not %s", strings.Join(about, ", "), p.subject)
	}
	said := fmt.Sprintf("CycloneDX %s, %s", summary.SpecVersion, plural(summary.Total(), "package"))
	if summary.Distro != "" {
		said += ", " + shown(summary.Distro)
	}
	var counts []string
	for _, kind := range slices.Sorted(maps.Keys(summary.Packages)) {
		counts = append(counts, fmt.Sprintf("%d %s", summary.Packages[kind], kind))
	}
	return said, []verdict.Detail{detail("packages", "%s", strings.Join(counts, ", "))}, nil
}

func (p *opinion) checkScan() []verdict.Check {
	return []verdict.Check{p.first(policy.Scan, codeNoScan, "no scan report is attested", evidence.Scan, p.readScan)}
}

func (p *opinion) readScan(w witness) (string, []verdict.Detail, *refusal) {
	var report finding.Report
	if err := json.Unmarshal(w.statement.Predicate, &report); err != nil {
		return "", nil, refuse(codeScanUnreadable, "the scan report cannot be read: %v", err)
	}
	switch {
	case report.Scanner == "":
		return "", nil, refuse(codeScanUnreadable, "the scan report names no scanner")
	case report.Subject != p.subject:
		return "", nil, refuse(codeScanOther, "the scan report is about %s, not %s", report.Subject, p.subject)
	case report.Database.Schema == "" || report.Database.Built.IsZero():
		return "", nil, refuse(codeScanNoDatabase, "the scan report names no advisory database with a date")
	}
	said := fmt.Sprintf("%s, by the advisories of %s", plural(len(report.Findings), "finding"), moment(report.Database.Built))
	return said, scanDetails(report), nil
}

func scanDetails(report finding.Report) []verdict.Detail {
	out := []verdict.Detail{detail("scanner", "%s %s, database %s", report.Scanner, report.ScannerVersion, report.Database.Schema)}
	counts := report.Counts()
	for s := finding.Critical; s >= finding.Unknown; s-- {
		if counts[s] > 0 {
			out = append(out, detail(s.String(), "%d", counts[s]))
		}
	}
	for _, c := range report.Coverage {
		if !c.Covered {
			out = append(out, detail("not covered", "%s: the database knows nothing of %s", c.Ecosystem, plural(c.Packages, "package")))
		}
	}
	return out
}
