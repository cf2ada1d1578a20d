//go:build postgres

package postgres

import "time"

// SetLease makes the lease of imports shorter.
func (s *Store) SetLease(d time.Duration) { s.lease = d }
