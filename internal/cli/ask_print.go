package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/index"
)

// shownVersions bounds the versions that a table lists above the images.
const shownVersions = 20

func (a *app) printWhoHas(w index.WhoHas) {
	s := a.screen
	s.printf("%s in %s of %s\n", s.out(bold, several(w.Total, "image")), several(w.VersionsTotal, "version"), "what is asked for")
	a.printVersions(w.Versions, w.VersionsTotal)
	rows := [][]string{{"IMAGE", "TAGS", "PACKAGE", "TAKEN IN", ""}}
	for _, i := range w.Images {
		rows = append(rows, []string{place(i.ImageRef), tags(i.ImageRef), packages(i.Packages), i.Recorded.Format(time.DateOnly), doubtful(i.ImageRef)})
	}
	a.printPage(rows, len(w.Images), w.Total, w.Next)
	a.printDoubts(w.Doubts)
}

func (a *app) printAffected(r index.Affected) {
	s := a.screen
	a.printVulnerability(r.Vulnerability)
	word := s.out(green, "no image")
	if r.Total > 0 {
		word = s.out(red, several(r.Total, "image"))
	}
	s.printf("hits %s, by %s of a package", word, several(r.VersionsTotal, "version"))
	if r.Cleared > 0 {
		s.printf("; VEX clears %d", r.Cleared)
	}
	s.printf("\n")
	rows := [][]string{{"IMAGE", "TAGS", "PACKAGE", "FIXED IN", "SEVERITY", "VEX", ""}}
	for _, i := range r.Images {
		for n, h := range i.Hits {
			image, names := place(i.ImageRef), tags(i.ImageRef)
			if n > 0 {
				image, names = "", ""
			}
			rows = append(rows, []string{image, names, h.Package.String(), fixedIn(h), severityWord(h), vexWord(h), doubtful(i.ImageRef)})
		}
	}
	a.printPage(rows, len(r.Images), r.Total, r.Next)
	if f := r.Filter; f != nil && f.Excluded > 0 {
		s.printf("%s left out by the question's filters", several(f.Excluded, "more package"))
		if f.UnknownSeverity {
			s.printf("; some have no severity from any source")
		}
		s.printf("\n")
	}
	a.printDoubts(r.Doubts)
}

func (a *app) printVulnerability(v index.Vulnerability) {
	s := a.screen
	s.printf("%s  %s", s.out(bold, clean(v.ID)), v.Severity)
	if v.SeveritySource != "" {
		s.printf(" by %s", clean(v.SeveritySource))
	}
	if v.KEV {
		s.printf("  %s", s.out(red, "known to be exploited"))
	}
	s.printf("\n")
	if len(v.Aliases) > 0 {
		s.printf("  also %s\n", clean(strings.Join(v.Aliases, ", ")))
	}
	if v.Summary != "" {
		s.printf("  %s\n", clean(v.Summary))
	}
}

func (a *app) printImage(r index.ImageReport) {
	s := a.screen
	s.printf("%s\n", s.out(bold, clean(place(r.ImageRef))))
	if !r.Verified {
		s.printf("  %s nobody vouches for what this says\n", s.out(yellow, "UNVERIFIED"))
	}
	for _, line := range [][2]string{
		{"digest", r.Digest.String()}, {"tags", strings.Join(r.Tags, ", ")}, {"source", r.Source}, {"commit", r.Commit}, {"evidence", r.Evidence.String()},
		{"taken in", r.Recorded.Format(time.RFC3339)}, {"packages", fmt.Sprint(len(r.Packages))},
	} {
		if line[1] != "" {
			s.printf("  %-9s %s\n", line[0], clean(line[1]))
		}
	}
	s.printf("  %-9s %s\n", "findings", severities(r.Counts))
	if len(r.Findings) > 0 {
		rows := [][]string{{"ID", "SEVERITY", "PACKAGE", "FIXED IN", "VEX"}}
		for _, h := range r.Findings {
			rows = append(rows, []string{h.ID, severityWord(h), h.Package.String(), fixedIn(h), vexWord(h)})
		}
		s.table(rows)
	}
	a.printDoubts(r.Doubts)
}

func (a *app) printLicences(l index.Licences) {
	rows := [][]string{{"LICENCE", "PACKAGES", "IMAGES"}}
	for _, c := range l.Licences {
		rows = append(rows, []string{c.Licence, fmt.Sprint(c.Packages), fmt.Sprint(c.Images)})
	}
	a.printPage(rows, len(l.Licences), l.Total, l.Next)
	if len(l.Packages) > 0 {
		a.printVersions(l.Packages, len(l.Packages))
	}
	a.screen.printf("%s of no declared licence\n", several(l.Undeclared, "package"))
	a.printDoubts(l.Doubts)
}

func (a *app) printTop(t index.Top) {
	if t.Kind == index.TopPackages {
		a.printVersions(t.Packages, t.Total)
		return
	}
	rows := [][]string{{"IMAGE", "TAGS", "BUILT", "FINDINGS", "EXPLOITED", ""}}
	for _, i := range t.Images {
		built := "unknown"
		if !i.Built.IsZero() {
			built = i.Built.Format(time.DateOnly)
		}
		rows = append(rows, []string{place(i.ImageRef), tags(i.ImageRef), built, severities(i.Counts), fmt.Sprint(i.KEV), doubtful(i.ImageRef)})
	}
	a.printPage(rows, len(t.Images), t.Total, "")
	a.printDoubts(t.Doubts)
}

func (a *app) printExplanation(e index.Explanation) {
	s := a.screen
	a.printVulnerability(e.Vulnerability)
	word := s.out(green, "NOT AFFECTED")
	switch {
	case !e.Known:
		word = s.out(yellow, "UNKNOWN")
	case e.Affected:
		word = s.out(red, "AFFECTED")
	}
	s.printf("%s  %s\n  %s\n", word, clean(e.Package.String()), clean(e.Reason))
	if !e.Held {
		s.printf("  no image holds it\n")
	}
	for _, st := range e.Steps {
		s.printf("\n  %s of %s, in the memory since %s\n", clean(st.Advisory), clean(st.Provider), st.From.Format(time.RFC3339))
		if st.Import != "" {
			s.printf("    database  %s\n", clean(st.Import))
		}
		s.printf("    row       %s %s\n", clean(st.Matched), clean(st.Distro))
		constraint := st.Constraint
		if constraint == "" {
			constraint = "every version"
		}
		s.printf("    compared  %s with %s, as %s: %s\n", clean(st.Version), clean(constraint), clean(st.Format), clean(st.Result))
		if st.Detail != "" {
			s.printf("              %s\n", clean(st.Detail))
		}
		if st.FixedIn != "" {
			s.printf("    fixed in  %s\n", clean(st.FixedIn))
		}
	}
	a.printDoubts(e.Doubts)
}

func (a *app) printVersions(list []index.VersionCount, total int) {
	rows := [][]string{{"PACKAGE", "TYPE", "DISTRO", "IMAGES"}}
	for _, v := range list[:min(len(list), shownVersions)] {
		rows = append(rows, []string{strings.TrimSpace(v.Package.FullName() + " " + v.Package.Version), v.Package.Type, v.Package.Distro, fmt.Sprint(v.Images)})
	}
	a.screen.table(rows)
	if more := total - min(len(list), shownVersions); more > 0 {
		a.screen.printf("  and %d more\n", more)
	}
	a.screen.printf("\n")
}

func (a *app) printPage(rows [][]string, shown, total int, next string) {
	if shown > 0 {
		a.screen.table(rows)
	}
	if shown < total {
		a.screen.printf("%d of %d", shown, total)
		if next != "" {
			a.screen.printf("; more with --cursor %s", clean(next))
		}
		a.screen.printf("\n")
	}
}

// printDoubts says what the answer can't know. It is part of the answer.
func (a *app) printDoubts(d index.Doubts) {
	var lines []string
	say := func(count int, format string, args ...any) {
		if count > 0 {
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	if d.NoAdvisories {
		say(1, "no advisories were imported: findings say nothing")
	}
	for _, u := range d.Uncovered {
		say(1, "no advisories for %s: %s in %s", u.Ecosystem, several(u.Packages, "package"), several(u.Images, "image"))
	}
	say(d.NoDistro, "%s of an unknown distribution, in %s", several(d.NoDistro, "operating system package"), several(d.NoDistroImages, "image"))
	say(d.NoPURL, "%s without a package URL, in %s: found by name only", several(d.NoPURL, "package"), several(d.NoPURLImages, "image"))
	for _, u := range d.Uncomparable {
		say(1, "%s: %s cannot be compared (%s), in %s", u.ID, u.Package.String(), u.Reason, several(u.Images, "image"))
	}
	say(d.UncomparableTotal-len(d.Uncomparable), "%d more versions cannot be compared", d.UncomparableTotal-len(d.Uncomparable))
	say(d.Refused, "%s refused: nothing is known of what they hold", several(d.Refused, "image"))
	say(d.Unverified, "%s of the answer rest on UNVERIFIED documents", several(d.Unverified, "image"))
	if len(lines) == 0 {
		return
	}
	a.screen.printf("%s\n", a.screen.out(yellow, "what this cannot know:"))
	const most = 12
	for _, line := range lines[:min(len(lines), most)] {
		a.screen.printf("  %s\n", clean(line))
	}
	if len(lines) > most {
		a.screen.printf("  and %d more, with --json\n", len(lines)-most)
	}
}

func place(i index.ImageRef) string {
	return i.Repository + "@" + string(i.Digest[:min(len("sha256:")+12, len(i.Digest))]) + "…"
}

func tags(i index.ImageRef) string {
	var short []string
	for _, t := range i.Tags[:min(len(i.Tags), 3)] {
		if len(t) > 20 {
			t = t[:12] + "…"
		}
		short = append(short, t)
	}
	return strings.Join(short, ", ")
}

func doubtful(i index.ImageRef) string {
	if i.Verified {
		return ""
	}
	return "UNVERIFIED"
}

func packages(list []component.Package) string {
	var words []string
	for _, p := range list[:min(len(list), 3)] {
		words = append(words, strings.TrimSpace(p.FullName()+" "+p.Version))
	}
	if len(list) > 3 {
		words = append(words, fmt.Sprintf("and %d more", len(list)-3))
	}
	return strings.Join(words, ", ")
}

func fixedIn(h index.Hit) string { return cmp.Or(strings.Join(h.FixedIn, ", "), h.FixState) }

func severityWord(h index.Hit) string {
	if h.KEV {
		return h.Severity.String() + ", exploited"
	}
	return h.Severity.String()
}

func vexWord(h index.Hit) string {
	if h.Exploitability == nil {
		return ""
	}
	return h.Exploitability.Status
}

func severities(counts map[finding.Severity]int) string {
	var words []string
	for _, s := range slices.Backward([]finding.Severity{finding.Unknown, finding.Negligible, finding.Low, finding.Medium, finding.High, finding.Critical}) {
		if counts[s] > 0 {
			words = append(words, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	return cmp.Or(strings.Join(words, ", "), "none")
}

func several(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func (a *app) printMemoryDiff(d index.Diff) {
	s := a.screen
	s.printf("%s\n  from %s %s\n  to   %s %s\n", s.out(bold, "what changes"), clean(place(d.From)), clean(tags(d.From)), clean(place(d.To)), clean(tags(d.To)))
	var rows [][]string
	for _, p := range d.Added {
		rows = append(rows, []string{"added", p.Type, p.FullName(), "", p.Version})
	}
	for _, p := range d.Removed {
		rows = append(rows, []string{"removed", p.Type, p.FullName(), p.Version, ""})
	}
	for _, c := range d.Changed {
		rows = append(rows, []string{"changed", c.Type, c.Name, strings.Join(c.From, ", "), strings.Join(c.To, ", ")})
	}
	if len(rows) > 0 {
		s.table(append([][]string{{"", "TYPE", "PACKAGE", "FROM", "TO"}}, rows...))
	} else {
		s.printf("  the packages are the same\n")
	}
	rows = nil
	for _, h := range d.FindingsAdded {
		rows = append(rows, []string{"added", h.ID, severityWord(h), h.Package.String(), fixedIn(h)})
	}
	for _, h := range d.FindingsRemoved {
		rows = append(rows, []string{"removed", h.ID, severityWord(h), h.Package.String(), fixedIn(h)})
	}
	if len(rows) > 0 {
		s.table(append([][]string{{"", "FINDING", "SEVERITY", "PACKAGE", "FIXED IN"}}, rows...))
	}
	s.printf("%s added, %d removed, %d kept\n", several(len(d.FindingsAdded), "finding"), len(d.FindingsRemoved), d.FindingsKept)
	a.printDoubts(d.Doubts)
}
