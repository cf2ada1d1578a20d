// Package postgres is the store for several replicas of the service side by
// side: one schema in a PostgreSQL database, or in an engine that speaks its
// protocol, such as Aurora.
//
// It uses plain SQL: no extension, no sequence, no trigger, no foreign key, no
// LISTEN. All numbers come from one row, which every writing transaction takes
// first. On PostgreSQL that makes writers wait for each other, in the order in
// which they commit; on engines with optimistic concurrency the later one fails
// and is tried again. Either way the change log has no gaps and is never read
// out of order. The price is that writers do not run side by side: they share
// a transaction instead (store.Batcher).
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// patience is how long a transaction is tried again before it is given up.
const patience = 20 * time.Second

// cached bounds the numbers of packages kept in memory, some 20 MB.
const cached = 256 << 10

// Store is a store in a database.
type Store struct {
	pool    *pgxpool.Pool
	retries atomic.Int64
	// holder is this store's name on leases, and importing is held by its one
	// import: a lease of that name which nobody here holds is of an import that
	// could not even clear up behind itself, as on a full disk.
	holder    string
	importing sync.Mutex
	lease     time.Duration // leaseTime, but in tests

	mu sync.Mutex
	// numbers are committed packages by key.
	numbers map[store.Key]number
}

type number struct {
	id    uint32
	noted bool
}

var _ store.Store = (*Store)(nil)

// Open opens the store in the database of a URL, as libpq writes them:
// postgres://user@host/database?sslmode=verify-full. What the URL leaves out
// comes from the PG… variables and the password file, so that no password need
// stand in it. Errors never hold the password.
func Open(ctx context.Context, url string) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("opening store: %w", err), "write --db as postgres://user@host/database?sslmode=verify-full")
	}
	if _, ok := config.ConnConfig.RuntimeParams["application_name"]; !ok {
		config.ConnConfig.RuntimeParams["application_name"] = "hallmark"
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	// A prepared statement keeps the plan of its first runs, and those of a new
	// store read empty tables from end to end: it took in eight times as slowly
	// for as long as the connection lived. Described and not prepared, each
	// statement is planned for its arguments, in the same round trip; and pools
	// that hand connections around understand it too.
	if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	place := fmt.Sprintf("%s/%s", net.JoinHostPort(config.ConnConfig.Host, fmt.Sprint(config.ConnConfig.Port)), config.ConnConfig.Database)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening store %s: %w", place, err)
	}
	s := &Store{pool: pool, holder: rand.Text(), lease: leaseTime, numbers: map[store.Key]number{}}
	if err := s.migrate(ctx); err != nil {
		pool.Close()
		if hint.Of(err) == "" {
			err = hint.Add(err, "check that the database is up and that the user of --db may create tables in it")
		}
		return nil, fmt.Errorf("opening store %s: %w", place, err)
	}
	return s, nil
}

// write runs f in one transaction, and again while it fails for a reason that
// may pass.
func (s *Store) write(ctx context.Context, f func(pgx.Tx) error) error {
	again := false
	try := func() (struct{}, error) {
		if again {
			s.retries.Add(1)
		}
		again = true
		err := pgx.BeginFunc(ctx, s.pool, f)
		if err != nil && (ctx.Err() != nil || !passing(err)) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 10*time.Millisecond, time.Second
	_, err := backoff.Retry(ctx, try, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(patience))
	return kind(err)
}

// read runs f in one transaction that sees the store as it stood when it began.
func (s *Store) read(ctx context.Context, f func(pgx.Tx) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 10*time.Millisecond, time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		given := false
		err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			given = true
			return f(tx)
		})
		// What was read in part cannot be read again.
		if err != nil && (given || ctx.Err() != nil || !passing(err)) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(patience))
	return kind(err)
}

func isBroken(err error) bool {
	var n net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE) || errors.As(err, &n) && !n.Timeout()
}

// Ping says whether the store answers.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Sequence(ctx)
	return err
}

// Retries counts the transactions that were tried again.
func (s *Store) Retries() int64 { return s.retries.Load() }

// Close ends the use of the store.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// query runs a statement and gives each row to scan.
func query(ctx context.Context, tx pgx.Tx, scan func(pgx.Rows) error, statement string, args ...any) error {
	rows, err := tx.Query(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// micro is a time as it is kept: microseconds since 1970, and 0 for none.
func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
