package advisory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	v6 "github.com/anchore/grype/grype/db/v6"
)

// create makes a database file with grype's schema, indexes and lookup tables,
// and opens it for one connection. Grype's own library makes them in a file
// beside it, which is copied: the library writes a table's constraints and
// makes its indexes in a random order, so that no two files would be alike.
func create(ctx context.Context, file string) (db *sql.DB, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(file), ".schema-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	pattern := filepath.Join(dir, v6.VulnerabilityDBFileName)
	store, err := v6.NewLowLevelDB(pattern, true, true, false)
	if err != nil {
		return nil, err
	}
	made, err := store.DB()
	if err == nil {
		err = made.Close()
	}
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := copySchema(ctx, db, pattern); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// copySchema copies the tables of the pattern, with what is in them, and then
// its indexes, each in the order of names.
func copySchema(ctx context.Context, db *sql.DB, pattern string) error {
	// The file is thrown away when the build fails, so it needs no journal.
	for _, s := range []string{"PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"} {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	if _, err := db.ExecContext(ctx, "ATTACH DATABASE ? AS pattern", pattern); err != nil {
		return err
	}
	var tables, indexes []string
	err := each(ctx, db, `SELECT type, name, sql FROM pattern.sqlite_master
		WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY name`, func(scan func(...any) error) error {
		var kind, name, text string
		if err := scan(&kind, &name, &text); err != nil {
			return err
		}
		if kind == "table" {
			tables = append(tables, inOrder(text), fmt.Sprintf("INSERT INTO main.%q SELECT * FROM pattern.%q ORDER BY rowid", name, name))
		} else {
			indexes = append(indexes, text)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range append(append(tables, indexes...), "DETACH DATABASE pattern") {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

var constraint = regexp.MustCompile("CONSTRAINT `\\w+` FOREIGN KEY \\(`\\w+`\\) REFERENCES `\\w+`\\(`\\w+`\\)")

// inOrder sorts the foreign keys of a table's definition.
func inOrder(definition string) string {
	keys := constraint.FindAllString(definition, -1)
	slices.Sort(keys)
	i := -1
	return constraint.ReplaceAllStringFunc(definition, func(string) string {
		i++
		return keys[i]
	})
}
