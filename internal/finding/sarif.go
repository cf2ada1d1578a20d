package finding

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
)

// SARIF writes r as a SARIF 2.1.0 log (OASIS, sections 3.13 to 3.49) that
// GitHub code scanning takes: one rule for each vulnerability, with its
// severity as "security-severity", and one result for each package it is in.
// A vulnerability of unknown severity has no such property: GitHub then shows
// the level, a warning, instead of reading a zero as harmless.
func SARIF(r Report) ([]byte, error) {
	run := sarif.NewRunWithInformationURI("hallmark", "https://hallmark.sh")
	run.Tool.Driver.WithFullName("hallmark, matching by " + r.Scanner + " " + r.ScannerVersion)
	run.WithColumnKind("utf16CodeUnits")
	run.WithAutomationDetails(sarif.NewRunAutomationDetails().WithID("hallmark/" + r.Image + "/"))
	run.WithProperties(sarif.NewPropertyBag().
		Add("subject", r.Subject.String()).
		Add("image", r.Image).
		Add("database", r.Database))
	r = r.sorted()
	indexes := map[string]int{}
	for _, f := range r.Findings {
		index, seen := indexes[f.ID]
		if !seen {
			// The findings are sorted: the first of an identifier is its worst.
			index = len(indexes)
			indexes[f.ID] = index
			run.Tool.Driver.AddRule(rule(f))
		}
		run.AddResult(result(r, f).WithRuleID(f.ID).WithRuleIndex(index))
	}
	log := sarif.NewReport()
	log.AddRun(run)
	var b bytes.Buffer
	if err := log.PrettyWrite(&b); err != nil {
		return nil, fmt.Errorf("writing SARIF: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func rule(f Finding) *sarif.ReportingDescriptor {
	tags := []string{"security", "vulnerability", f.Severity.String()}
	if f.KEV {
		tags = append(tags, "known-exploited")
	}
	properties := sarif.NewPropertyBag().WithTags(tags)
	if score := securitySeverity(f.Severity); score != "" {
		properties.Add("security-severity", score)
	}
	other := ""
	if len(f.Aliases) > 0 {
		other = " (" + strings.Join(f.Aliases, ", ") + ")"
	}
	help := fmt.Sprintf("%s%s is rated %s. Upgrade the package to a version with the fix, or, if it cannot be reached, "+
		"say so in an OpenVEX document or in an exception with an expiry in hallmark.yaml.", f.ID, other, f.Severity)
	if f.KEV {
		help += " It is in CISA's catalogue of known exploited vulnerabilities."
	}
	d := sarif.NewRule(f.ID).
		WithName(f.ID).
		WithShortDescription(sarif.NewMultiformatMessageString().WithText(fmt.Sprintf("%s in %s", f.ID, f.Package.Name))).
		WithFullDescription(sarif.NewMultiformatMessageString().WithText(help)).
		WithHelp(sarif.NewMultiformatMessageString().WithText(help)).
		WithDefaultConfiguration(sarif.NewReportingConfiguration().WithLevel(level(f.Severity))).
		WithProperties(properties)
	if u, err := url.Parse(f.URL); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		d.WithHelpURI(u.String())
	}
	return d
}

func result(r Report, f Finding) *sarif.Result {
	p := f.Package
	fixed := "no fix is known"
	if len(f.FixedIn) > 0 {
		fixed = "fixed in " + strings.Join(f.FixedIn, ", ")
	}
	message := fmt.Sprintf("%s %s has %s (%s); %s.", p.Name, p.Version, f.ID, f.Severity, fixed)
	out := sarif.NewResult().
		WithLevel(level(f.Severity)).
		WithMessage(sarif.NewTextMessage(plainMessage.Replace(message))).
		WithPartialFingerprints(map[string]string{"hallmarkFinding/v1": fingerprint(r, f)})
	places := p.Locations
	if len(places) == 0 {
		places = []string{"/"}
	}
	for _, path := range places {
		logical := sarif.NewLogicalLocation().
			WithKind("package").
			WithName(p.Name).
			WithFullyQualifiedName(r.Image + "@" + r.Subject.String() + ":" + path)
		physical := sarif.NewPhysicalLocation().
			WithArtifactLocation(sarif.NewSimpleArtifactLocation(relative(r.Image, path))).
			WithRegion(sarif.NewRegion().WithStartLine(1))
		out.AddLocation(sarif.NewLocationWithPhysicalLocation(physical).WithLogicalLocations([]*sarif.LogicalLocation{logical}))
	}
	return out
}

// plainMessage keeps a text from being read as links and placeholders (SARIF
// 2.1.0, sections 3.11.5 and 3.11.6).
var plainMessage = strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, "{", "{{", "}", "}}")

// relative is the URI of a path in the image, below the image's name: code
// scanning wants paths relative to the repository, and this keeps those of
// several images apart.
func relative(image, path string) string {
	return (&url.URL{Path: strings.TrimPrefix(image+"/"+strings.TrimPrefix(path, "/"), "/")}).String()
}

// fingerprint names the finding across releases: the same vulnerability in the
// same package of the same image, whatever the version.
func fingerprint(r Report, f Finding) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{r.Image, f.ID, f.Package.Type, f.Package.Name, strings.Join(f.Package.Locations, "\x00")}, "\x00")))
	return hex.EncodeToString(sum[:])
}

// securitySeverity is a number in the band that GitHub gives the severity:
// above 9 is critical, from 7 high, from 4 medium, from 0.1 low.
func securitySeverity(s Severity) string {
	switch s {
	case Critical:
		return "9.5"
	case High:
		return "8.0"
	case Medium:
		return "5.5"
	case Low:
		return "2.0"
	case Negligible:
		return "0.1"
	default:
		return ""
	}
}

func level(s Severity) string {
	switch s {
	case Critical, High:
		return sarif.LevelError
	case Low, Negligible:
		return sarif.LevelNote
	default:
		return sarif.LevelWarning
	}
}
