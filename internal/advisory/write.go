package advisory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
)

// provider is one data set of a database.
type provider struct {
	id       string
	captured time.Time
	digest   string
}

// content is all that one database holds, in the order it is written.
type content struct {
	built     time.Time
	providers []provider
	vulns     []*vulnerability
	chain     chain
	kev       []v6.KnownExploitedVulnerabilityBlob
}

// write makes dir/vulnerability.db. The schema is grype's; the rows are written
// here with SQL in one transaction, in order. Grype's writer would take a
// transaction a row, store aliases in a random order and stamp the database
// with the present time, so that no two builds of the same input were alike.
func write(ctx context.Context, dir string, c content) (links map[string]int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making database: %w", err)
	}
	db, err := create(ctx, filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil {
		return nil, fmt.Errorf("making database: %w", err)
	}
	defer func() {
		if e := db.Close(); err == nil && e != nil {
			err = fmt.Errorf("closing database: %w", e)
		}
	}()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("writing database: %w", err)
	}
	w := &writer{ctx: ctx, tx: tx, ids: map[string]int64{}, statements: map[string]*sql.Stmt{}, links: map[string]int{}}
	if err := w.all(c); err != nil {
		tx.Rollback()
		return nil, fmt.Errorf("writing database: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("writing database: %w", err)
	}
	for _, finish := range []string{"ANALYZE", "VACUUM"} {
		if _, err := db.ExecContext(ctx, finish); err != nil {
			return nil, fmt.Errorf("finishing database: %w", err)
		}
	}
	return w.links, nil
}

// writer inserts rows; ids remembers the rows that others point at.
type writer struct {
	ctx        context.Context
	tx         *sql.Tx
	ids        map[string]int64
	statements map[string]*sql.Stmt
	links      map[string]int
}

func (w *writer) insert(table, columns string, values ...any) (int64, error) {
	query := "INSERT INTO " + table + " (" + columns + ") VALUES (?" + strings.Repeat(",?", len(values)-1) + ")"
	stmt, ok := w.statements[query]
	if !ok {
		var err error
		if stmt, err = w.tx.PrepareContext(w.ctx, query); err != nil {
			return 0, err
		}
		w.statements[query] = stmt
	}
	res, err := stmt.ExecContext(w.ctx, values...)
	if err != nil {
		return 0, fmt.Errorf("inserting into %s: %w", table, err)
	}
	return res.LastInsertId()
}

// once inserts a row the first time its key is seen and gives its id.
func (w *writer) once(key, table, columns string, values ...any) (int64, error) {
	key = table + "\x00" + key
	if id, ok := w.ids[key]; ok {
		return id, nil
	}
	id, err := w.insert(table, columns, values...)
	w.ids[key] = id
	return id, err
}

func (w *writer) blob(value any) (int64, error) {
	// As grype encodes them: < and > stay as they are, and a newline ends each.
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return 0, err
	}
	sum := sha256.Sum256(text.Bytes())
	return w.once(string(sum[:]), "blobs", "value", text.String())
}

func (w *writer) all(c content) error {
	built := c.built.UTC().Truncate(time.Second)
	if _, err := w.insert("db_metadata", "build_timestamp,model,revision,addition", built, v6.ModelVersion, v6.Revision, v6.Addition); err != nil {
		return err
	}
	for _, p := range c.providers {
		if _, err := w.insert("providers", "id,version,processor,date_captured,input_digest", p.id, "1", "hallmark", p.captured, p.digest); err != nil {
			return err
		}
	}
	for _, v := range c.vulns {
		severities, link := c.chain.resolve(v)
		w.links[link]++
		if err := w.vulnerability(v, severities); err != nil {
			return fmt.Errorf("%s: %w", v.id, err)
		}
	}
	for _, k := range c.kev {
		id, err := w.blob(k)
		if err != nil {
			return err
		}
		if _, err := w.insert("known_exploited_vulnerability_handles", "cve,blob_id", k.Cve, id); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) vulnerability(v *vulnerability, severities []rated) error {
	blob, err := w.blob(v.blob(severities))
	if err != nil {
		return err
	}
	modified := v.modified
	if modified.IsZero() {
		modified = v.published
	}
	id, err := w.insert("vulnerability_handles", "name,status,published_date,modified_date,provider_id,blob_id",
		v.id, string(v6.VulnerabilityActive), instant(v.published), instant(modified), v.provider, blob)
	if err != nil {
		return err
	}
	for _, alias := range v.aliases {
		if _, err := w.once(v.id+"\x00"+alias, "vulnerability_aliases", "name,alias", v.id, alias); err != nil {
			return err
		}
	}
	for _, r := range v.rows {
		if err := w.row(id, v, r); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) row(vulnerability int64, v *vulnerability, r row) error {
	pkg, err := w.once(strings.ToLower(r.ecosystem+"\x00"+r.name), "packages", "ecosystem,name", r.ecosystem, r.name)
	if err != nil {
		return err
	}
	blob, err := w.blob(v6.PackageBlob{CVEs: v.aliases, Qualifiers: r.qualifiers, Ranges: r.ranges})
	if err != nil {
		return err
	}
	var os any
	if o := r.os; o != nil {
		os, err = w.once(o.String(), "operating_systems", "name,release_id,major_version,minor_version,label_version,codename,channel",
			o.Name, o.ReleaseID, o.MajorVersion, o.MinorVersion, o.LabelVersion, o.Codename, o.Channel)
		if err != nil {
			return err
		}
	}
	_, err = w.insert("affected_package_handles", "vulnerability_id,operating_system_id,package_id,blob_id", vulnerability, os, pkg, blob)
	return err
}

// instant is a time for a column, or NULL.
func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}
