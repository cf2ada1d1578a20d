// Package scan matches the packages of an image against a vulnerability
// database of grype's version 6 format, with grype's own matchers, so that the
// findings are those of the grype command on the same image and database.
//
// It is the only user of grype's matchers. What grype only logs is kept here:
// an advisory that could not be looked up is an error, a version that could
// not be compared is listed as neither affected nor cleared, and an ecosystem
// of the image that the database has nothing on is marked uncovered. The
// package knows no thresholds; package gate judges the report.
package scan

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/vulnerability"
	_ "github.com/glebarez/go-sqlite" // The driver named "sqlite", the one grype links too.

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
)

// DB is an open vulnerability database. It may be used by several goroutines.
type DB struct {
	info     finding.Database
	reader   v6.Reader
	provider vulnerability.Provider
	tables   *sql.DB
	digest   *digest
}

// The reasons for which a database cannot be used. Each comes with a hint.
var (
	ErrMissing = errors.New("there is no vulnerability database")
	ErrCorrupt = errors.New("the vulnerability database cannot be read")
	ErrSchema  = errors.New("the vulnerability database has another schema")
	ErrEmpty   = errors.New("the vulnerability database holds no advisory")
)

// Open opens the database in dir, read-only: the file vulnerability.db, which
// nothing may write while it is open. What db says of source, signature and
// digest is kept; schema, time and providers are read from the file. A digest
// that db does not give is computed in the background and awaited by Match.
// Errors wrap ErrMissing, ErrCorrupt, ErrSchema or ErrEmpty.
func Open(ctx context.Context, dir string, db finding.Database) (*DB, error) {
	file := filepath.Join(dir, v6.VulnerabilityDBFileName)
	opened, err := open(ctx, file, db)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("opening %s: %w", file, err),
			"get one with `hallmark advisories import`, or name another with --advisories")
	}
	return opened, nil
}

func open(ctx context.Context, file string, db finding.Database) (*DB, error) {
	// SQLite would read the rest of such a name as options.
	if strings.ContainsAny(file, "?#%") {
		return nil, fmt.Errorf("%w: its path has one of the characters ? # %%", ErrCorrupt)
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, ErrMissing
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: not a regular file", ErrCorrupt)
	}
	tables, err := sql.Open("sqlite", "file:"+file+"?mode=ro&immutable=1")
	if err != nil {
		return nil, err
	}
	d := &DB{info: db, tables: tables}
	if err := d.describe(ctx); err != nil {
		return nil, errors.Join(err, tables.Close())
	}
	if d.reader, err = v6.NewReader(v6.Config{DBDirPath: filepath.Dir(file)}); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrCorrupt, err), tables.Close())
	}
	d.provider = v6.NewVulnerabilityProvider(d.reader)
	d.digest = startDigest(file, db.Digest)
	return d, nil
}

// describe reads what the database says of itself.
func (d *DB) describe(ctx context.Context) error {
	var model, revision, addition int
	err := d.tables.QueryRowContext(ctx, `SELECT build_timestamp, model, revision, addition FROM db_metadata`).
		Scan(&d.info.Built, &model, &revision, &addition)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, sql.ErrNoRows), err != nil && d.isDatabase(ctx):
		return fmt.Errorf("%w: it has no version 6 metadata", ErrSchema)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case model != v6.ModelVersion:
		return fmt.Errorf("%w: v%d.%d.%d, not v%d", ErrSchema, model, revision, addition, v6.ModelVersion)
	}
	d.info.Built = d.info.Built.UTC()
	d.info.Schema = fmt.Sprintf("v%d.%d.%d", model, revision, addition)

	if d.info.Providers, err = d.strings(ctx, `SELECT id FROM providers ORDER BY id`); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	any, err := d.exists(ctx, `SELECT 1 FROM affected_package_handles UNION ALL SELECT 1 FROM affected_cpe_handles`)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if !any {
		return ErrEmpty
	}
	return nil
}

// isDatabase says that the file is SQLite's, whatever tables it has.
func (d *DB) isDatabase(ctx context.Context) bool {
	tables, err := d.strings(ctx, `SELECT name FROM sqlite_master WHERE type = 'table'`)
	return err == nil && !slices.Contains(tables, "db_metadata")
}

// strings gives the first column of a query.
func (d *DB) strings(ctx context.Context, query string) ([]string, error) {
	rows, err := d.tables.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// exists says that a query has a row.
func (d *DB) exists(ctx context.Context, query string, args ...any) (bool, error) {
	var found bool
	err := d.tables.QueryRowContext(ctx, `SELECT EXISTS (`+query+`)`, args...).Scan(&found)
	return found, err
}

// Database is what is known of the database; it waits for the digest.
func (d *DB) Database(ctx context.Context) (finding.Database, error) {
	info := d.info
	var err error
	if info.Digest, err = d.digest.wait(ctx); err != nil {
		return finding.Database{}, fmt.Errorf("hashing the vulnerability database: %w", err)
	}
	return info, nil
}

// Close releases the database. Nothing may use it afterwards.
func (d *DB) Close() error {
	d.digest.stop()
	return errors.Join(d.provider.Close(), d.tables.Close())
}
