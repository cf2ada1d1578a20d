package finding

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxRows bounds the table of a summary: GitHub drops a step's summary
	// above 1 MiB as a whole.
	maxRows = 200
	// maxCell bounds one text of a summary, in characters.
	maxCell = 200
)

// MarkdownText writes text so that GitHub's Markdown shows it as it is,
// whatever it holds, after the beginning of a line: every character that could
// be markup, a link or the end of a table cell becomes a character reference,
// and characters that cannot be seen, or that turn the direction of text,
// become U+FFFD. Text above 200 characters is cut.
func MarkdownText(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > maxCell {
			b.WriteString("…")
			break
		}
		switch {
		case r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune(" .,;?'\"/+-=()", r):
			b.WriteRune(r)
		case !unicode.IsPrint(r):
			b.WriteRune(utf8.RuneError)
		default:
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return strings.ReplaceAll(b.String(), "www.", "www&#46;")
}

// Code writes text as MarkdownText does, as code: there GitHub makes no mention
// of a name with an @ before it.
func Code(text string) string { return "<code>" + MarkdownText(text) + "</code>" }

// Table is a Markdown table with the given head and rows of cells. The cells
// are Markdown already. At most 200 rows are written, and how many are not.
func Table(head []string, rows [][]string) string {
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for i, row := range rows {
		if i == maxRows {
			fmt.Fprintf(&b, "\n%d more are in the JSON report.\n", len(rows)-maxRows)
			break
		}
		line(row)
	}
	return b.String()
}

// Row gives the cells of a finding, in the order of RowHead.
func (f Finding) Row() []string {
	fixed := "none known"
	if len(f.FixedIn) > 0 {
		fixed = Code(strings.Join(f.FixedIn, ", "))
	}
	severity := f.Severity.String()
	if f.KEV {
		severity += ", exploited"
	}
	return []string{Code(f.Package.Name), Code(f.Package.Version), fixed, severity, Code(f.ID)}
}

// RowHead names the cells of Row.
func RowHead() []string { return []string{"package", "installed", "fixed in", "severity", "id"} }

// Markdown is the report as a GitHub step summary.
func (r Report) Markdown() string {
	r = r.sorted()
	var b strings.Builder
	fmt.Fprintf(&b, "### Findings in %s\n\n", Code(r.Image))
	var counts []string
	for s, n := Critical, r.Counts(); s >= Unknown; s-- {
		if n[s] > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n[s], s))
		}
	}
	if len(counts) == 0 {
		counts = []string{"none"}
	}
	fmt.Fprintf(&b, "%s; advisories of %s.\n\n", strings.Join(counts, ", "), r.Database.Built.UTC().Format("2006-01-02 15:04 MST"))
	for _, c := range r.Coverage {
		if !c.Covered {
			fmt.Fprintf(&b, "- %s, %d in all: the database has no advisories for such packages.\n", Code(c.Ecosystem), c.Packages)
		}
	}
	if n := len(r.Uncomparable); n > 0 {
		fmt.Fprintf(&b, "- packages whose version could not be compared: %d.\n", n)
	}
	rows := make([][]string, 0, len(r.Findings))
	for _, f := range r.Findings {
		rows = append(rows, f.Row())
	}
	b.WriteString("\n" + Table(RowHead(), rows))
	return b.String()
}
