package gate

import (
	"fmt"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// Markdown is the decision as a GitHub step summary: what refuses, what warns
// and what was excused, by whom. Text from outside is shown as it is, whatever
// it holds.
func (d Decision) Markdown() string {
	var b strings.Builder
	word := "passes"
	if d.Refused {
		word = "refuses"
	}
	fmt.Fprintf(&b, "### The gate %s %s\n\n", word, finding.Code(d.Image))
	for _, part := range []struct {
		title   string
		reasons []Refusal
	}{{"Refused because", d.Refusals}, {"Warnings", d.Warnings}} {
		if len(part.reasons) > 0 {
			b.WriteString("**" + part.title + "**\n\n" + reasons(part.reasons) + "\n")
		}
	}
	var rows [][]string
	for _, e := range d.Excepted {
		rows = append(rows, append(e.Finding.Row(), finding.MarkdownText(e.words())))
	}
	if len(rows) > 0 {
		b.WriteString("**Excused**\n\n" + finding.Table(append(finding.RowHead(), "by"), rows) + "\n")
	}
	return b.String()
}

// reasons lists those without a finding as sentences, then the others as a
// table.
func reasons(all []Refusal) string {
	var list strings.Builder
	var rows [][]string
	for _, r := range all {
		switch {
		case r.Finding != nil:
			rows = append(rows, append(r.Finding.Row(), finding.MarkdownText(r.Reason)))
		case r.Next != "":
			fmt.Fprintf(&list, "- %s; %s\n", finding.MarkdownText(r.Reason), finding.MarkdownText(r.Next))
		default:
			fmt.Fprintf(&list, "- %s\n", finding.MarkdownText(r.Reason))
		}
	}
	if list.Len() > 0 && len(rows) > 0 {
		list.WriteString("\n")
	}
	return list.String() + finding.Table(append(finding.RowHead(), "why"), rows)
}
