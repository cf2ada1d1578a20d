package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"
)

// Settings are what a connection to the file was given.
type Settings struct {
	Journal     string
	Synchronous int
}

// Settings gives those of the store's own connections, by what they are for.
func (s *Store) Settings(ctx context.Context, t testing.TB) map[string]Settings {
	t.Helper()
	out := map[string]Settings{}
	for name, db := range map[string]*sql.DB{"writer": s.writer, "reader": s.reader} {
		var got Settings
		if err := db.QueryRowContext(ctx, "SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous").Scan(&got.Journal, &got.Synchronous); err != nil {
			t.Fatal(err)
		}
		out[name] = got
	}
	return out
}

// Integrity is what SQLite says of the file.
func (s *Store) Integrity(ctx context.Context, t testing.TB) (says string) {
	t.Helper()
	if err := s.reader.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&says); err != nil {
		t.Fatal(err)
	}
	return says
}

// LimitPages lets the file grow to n pages and no further.
func (s *Store) LimitPages(ctx context.Context, n int) error {
	_, err := s.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", n))
	return err
}

// SetLease makes the lease of imports shorter.
func (s *Store) SetLease(d time.Duration) { s.lease = d }
