package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/query"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// importedAnswer is the stable JSON answer of an import into a memory; its
// schema is docs/schemas/imported-v1.schema.json.
type importedAnswer struct {
	Schema string `json:"schema"`
	store.Import
	// Problems are what could not be used of OSV records.
	Problems []advisory.Problem `json:"problems,omitempty"`
}

type memoryImport struct {
	memoryFlags
	osv     []string
	source  string
	partial bool
}

// importIntoMemory sends advisories to the memory, from a database or from OSV
// records.
func (a *app) importIntoMemory(ctx context.Context, from []string, f memoryImport) error {
	if (len(from) == 0) == (len(f.osv) == 0) {
		return misuse{errors.New("name one database, or OSV records with --osv")}
	}
	client, done, err := a.client(ctx, f.memoryFlags, toWrite)
	if err != nil {
		return err
	}
	defer done()
	answer := importedAnswer{Schema: "hallmark.imported/v1"}
	if len(f.osv) > 0 {
		answer.Import, answer.Problems, err = a.importOSV(ctx, client, f)
	} else {
		answer.Import, err = a.importDatabase(ctx, client, from[0], f)
	}
	if err != nil {
		return unanswered(err)
	}
	if a.flags.json {
		return a.screen.json(answer)
	}
	s := a.screen
	s.printf("%s  %s\n  %d advisories, %d new or changed, %d gone; import %d\n", s.out(green, "IMPORTED"), clean(answer.Source),
		answer.Rows, answer.Added, answer.Removed, answer.N)
	for _, p := range answer.Problems[:min(len(answer.Problems), 20)] {
		s.note("  not used: %s", clean(p.String()))
	}
	if n := len(answer.Problems); n > 20 {
		s.note("  and %d more, with --json", n-20)
	}
	return nil
}

func (a *app) importDatabase(ctx context.Context, client *query.Client, from string, f memoryImport) (store.Import, error) {
	o, err := a.databaseOptions(from)
	if err != nil {
		return store.Import{}, err
	}
	dir, db, err := advisory.Open(ctx, o)
	if err != nil {
		return store.Import{}, err
	}
	d := store.Dataset{Source: f.source, Digest: db.Digest, Built: db.Built, Partial: f.partial}
	if d.Source == "" {
		d.Source = "database"
	}
	start, n := time.Now(), 0
	return client.Import(ctx, d, func(yield func(vulnerability.Record) error) error {
		return advisory.Records(ctx, dir, func(r vulnerability.Record) error {
			if n++; n%1000 == 0 {
				a.screen.count("import", fmt.Sprintf("%d advisories", n), time.Since(start))
			}
			return yield(r)
		})
	})
}

func (a *app) importOSV(ctx context.Context, client *query.Client, f memoryImport) (store.Import, []advisory.Problem, error) {
	var sources []advisory.Source
	for _, path := range f.osv {
		sources = append(sources, advisory.Source{Kind: advisory.OSV, Path: path})
	}
	a.screen.progress("import", "reading OSV records", 0)
	records, problems, err := advisory.ReadOSV(ctx, sources)
	if err != nil {
		return store.Import{}, nil, err
	}
	d := store.Dataset{Source: f.source, Partial: f.partial}
	if d.Source == "" {
		d.Source = "osv " + filepath.Base(f.osv[0])
	}
	for _, r := range records {
		if r.Modified.After(d.Built) {
			d.Built = r.Modified
		}
	}
	done, err := client.Import(ctx, d, func(yield func(vulnerability.Record) error) error {
		for _, r := range records {
			if err := yield(r); err != nil {
				return err
			}
		}
		return nil
	})
	return done, problems, err
}
