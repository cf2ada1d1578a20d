package advisory

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
)

// Debian's security team keeps its advisories in two text files, data/DSA/list
// and data/DLA/list of the security tracker: a heading, the CVEs in braces, and
// a line for each release with the version that fixes a package.
var (
	noticeLine = regexp.MustCompile(`^\[(\d{2} [A-Z][a-z]{2} \d{4})\] (D[SL]A-\d+(?:-\d+)?) (.*)$`)
	cveLine    = regexp.MustCompile(`^\s+\{(.*)\}$`)
	fixLine    = regexp.MustCompile(`^\s+\[([a-z]+)\]\s+-\s+(\S+)\s+(<[^>]+>|\S+)`)
)

// notice is the advisory whose lines are being read.
type notice struct {
	id, title string
	date      time.Time
	cves      []string
}

// debianClaims reads a list of Debian advisories. Lines that are neither a
// heading, CVEs, a fix nor a note are problems.
func debianClaims(r io.Reader, source string) (claims []claim, problems []Problem, err error) {
	var n notice
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimRight(lines.Text(), " \t")
		switch m := noticeLine.FindStringSubmatch(line); {
		case line == "" || strings.HasPrefix(strings.TrimSpace(line), "NOTE:"):
		case m != nil:
			date, err := time.Parse("02 Jan 2006", m[1])
			if err != nil {
				return nil, nil, fmt.Errorf("reading %s line %d: %w", source, number, err)
			}
			n = notice{id: m[2], title: m[3], date: date}
		default:
			found, why := n.read(line)
			if why != "" {
				problems = append(problems, Problem{Source: fmt.Sprintf("%s line %d", source, number), ID: n.id, Reason: why, Lost: true})
			}
			for _, c := range found {
				c.source = source
				claims = append(claims, c)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", source, err)
	}
	return claims, problems, nil
}

// read takes a line below a heading; why is set when it says nothing usable.
func (n *notice) read(line string) (claims []claim, why string) {
	if m := cveLine.FindStringSubmatch(line); m != nil {
		for _, name := range strings.Fields(m[1]) {
			if cvePattern.MatchString(name) {
				n.cves = append(n.cves, name)
			}
		}
		return nil, ""
	}
	m := fixLine.FindStringSubmatch(line)
	if m == nil || n.id == "" {
		return nil, fmt.Sprintf("line %q is not understood", strings.TrimSpace(line))
	}
	os := debianRelease(m[1])
	if os == nil {
		return nil, fmt.Sprintf("release %q is not known", m[1])
	}
	t, _ := locate("Debian:" + m[1])
	ranges, why := debianRanges(t, m[3])
	if ranges == nil {
		return nil, why
	}
	names := n.cves
	switch {
	case len(names) == 0 && strings.HasSuffix(n.title, "regression update"):
		return nil, "is a regression update that names no vulnerability"
	case len(names) == 0:
		names = []string{n.id}
	}
	page := v6.Reference{ID: n.id, URL: "https://security-tracker.debian.org/tracker/" + n.id, Tags: []string{v6.AdvisoryReferenceTag}}
	for _, name := range names {
		claims = append(claims, claim{
			target: t, name: name, pkg: m[2], ranges: ranges, advisory: page,
			record: vulnerability{provider: t.provider, id: name, published: n.date, modified: n.date, description: n.title,
				references: []v6.Reference{{URL: "https://security-tracker.debian.org/tracker/" + name}}},
		})
	}
	return claims, ""
}

// debianRanges reads the last word of a fix line; nil without a reason means
// that the release is not affected.
func debianRanges(t target, word string) (ranges []v6.Range, why string) {
	all := func(state v6.FixStatus) []v6.Range {
		return []v6.Range{{Version: v6.Version{Type: t.format}, Fix: &v6.Fix{State: state}}}
	}
	switch {
	case word == "<not-affected>":
		return nil, ""
	case word == "<unfixed>":
		return all(v6.NotFixedStatus), ""
	case word == "<end-of-life>":
		return all(v6.WontFixStatus), ""
	case !writable.MatchString(word):
		return nil, fmt.Sprintf("version %q cannot be written", word)
	}
	return []v6.Range{{Version: v6.Version{Type: t.format, Constraint: "<" + word},
		Fix: &v6.Fix{Version: word, State: v6.FixedStatus}}}, ""
}
