package advisory

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/finding"
	vuln "github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// ReadOSV reads advisories from sources without making a database of them. The
// records are the same as Records reads from the database that Build makes of
// the sources, and those that were withdrawn besides, marked so.
//
// The records of a distribution are joined by CVE, so a source that has one
// release of a distribution only gives records of that release only.
func ReadOSV(ctx context.Context, sources []Source) ([]vuln.Record, []Problem, error) {
	g, err := gather(ctx, sources, func(string) {})
	if err != nil {
		return nil, nil, err
	}
	var out []vuln.Record
	for _, p := range g.records {
		if !p.record.Withdrawn.IsZero() {
			out = append(out, vuln.Record{Provider: providerOf(p.record.ID), ID: p.record.ID, Withdrawn: true, Modified: p.record.Modified.Time})
		}
	}
	var res Result
	vulns, err := g.settle(&res)
	var empty *Error
	if err != nil && (len(out) == 0 || !errors.As(err, &empty)) {
		return nil, res.Problems, err
	}
	chain := newChain(vulns, g.table)
	kev := map[string]bool{}
	for _, k := range g.kev {
		kev[strings.ToUpper(k.Cve)] = true
	}
	seen := map[string]bool{}
	for _, v := range vulns {
		severities, _ := chain.resolve(v)
		r := v.record(severities, kev)
		seen[r.Key()] = true
		out = append(out, r)
	}
	// A record that another source has not withdrawn, newer, stands.
	out = slices.DeleteFunc(out, func(r vuln.Record) bool { return r.Withdrawn && seen[r.Key()] })
	slices.SortStableFunc(out, func(a, b vuln.Record) int { return strings.Compare(a.Key(), b.Key()) })
	out = slices.CompactFunc(out, func(a, b vuln.Record) bool { return a.Key() == b.Key() })
	return out, res.Problems, nil
}

// record is v as the memory keeps it.
func (v *vulnerability) record(severities []rated, kev map[string]bool) vuln.Record {
	r := vuln.Record{
		Provider: v.provider, ID: v.id, Aliases: slices.Sorted(slices.Values(v.aliases)), Summary: summary(v.description),
		Published: v.published, Modified: v.modified,
	}
	if r.Modified.IsZero() {
		r.Modified = r.Published
	}
	if len(v.references) > 0 {
		r.URL = v.references[0].URL
	}
	if len(severities) > 0 {
		r.Severity, r.SeveritySource = severities[0].level, severityLink(v.provider, severities[0].Severity)
	}
	r.KEV = slices.ContainsFunc(r.Names(), func(name string) bool { return kev[strings.ToUpper(name)] })
	for _, own := range v.rows {
		if a, ok := affected(own.ecosystem, own.name, own.os, own.qualifiers, own.ranges); ok {
			r.Affected = append(r.Affected, a)
		}
	}
	return r
}

// severityLink names the link of the chain, as package scan does.
func severityLink(provider string, s v6.Severity) string {
	switch {
	case SeverityLink(s.Source) != LinkVendor:
		return s.Source
	case s.Scheme == v6.SeveritySchemeCVSS:
		return "cvss:" + provider
	}
	return LinkVendor + ":" + provider
}

// summary is the first line of a description, and not more than an answer has
// room for.
func summary(description string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(description), "\n")
	if r := []rune(line); len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return line
}

// affected is one row; false for those that are about no ordinary package.
func affected(ecosystem, name string, os *v6.OperatingSystem, q *v6.PackageQualifiers, ranges []v6.Range) (vuln.Row, bool) {
	a := vuln.Row{Type: typeOf(ecosystem), Name: name}
	if os != nil {
		if os.Channel != "" {
			return a, false // Fixes that an ordinary host can't install.
		}
		a.Distro = os.Name
		switch {
		case os.MajorVersion != "" && os.MinorVersion != "":
			a.Distro += ":" + os.MajorVersion + "." + os.MinorVersion
		case os.MajorVersion != "":
			a.Distro += ":" + os.MajorVersion
		case os.LabelVersion != "" && os.LabelVersion != "rolling":
			a.Distro += ":" + os.LabelVersion
		}
	}
	if q != nil {
		if q.RootIO != nil && *q.RootIO {
			return a, false // Packages of one vendor, under other names.
		}
		a.Module = q.RpmModularity
		if q.Architecture != nil {
			a.Arch = *q.Architecture
		}
	}
	for _, r := range ranges {
		own := vuln.Range{Format: r.Version.Type, Constraint: r.Version.Constraint}
		if r.Fix != nil {
			own.FixState = string(r.Fix.State)
			if r.Fix.State == v6.FixedStatus {
				own.FixedIn = r.Fix.Version
			}
		}
		a.Ranges = append(a.Ranges, own)
	}
	return a, len(a.Ranges) > 0
}

// typeOf is the package URL type of one of grype's package types.
func typeOf(ecosystem string) string {
	if t := syftpkg.Type(ecosystem).PackageURLType(); t != "" {
		return component.Type(t)
	}
	return component.Type(ecosystem)
}

// Records reads the advisories of the database in dir, as Open gives it, in
// the order of the database. It reads rows for packages; those by CPE name no
// package and are left out. An error from yield ends it.
func Records(ctx context.Context, dir string, yield func(vuln.Record) error) error {
	db, err := openReadOnly(filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil {
		return fmt.Errorf("reading advisories: %w", err)
	}
	defer db.Close()
	db.SetMaxOpenConns(4) // Three lists are read side by side.
	r := recordReader{ctx: ctx, db: db, kev: map[string]bool{}, known: map[string]rated{}}
	if err := r.read(yield); err != nil {
		return fmt.Errorf("reading advisories from %s: %w", dir, err)
	}
	return nil
}

// recordReader reads a database's lists in the order of its vulnerabilities.
type recordReader struct {
	ctx   context.Context
	db    *sql.DB
	kev   map[string]bool
	known map[string]rated // severities that others' records give, by CVE
}

const (
	vulnerabilityRows = `SELECT v.id, v.name, v.status, v.provider_id, v.published_date, v.modified_date, b.value
		FROM vulnerability_handles v JOIN blobs b ON b.id = v.blob_id ORDER BY v.id`
	packageRows = `SELECT a.vulnerability_id, p.ecosystem, p.name, o.name, o.major_version, o.minor_version, o.label_version, o.channel, b.value
		FROM %s a JOIN packages p ON p.id = a.package_id JOIN blobs b ON b.id = a.blob_id
		LEFT JOIN operating_systems o ON o.id = a.operating_system_id ORDER BY a.vulnerability_id, a.id`
)

func (r *recordReader) read(yield func(vuln.Record) error) error {
	if err := r.tables(); err != nil {
		return err
	}
	hit, err := r.open(fmt.Sprintf(packageRows, "affected_package_handles"))
	if err != nil {
		return err
	}
	defer hit.Close()
	clear, err := r.open(fmt.Sprintf(packageRows, "unaffected_package_handles"))
	if err != nil {
		return err
	}
	defer clear.Close()
	rows, err := r.db.QueryContext(r.ctx, vulnerabilityRows)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		id, record, err := r.vulnerability(rows)
		if err != nil {
			return err
		}
		for _, list := range []*packageList{hit, clear} {
			if err := list.take(id, &record, list == clear); err != nil {
				return fmt.Errorf("%s: %w", record.Key(), err)
			}
		}
		if len(record.Affected) == 0 {
			continue // A record of names and scores; r.known has them.
		}
		record.KEV = slices.ContainsFunc(record.Names(), func(name string) bool { return r.kev[strings.ToUpper(name)] })
		if record.Severity == finding.Unknown {
			r.borrow(&record)
		}
		if err := yield(record); err != nil {
			return err
		}
	}
	return rows.Err()
}

// tables reads what is known beside the advisories: CISA's list, and the
// severities of records that affect no package.
func (r *recordReader) tables() error {
	rows, err := r.db.QueryContext(r.ctx, `SELECT cve FROM known_exploited_vulnerability_handles`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var cve string
		if err := rows.Scan(&cve); err != nil {
			return err
		}
		r.kev[strings.ToUpper(cve)] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	scored, err := r.db.QueryContext(r.ctx, `SELECT v.name, v.provider_id, b.value FROM vulnerability_handles v JOIN blobs b ON b.id = v.blob_id
		WHERE NOT EXISTS (SELECT 1 FROM affected_package_handles a WHERE a.vulnerability_id = v.id)`)
	if err != nil {
		return err
	}
	defer scored.Close()
	for scored.Next() {
		var name, provider, value string
		if err := scored.Scan(&name, &provider, &value); err != nil {
			return err
		}
		var blob v6.VulnerabilityBlob
		if err := json.Unmarshal([]byte(value), &blob); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if s, ok := firstSeverity(blob); ok && s.level > r.known[strings.ToUpper(name)].level {
			s.Source = provider
			r.known[strings.ToUpper(name)] = s
		}
	}
	return scored.Err()
}

// borrow takes the worst severity that others give to a record's other names.
func (r *recordReader) borrow(record *vuln.Record) {
	for _, name := range record.Names() {
		if s, ok := r.known[strings.ToUpper(name)]; ok && s.level > record.Severity {
			record.Severity, record.SeveritySource = s.level, LinkAlias+":"+name+"@"+s.Source
		}
	}
}

func (r *recordReader) vulnerability(rows *sql.Rows) (id int64, out vuln.Record, err error) {
	var status, provider, value sql.NullString
	var published, modified sql.NullTime
	if err := rows.Scan(&id, &out.ID, &status, &provider, &published, &modified, &value); err != nil {
		return 0, out, err
	}
	var blob v6.VulnerabilityBlob
	if err := json.Unmarshal([]byte(value.String), &blob); err != nil {
		return 0, out, fmt.Errorf("%s: %w", out.ID, err)
	}
	out.Provider, out.Summary = provider.String, summary(blob.Description)
	out.Published, out.Modified = published.Time.UTC(), modified.Time.UTC()
	out.Withdrawn = status.String == string(v6.VulnerabilityRejected)
	for _, alias := range blob.Aliases {
		if alias != out.ID {
			out.Aliases = append(out.Aliases, alias)
		}
	}
	slices.Sort(out.Aliases)
	if len(blob.References) > 0 {
		out.URL = blob.References[0].URL
	}
	if s, ok := firstSeverity(blob); ok {
		out.Severity, out.SeveritySource = s.level, severityLink(out.Provider, s.Severity)
	}
	return id, out, nil
}

// firstSeverity rates the first severity of a record that says anything: the
// others are second opinions.
func firstSeverity(blob v6.VulnerabilityBlob) (rated, bool) {
	for _, s := range blob.Severities {
		switch value := s.Value.(type) {
		case string:
			if _, level, ok := wordSeverity(value, s.Source); ok {
				return rated{s, level}, true
			}
		case v6.CVSSSeverity:
			if _, level, err := vectorSeverity(value.Vector, s.Source); err == nil {
				return rated{s, level}, true
			}
		}
	}
	return rated{}, false
}

func (r *recordReader) open(query string) (*packageList, error) {
	rows, err := r.db.QueryContext(r.ctx, query)
	if err != nil {
		return nil, err
	}
	l := &packageList{Rows: rows}
	return l, l.next()
}

// packageList is a list of package rows, one row ahead.
type packageList struct {
	*sql.Rows
	id      int64 // of the vulnerability; 0 at the end
	row     vuln.Row
	usable  bool
	aliases []string
}

// take adds the rows of a vulnerability to its record.
func (l *packageList) take(id int64, r *vuln.Record, unaffected bool) error {
	for l.id != 0 && l.id <= id {
		if l.id == id && l.usable {
			l.row.Unaffected = unaffected
			r.Affected = append(r.Affected, l.row)
			for _, alias := range l.aliases {
				if alias != r.ID && !slices.Contains(r.Aliases, alias) {
					r.Aliases = append(r.Aliases, alias)
				}
			}
			slices.Sort(r.Aliases)
		}
		if err := l.next(); err != nil {
			return err
		}
	}
	return nil
}

func (l *packageList) next() error {
	if !l.Next() {
		l.id = 0
		return l.Err()
	}
	var ecosystem, name, value string
	var os, major, minor, label, channel sql.NullString
	if err := l.Scan(&l.id, &ecosystem, &name, &os, &major, &minor, &label, &channel, &value); err != nil {
		return err
	}
	var blob v6.PackageBlob
	if err := json.Unmarshal([]byte(value), &blob); err != nil {
		return fmt.Errorf("%s: %w", cmp.Or(name, ecosystem), err)
	}
	var system *v6.OperatingSystem
	if os.Valid {
		system = &v6.OperatingSystem{Name: os.String, MajorVersion: major.String, MinorVersion: minor.String, LabelVersion: label.String, Channel: channel.String}
	}
	l.row, l.usable = affected(ecosystem, name, system, blob.Qualifiers, blob.Ranges)
	l.aliases = blob.CVEs
	return nil
}
