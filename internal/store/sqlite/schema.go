package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// applicationID marks a database file as hallmark's in its header.
const applicationID = 0x686c6d6b // "hlmk"

// migrations bring a store from one schema to the next. Entries are only ever
// added: a store may be at any of them. The schema's number is how many it has.
var migrations = []string{
	`CREATE TABLE counters (
		id INTEGER PRIMARY KEY CHECK (id = 1),
		seq INTEGER NOT NULL, package INTEGER NOT NULL, image INTEGER NOT NULL, import INTEGER NOT NULL);
	INSERT INTO counters VALUES (1, 0, 0, 0, 0);
	CREATE TABLE packages (
		id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, body BLOB NOT NULL, notes BLOB NOT NULL);
	CREATE TABLE images (
		id INTEGER PRIMARY KEY, digest TEXT NOT NULL, evidence TEXT NOT NULL, verified INTEGER NOT NULL,
		names TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER NOT NULL, body BLOB NOT NULL, packages BLOB NOT NULL);
	CREATE TABLE heads (digest TEXT PRIMARY KEY, image INTEGER NOT NULL) WITHOUT ROWID;
	CREATE TABLE refusals (
		id BLOB PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
		first INTEGER NOT NULL, last INTEGER NOT NULL, times INTEGER NOT NULL, ended INTEGER NOT NULL) WITHOUT ROWID;
	CREATE INDEX refusals_digest ON refusals (digest);
	CREATE TABLE imports (
		n INTEGER PRIMARY KEY, source TEXT NOT NULL, digest TEXT NOT NULL, built INTEGER NOT NULL, partial INTEGER NOT NULL,
		at INTEGER NOT NULL, row_count INTEGER NOT NULL, added INTEGER NOT NULL, removed INTEGER NOT NULL,
		done INTEGER NOT NULL, announced INTEGER NOT NULL);
	CREATE TABLE advisories (
		name TEXT NOT NULL, added INTEGER NOT NULL, provider TEXT NOT NULL, hash BLOB NOT NULL,
		removed INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (name, added));
	CREATE INDEX advisories_provider ON advisories (provider, removed);
	CREATE INDEX advisories_added ON advisories (added);
	CREATE INDEX advisories_removed ON advisories (removed);
	CREATE TABLE vex (
		key TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER NOT NULL, verified INTEGER NOT NULL, body BLOB NOT NULL,
		PRIMARY KEY (key, at));
	CREATE TABLE changes (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, ref TEXT NOT NULL);
	CREATE TABLE events (
		id TEXT PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL, tries INTEGER NOT NULL, reason TEXT NOT NULL,
		due INTEGER NOT NULL, delivered INTEGER NOT NULL);
	CREATE INDEX events_due ON events (delivered, due);
	CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;`,
}

// migrate brings the store to the newest schema, in one transaction, and
// refuses a database that is another program's or a newer hallmark's.
func (s *Store) migrate(ctx context.Context) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		var id, version, tables int
		if err := tx.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
			(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)`).Scan(&id, &version, &tables); err != nil {
			return err
		}
		switch {
		case id != applicationID && (tables > 0 || id != 0):
			return hint.Add(fmt.Errorf("%w: it belongs to another program", store.ErrForeign), "name another file with --db")
		case version > len(migrations):
			return hint.Add(fmt.Errorf("%w: its schema is %d, this hallmark knows %d", store.ErrNewerSchema, version, len(migrations)),
				"run the newer hallmark; a store is never taken back to an older schema")
		case version == len(migrations):
			return nil
		}
		for _, statement := range migrations[version:] {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(migrations)))
		return err
	})
}

// kind wraps an error of the driver in the store's error of its kind.
func kind(err error) error {
	var e interface{ Code() int }
	if err == nil || !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case codeFull:
		return hint.Add(fmt.Errorf("%w: %w", store.ErrFull, err), "make room on the disk; nothing was half-written, and reading goes on")
	case codeCorrupt:
		return hint.Add(fmt.Errorf("%w: %w", store.ErrCorrupt, err), "stop hallmark and put back the last backup (hallmark db backup makes them)")
	case codeNotADatabase:
		return hint.Add(fmt.Errorf("%w: %w", store.ErrForeign, err), "name another file with --db, or put back the last backup")
	}
	return err
}

// Result codes of SQLite (https://sqlite.org/rescode.html).
const (
	codeBusy         = 5
	codeLocked       = 6
	codeCorrupt      = 11
	codeFull         = 13
	codeNotADatabase = 26
)

func passing(err error) bool {
	var e interface{ Code() int }
	return errors.As(err, &e) && (e.Code()&0xff == codeBusy || e.Code()&0xff == codeLocked)
}
