package difference

import (
	"fmt"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// Markdown is d as GitHub shows it, in a comment or on the page of a run. All
// that comes from the images is escaped.
func (d Difference) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### What changes\n\n%s\n\n", d.Sentence())
	fmt.Fprintf(&b, "From %s to %s.\n\n", finding.Code(d.Base), finding.Code(d.Head))
	section(&b, "Findings introduced", []string{"Severity", "ID", "Package", "Fixed in"}, findingRows(d.Introduced), true)
	section(&b, "Findings learnt since the base was scanned", []string{"Severity", "ID", "Package", "Fixed in"}, findingRows(d.Learnt), true)
	section(&b, "Findings resolved", []string{"Severity", "ID", "Package", "Fixed in"}, findingRows(d.Resolved), false)
	var rows [][]string
	for _, c := range d.Changed {
		rows = append(rows, []string{finding.MarkdownText(c.Type), finding.Code(c.Name), finding.Code(c.From), finding.Code(c.To)})
	}
	section(&b, "Packages changed", []string{"Type", "Package", "From", "To"}, rows, false)
	section(&b, "Packages added", []string{"Type", "Package", "Version", "Licences"}, packageRows(d.Added), false)
	section(&b, "Packages removed", []string{"Type", "Package", "Version", "Licences"}, packageRows(d.Removed), false)
	rows = nil
	for _, r := range d.Relicensed {
		rows = append(rows, []string{finding.MarkdownText(r.Type), finding.Code(r.Name + " " + r.Version), finding.MarkdownText(strings.Join(r.From, ", ")), finding.MarkdownText(strings.Join(r.To, ", "))})
	}
	section(&b, "Licences changed", []string{"Type", "Package", "From", "To"}, rows, false)
	return b.String()
}

// Sentence is d in one line.
func (d Difference) Sentence() string {
	if d.Empty() {
		return fmt.Sprintf("Nothing changes: the same packages, licences and findings (%d).", d.Remaining)
	}
	s := fmt.Sprintf("Packages: %d added, %d removed, %d changed. Findings: %d introduced, %d resolved, %d remain.",
		len(d.Added), len(d.Removed), len(d.Changed), len(d.Introduced), len(d.Resolved), d.Remaining)
	if len(d.Learnt) > 0 {
		s += fmt.Sprintf(" Newer advisories know of %d on packages that do not change.", len(d.Learnt))
	}
	return s
}

// section writes a table below a heading, folded unless it must be seen.
func section(b *strings.Builder, heading string, head []string, rows [][]string, open bool) {
	if len(rows) == 0 {
		return
	}
	if open {
		fmt.Fprintf(b, "#### %s\n\n%s\n", heading, finding.Table(head, rows))
		return
	}
	fmt.Fprintf(b, "<details><summary>%s: %d</summary>\n\n%s\n</details>\n\n", heading, len(rows), finding.Table(head, rows))
}

func findingRows(all []finding.Finding) (rows [][]string) {
	for _, f := range all {
		fixed := strings.Join(f.FixedIn, ", ")
		if fixed == "" {
			fixed = "no fix"
		}
		severity := f.Severity.String()
		if f.KEV {
			severity += ", exploited"
		}
		rows = append(rows, []string{severity, finding.Code(f.ID), finding.Code(f.Package.Name + " " + f.Package.Version), finding.MarkdownText(fixed)})
	}
	return rows
}

func packageRows(all []Package) (rows [][]string) {
	for _, p := range all {
		rows = append(rows, []string{finding.MarkdownText(p.Type), finding.Code(p.Name), finding.Code(p.Version), finding.MarkdownText(strings.Join(p.Licences, ", "))})
	}
	return rows
}
