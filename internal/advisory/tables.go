package advisory

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
)

// readCVSS reads a table of CVSS ratings: tab-separated lines of CVE, vector,
// score and severity, with or without a heading. The vector counts; the word
// only where there is no vector.
func readCVSS(r io.Reader, source string, into map[string]rated) ([]Problem, error) {
	var problems []Problem
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		fields := strings.Split(strings.TrimRight(lines.Text(), "\r"), "\t")
		if strings.TrimSpace(lines.Text()) == "" || number == 1 && strings.EqualFold(fields[0], "cve") {
			continue
		}
		row, err := cvssRow(fields)
		if err != nil {
			problems = append(problems, Problem{Source: fmt.Sprintf("%s line %d", source, number), ID: fields[0], Reason: err.Error(), Lost: true})
			continue
		}
		cve := strings.ToUpper(fields[0])
		if old, ok := into[cve]; !ok || row.level > old.level {
			into[cve] = row
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", source, err)
	}
	return problems, nil
}

func cvssRow(fields []string) (rated, error) {
	if len(fields) != 4 || !cvePattern.MatchString(strings.ToUpper(fields[0])) {
		return rated{}, errors.New("line is not CVE, vector, score and severity")
	}
	source := LinkTable + ":" + strings.ToUpper(fields[0])
	if fields[1] == "" {
		s, level, ok := wordSeverity(fields[3], source)
		if !ok {
			return rated{}, fmt.Errorf("severity %q says nothing", fields[3])
		}
		return rated{s, level}, nil
	}
	s, level, err := vectorSeverity(fields[1], source)
	if err != nil {
		return rated{}, err
	}
	return rated{s, level}, nil
}

// kevCatalogue is CISA's catalogue of known exploited vulnerabilities, as
// published in JSON.
type kevCatalogue struct {
	Version         string     `json:"catalogVersion"`
	Vulnerabilities []kevEntry `json:"vulnerabilities"`
}

type kevEntry struct {
	CVE         string   `json:"cveID"`
	Vendor      string   `json:"vendorProject"`
	Product     string   `json:"product"`
	DateAdded   string   `json:"dateAdded"`
	Description string   `json:"shortDescription"`
	Action      string   `json:"requiredAction"`
	DueDate     string   `json:"dueDate"`
	Ransomware  string   `json:"knownRansomwareCampaignUse"`
	Notes       string   `json:"notes"`
	CWEs        []string `json:"cwes"`
}

// readKEV reads the catalogue, sorted by CVE.
func readKEV(r io.Reader, source string) ([]v6.KnownExploitedVulnerabilityBlob, []Problem, error) {
	var c kevCatalogue
	if err := json.NewDecoder(io.LimitReader(r, maxTable)).Decode(&c); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", source, err)
	}
	if c.Vulnerabilities == nil {
		return nil, nil, fmt.Errorf("reading %s: it has no list of vulnerabilities", source)
	}
	var out []v6.KnownExploitedVulnerabilityBlob
	var problems []Problem
	for _, e := range c.Vulnerabilities {
		if !cvePattern.MatchString(e.CVE) {
			problems = append(problems, Problem{Source: source, ID: e.CVE, Reason: "is not a CVE", Lost: true})
			continue
		}
		urls, notes := links(e)
		out = append(out, v6.KnownExploitedVulnerabilityBlob{
			Cve: e.CVE, VendorProject: e.Vendor, Product: e.Product,
			DateAdded: day(e.DateAdded), RequiredAction: e.Action, DueDate: day(e.DueDate),
			KnownRansomwareCampaignUse: strings.ToLower(e.Ransomware), Notes: notes, URLs: urls, CWEs: e.CWEs,
		})
	}
	slices.SortFunc(out, func(a, b v6.KnownExploitedVulnerabilityBlob) int { return strings.Compare(a.Cve, b.Cve) })
	return out, problems, nil
}

var bracketed = regexp.MustCompile(`\[(https?://[^\]]+)\]`)

// links splits the notes of an entry into web addresses and the rest, as
// grype's own provider stores them.
func links(e kevEntry) (urls []string, notes string) {
	var rest []string
	for _, part := range strings.Split(e.Notes, ";") {
		part = strings.TrimSpace(part)
		switch {
		case part == "":
		case strings.HasPrefix(strings.ToLower(part), "http"):
			urls = append(urls, part)
		default:
			rest = append(rest, part)
		}
	}
	for _, text := range []string{e.Description, e.Action} {
		for _, m := range bracketed.FindAllStringSubmatch(text, -1) {
			urls = append(urls, m[1])
		}
	}
	var unique []string
	for _, u := range urls {
		if !slices.Contains(unique, u) {
			unique = append(unique, u)
		}
	}
	return unique, strings.Join(rest, "; ")
}

func day(s string) *time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return nil
	}
	return &t
}
