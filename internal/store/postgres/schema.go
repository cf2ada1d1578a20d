package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// migrations bring a store from one schema to the next. Entries are only ever
// added. Each statement is run by itself and does nothing when it was run
// before: not every engine takes more than one in a transaction, and two
// replicas may start at once.
var migrations = [][]string{{
	`CREATE TABLE IF NOT EXISTS counters (
		id BIGINT PRIMARY KEY, seq BIGINT NOT NULL, package BIGINT NOT NULL, image BIGINT NOT NULL, import BIGINT NOT NULL)`,
	`INSERT INTO counters (id, seq, package, image, import) VALUES (1, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING`,
	`CREATE TABLE IF NOT EXISTS packages (
		id BIGINT PRIMARY KEY, key BYTEA NOT NULL UNIQUE, body BYTEA NOT NULL, notes BYTEA NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS images (
		id BIGINT PRIMARY KEY, digest TEXT NOT NULL, evidence TEXT NOT NULL, verified BOOLEAN NOT NULL,
		names TEXT NOT NULL, at BIGINT NOT NULL, until BIGINT NOT NULL, body BYTEA NOT NULL, packages BYTEA NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS heads (digest TEXT PRIMARY KEY, image BIGINT NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS refusals (
		id BYTEA PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
		first BIGINT NOT NULL, last BIGINT NOT NULL, times BIGINT NOT NULL, ended BIGINT NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS refusals_digest ON refusals (digest)`,
	`CREATE TABLE IF NOT EXISTS imports (
		n BIGINT PRIMARY KEY, source TEXT NOT NULL, digest TEXT NOT NULL, built BIGINT NOT NULL, partial BOOLEAN NOT NULL,
		at BIGINT NOT NULL, row_count BIGINT NOT NULL, added BIGINT NOT NULL, removed BIGINT NOT NULL,
		done BOOLEAN NOT NULL, announced BOOLEAN NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS advisories (
		name TEXT NOT NULL, added BIGINT NOT NULL, provider TEXT NOT NULL, hash BYTEA NOT NULL,
		removed BIGINT NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (name, added))`,
	`CREATE INDEX IF NOT EXISTS advisories_provider ON advisories (provider, removed)`,
	`CREATE INDEX IF NOT EXISTS advisories_added ON advisories (added)`,
	`CREATE INDEX IF NOT EXISTS advisories_removed ON advisories (removed)`,
	`CREATE TABLE IF NOT EXISTS vex (
		key TEXT NOT NULL, at BIGINT NOT NULL, until BIGINT NOT NULL, verified BOOLEAN NOT NULL, body BYTEA NOT NULL,
		PRIMARY KEY (key, at))`,
	`CREATE TABLE IF NOT EXISTS changes (seq BIGINT PRIMARY KEY, kind TEXT NOT NULL, ref TEXT NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS events (
		id TEXT PRIMARY KEY, at BIGINT NOT NULL, body BYTEA NOT NULL, tries BIGINT NOT NULL, reason TEXT NOT NULL,
		due BIGINT NOT NULL, delivered BOOLEAN NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS events_due ON events (delivered, due)`,
	`CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until BIGINT NOT NULL)`,
}}

// migrate brings the store to the newest schema.
func (s *Store) migrate(ctx context.Context) error {
	if err := s.step(ctx, `CREATE TABLE IF NOT EXISTS hallmark_schema (version BIGINT PRIMARY KEY)`); err != nil {
		return err
	}
	var version int
	err := s.write(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM hallmark_schema`).Scan(&version)
	})
	if err != nil {
		return err
	}
	if version > len(migrations) {
		return hint.Add(fmt.Errorf("%w: its schema is %d, this hallmark knows %d", store.ErrNewerSchema, version, len(migrations)),
			"run the newer hallmark; a store is never taken back to an older schema")
	}
	if version == 0 {
		if err := s.vacant(ctx); err != nil {
			return err
		}
	}
	for ; version < len(migrations); version++ {
		for _, statement := range migrations[version] {
			if err := s.step(ctx, statement); err != nil {
				return err
			}
		}
		err := s.write(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO hallmark_schema (version) VALUES ($1) ON CONFLICT (version) DO NOTHING`, version+1)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// vacant refuses a schema in which another program has a table of one of our
// names, which CREATE TABLE IF NOT EXISTS would take for ours.
func (s *Store) vacant(ctx context.Context) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		for _, table := range store.Tables() {
			names := make([]string, len(table.Columns))
			for i, c := range table.Columns {
				names[i] = c.Name
			}
			var there bool
			err := tx.QueryRow(ctx, `SELECT count(*) > 0 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = $1`, table.Name).Scan(&there)
			if err != nil {
				return err
			}
			if !there {
				continue
			}
			var columns int
			err = tx.QueryRow(ctx, `SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1
				AND column_name = ANY($2)`, table.Name, names).Scan(&columns)
			if err != nil {
				return err
			}
			if columns != len(names) {
				return hint.Add(fmt.Errorf("%w: it has a table %s of another program", store.ErrForeign, table.Name),
					"give hallmark a database of its own, or a schema with ?search_path=hallmark in --db")
			}
		}
		return nil
	})
}

func (s *Store) step(ctx context.Context, statement string) error {
	err := s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, statement)
		return err
	})
	if err != nil {
		first, _, _ := strings.Cut(statement, "(")
		return fmt.Errorf("%s: %w", strings.TrimSpace(first), err)
	}
	return nil
}

// kind wraps an error of the engine in the store's error of its kind.
func kind(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code == "53100":
		return hint.Add(fmt.Errorf("%w: %w", store.ErrFull, err), "make room on the database's disk; nothing was half-written, and reading goes on")
	case e.Code == "XX001" || e.Code == "XX002":
		return hint.Add(fmt.Errorf("%w: %w", store.ErrCorrupt, err), "put back the database's last backup")
	}
	return err
}

// passing says that a transaction failed for what may be gone the next time:
// another one in the way, a start or stop of the server, a lost connection.
func passing(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch {
		case strings.HasPrefix(e.Code, "40"), // transaction rollback, 40001 and 40P01 among them
			strings.HasPrefix(e.Code, "08"),      // connection exception
			strings.HasPrefix(e.Code, "57P"),     // the server is stopping or starting
			e.Code == "53300",                    // too many connections
			e.Code == "55P03",                    // lock not available
			e.Code == "42710", e.Code == "42P07", // two replicas made the same table at once
			e.Code == "23505": // two transactions allotted the same
			return true
		}
		return strings.HasPrefix(e.Code, "OC0") // Aurora DSQL's optimistic conflicts
	}
	var c *pgconn.ConnectError
	return errors.As(err, &c) || pgconn.SafeToRetry(err) || isBroken(err)
}
