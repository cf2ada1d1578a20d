package lint

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
)

// SARIF writes r as a SARIF 2.1.0 log (OASIS, sections 3.13 to 3.49) that
// GitHub code scanning takes: one rule for each code found, one result for each
// place.
func SARIF(r Report) ([]byte, error) {
	run := sarif.NewRunWithInformationURI("hallmark policy lint", "https://hallmark.sh")
	run.WithColumnKind("utf16CodeUnits")
	indexes := map[string]int{}
	for _, f := range r.Findings {
		index, seen := indexes[f.Code]
		if !seen {
			index = len(indexes)
			indexes[f.Code] = index
			run.Tool.Driver.AddRule(sarifRule(f.Rule))
		}
		message := fmt.Sprintf("%s: %s. %s Fix: %s.", f.Object, f.Detail, f.Why, f.Fix)
		place := sarif.NewPhysicalLocation().
			WithArtifactLocation(sarif.NewSimpleArtifactLocation(f.File)).
			WithRegion(sarif.NewRegion().WithStartLine(max(f.Line, 1)))
		run.AddResult(sarif.NewResult().
			WithRuleID(f.Code).WithRuleIndex(index).WithLevel(f.Severity.level()).
			WithMessage(sarif.NewTextMessage(plainMessage.Replace(message))).
			WithLocations([]*sarif.Location{sarif.NewLocationWithPhysicalLocation(place)}).
			WithPartialFingerprints(map[string]string{"hallmarkLint/v1": strings.Join([]string{f.Code, f.Object, f.Path}, " ")}))
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

func sarifRule(r Rule) *sarif.ReportingDescriptor {
	text := sarif.NewMultiformatMessageString().WithText(r.Why + " Fix: " + r.Fix + ".")
	return sarif.NewRule(r.Code).
		WithName(r.Code).
		WithShortDescription(sarif.NewMultiformatMessageString().WithText(r.Why)).
		WithFullDescription(text).WithHelp(text).
		WithDefaultConfiguration(sarif.NewReportingConfiguration().WithLevel(r.Severity.level()))
}

func (s Severity) level() string {
	switch s {
	case High:
		return sarif.LevelError
	case Medium:
		return sarif.LevelWarning
	}
	return sarif.LevelNote
}

// plainMessage keeps a text from being read as links and placeholders (SARIF
// 2.1.0, sections 3.11.5 and 3.11.6).
var plainMessage = strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, "{", "{{", "}", "}}")
