package advisory

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// Summary is what a database holds, counted.
type Summary struct {
	Database finding.Database `json:"database"`
	// Advisories counts vulnerability records, Rows the packages they name.
	Advisories int        `json:"advisories"`
	Rows       int        `json:"rows"`
	Providers  []DataSet  `json:"providers"`
	Ecosystems []Coverage `json:"ecosystems"`
	// Severities counts advisories by the link of the chain that gave their
	// severity; LinkUnknown counts those without one.
	Severities map[string]int `json:"severities"`
	// KEV counts the entries of the catalogue of known exploited
	// vulnerabilities.
	KEV int `json:"kev"`
}

// DataSet is one provider's part of a database.
type DataSet struct {
	ID         string `json:"id"`
	Advisories int    `json:"advisories"`
	// Newest is the latest change any of its records tells; zero when none
	// tells one. A database built today from old records is an old database.
	Newest time.Time `json:"newest,omitzero"`
	Digest string    `json:"digest,omitempty"`
}

// Coverage is what a database holds for one ecosystem: grype's package type,
// with the release for operating system packages, such as "deb (debian 12)".
type Coverage struct {
	Ecosystem string `json:"ecosystem"`
	Packages  int    `json:"packages"`
	Rows      int    `json:"rows"`
}

// Status checks the database in a folder, as Open gives it, and counts what is
// inside.
func Status(ctx context.Context, dir string) (Summary, error) {
	var s Summary
	var err error
	if s.Database, err = inspect(ctx, dir); err != nil {
		return s, err
	}
	s.Database.Source = dir
	db, err := openReadOnly(filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil {
		return s, fmt.Errorf("counting advisories: %w", err)
	}
	defer db.Close()
	for _, count := range []func(context.Context, *sql.DB) error{s.totals, s.dataSets, s.ecosystems, s.severities} {
		if err := count(ctx, db); err != nil {
			return s, fmt.Errorf("counting advisories: %w", err)
		}
	}
	return s, nil
}

func (s *Summary) totals(ctx context.Context, db *sql.DB) error {
	return db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM vulnerability_handles),
		(SELECT count(*) FROM affected_package_handles) + (SELECT count(*) FROM affected_cpe_handles),
		(SELECT count(*) FROM known_exploited_vulnerability_handles)`).Scan(&s.Advisories, &s.Rows, &s.KEV)
}

func (s *Summary) dataSets(ctx context.Context, db *sql.DB) error {
	return each(ctx, db, `SELECT p.id, coalesce(p.input_digest, ''), count(v.id), max(v.modified_date)
		FROM providers p LEFT JOIN vulnerability_handles v ON v.provider_id = p.id GROUP BY p.id ORDER BY p.id`,
		func(scan func(...any) error) error {
			var d DataSet
			var newest sql.NullString
			if err := scan(&d.ID, &d.Digest, &d.Advisories, &newest); err != nil {
				return err
			}
			d.Newest = storedTime(newest.String)
			s.Providers = append(s.Providers, d)
			return nil
		})
}

// storedTime reads a time as the driver stores it; an aggregate loses the
// column's type, so that it comes as text.
func storedTime(text string) time.Time {
	for _, layout := range []string{"2006-01-02 15:04:05.999999999-07:00", "2006-01-02 15:04:05.999999999 -0700 MST", time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

func (s *Summary) ecosystems(ctx context.Context, db *sql.DB) error {
	return each(ctx, db, `SELECT p.ecosystem || CASE WHEN o.id IS NULL THEN '' ELSE ' (' || o.name || ' ' ||
			CASE WHEN o.label_version != '' THEN o.label_version WHEN o.minor_version != '' THEN
				o.major_version || '.' || CASE WHEN o.name = 'ubuntu' AND length(o.minor_version) = 1 THEN '0' ELSE '' END || o.minor_version
			ELSE o.major_version END || ')' END AS ecosystem,
			count(DISTINCT p.id), count(*)
		FROM affected_package_handles a JOIN packages p ON p.id = a.package_id
		LEFT JOIN operating_systems o ON o.id = a.operating_system_id GROUP BY 1 ORDER BY 1`,
		func(scan func(...any) error) error {
			var c Coverage
			err := scan(&c.Ecosystem, &c.Packages, &c.Rows)
			s.Ecosystems = append(s.Ecosystems, c)
			return err
		})
}

func (s *Summary) severities(ctx context.Context, db *sql.DB) error {
	s.Severities = map[string]int{}
	return each(ctx, db, `SELECT json_extract(b.value, '$.severities[0].source'), json_extract(b.value, '$.severities[0].scheme') IS NOT NULL, count(*)
		FROM vulnerability_handles v JOIN blobs b ON b.id = v.blob_id GROUP BY 1, 2`,
		func(scan func(...any) error) error {
			var source sql.NullString
			var known bool
			var n int
			if err := scan(&source, &known, &n); err != nil {
				return err
			}
			if known {
				s.Severities[SeverityLink(source.String)] += n
			} else {
				s.Severities[LinkUnknown] += n
			}
			return nil
		})
}

func each(ctx context.Context, db *sql.DB, query string, row func(scan func(...any) error) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
