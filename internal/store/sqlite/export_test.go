package sqlite

import (
	"context"
	"fmt"
	"time"
)

// LimitPages lets the file grow to n pages and no further.
func (s *Store) LimitPages(ctx context.Context, n int) error {
	_, err := s.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", n))
	return err
}

// SetLease makes the lease of imports shorter.
func (s *Store) SetLease(d time.Duration) { s.lease = d }
