package advisory

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/google/go-cmp/cmp"
)

// TestWritesWhatGrypeWrites puts the same vulnerabilities into one database by
// our SQL and into another by grype's own writer, and wants the same rows,
// the encoding of times and of JSON included.
func TestWritesWhatGrypeWrites(t *testing.T) {
	ctx := context.Background()
	var res Result
	g, err := gather(ctx, real(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	vulns, err := g.settle(&res)
	if err != nil {
		t.Fatal(err)
	}
	c := content{built: builtAt, vulns: vulns, chain: newChain(vulns, g.table), kev: g.kev, providers: g.providers(vulns, builtAt)}
	ours, theirs := t.TempDir(), t.TempDir()
	if _, err := write(ctx, ours, c); err != nil {
		t.Fatal(err)
	}
	w, err := v6.NewWriter(v6.Config{DBDirPath: theirs})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.providers {
		if err := w.AddProvider(v6.Provider{ID: p.id, Version: "1", Processor: "hallmark", DateCaptured: &p.captured, InputDigest: p.digest}); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range vulns {
		severities, _ := c.chain.resolve(v)
		blob := v.blob(severities)
		h := &v6.VulnerabilityHandle{Name: v.id, Status: v6.VulnerabilityActive, ProviderID: v.provider, BlobValue: &blob}
		if !v.published.IsZero() {
			h.PublishedDate = &v.published
		}
		if !v.modified.IsZero() {
			h.ModifiedDate = &v.modified
		}
		if err := w.AddVulnerabilities(h); err != nil {
			t.Fatal(err)
		}
		for _, r := range v.rows {
			a := &v6.AffectedPackageHandle{VulnerabilityID: h.ID, Package: &v6.Package{Ecosystem: r.ecosystem, Name: r.name},
				BlobValue: &v6.PackageBlob{CVEs: v.aliases, Qualifiers: r.qualifiers, Ranges: r.ranges}}
			if r.os != nil {
				os := *r.os
				a.OperatingSystem = &os
			}
			if err := w.AddAffectedPackages(a); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, k := range c.kev {
		if err := w.AddKnownExploitedVulnerabilities(&v6.KnownExploitedVulnerabilityHandle{Cve: k.Cve, BlobValue: &k}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v6.Hydrater()(theirs); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		`SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'index') AND name NOT LIKE 'sqlite_%' ORDER BY type, name`,
		`SELECT v.name, v.status, quote(v.published_date), quote(v.modified_date), quote(v.withdrawn_date), v.provider_id, b.value
			FROM vulnerability_handles v JOIN blobs b ON b.id = v.blob_id ORDER BY 1, 6`,
		`SELECT name, alias FROM vulnerability_aliases ORDER BY 1, 2`,
		`SELECT v.name, p.ecosystem, p.name, quote(o.name), quote(o.release_id), quote(o.major_version), quote(o.minor_version), quote(o.label_version),
			quote(o.codename), quote(o.channel), b.value
			FROM affected_package_handles a JOIN vulnerability_handles v ON v.id = a.vulnerability_id JOIN packages p ON p.id = a.package_id
			JOIN blobs b ON b.id = a.blob_id LEFT JOIN operating_systems o ON o.id = a.operating_system_id ORDER BY 1, 2, 3, 6, 7, 11`,
		`SELECT k.cve, b.value FROM known_exploited_vulnerability_handles k JOIN blobs b ON b.id = k.blob_id ORDER BY 1`,
		`SELECT id, version, processor, quote(date_captured), input_digest FROM providers ORDER BY 1`,
		`SELECT model, revision, addition FROM db_metadata`,
		`SELECT quote(alias), quote(version), quote(version_pattern), quote(replacement) FROM operating_system_specifier_overrides ORDER BY 1, 2, 3, 4`,
		`SELECT ecosystem, replacement_ecosystem FROM package_specifier_overrides ORDER BY 1, 2`,
		`SELECT alias, canonical FROM architecture_aliases ORDER BY 1`,
	} {
		mine, other := dump(t, ours, query), dump(t, theirs, query)
		for i := range other {
			other[i] = inOrder(other[i])
		}
		if diff := cmp.Diff(other, mine); diff != "" {
			t.Errorf("%s (-grype +ours):\n%s", strings.Fields(query)[1], diff)
		}
		if len(mine) == 0 {
			t.Errorf("no rows: %s", query)
		}
	}
}

func dump(t *testing.T, dir, query string) (out []string) {
	t.Helper()
	db, err := openReadOnly(filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		pointers := make([]any, len(columns))
		for i := range values {
			pointers[i] = &values[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			t.Fatal(err)
		}
		var line []string
		for _, v := range values {
			line = append(line, v.String)
		}
		out = append(out, strings.Join(line, " | "))
	}
	return out
}
