// Package sqlite is the store for one machine: one file, in the process, with
// nothing to set up.
//
// The file is in SQLite's write-ahead mode and flushed at every commit, so what
// a method has acknowledged survives the machine. Several processes on the same
// machine may use the file; on a network file system it must not be used at
// all (https://sqlite.org/wal.html).
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	_ "github.com/glebarez/go-sqlite" // The driver named "sqlite", the one grype links too.

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// patience is how long a transaction waits for others before it gives up.
const patience = 15 * time.Second

// cached bounds the numbers of packages kept in memory, some 20 MB.
const cached = 256 << 10

// Store is a store in one file.
type Store struct {
	path    string
	writer  *sql.DB // one connection
	reader  *sql.DB
	retries atomic.Int64
	// holder is this store's name on leases, and importing is held by its one
	// import: a lease of that name which nobody here holds is of an import that
	// could not even clear up behind itself, as on a full disk.
	holder    string
	importing sync.Mutex
	lease     time.Duration // leaseTime, but in tests

	// writing serialises the writers of this process, and guards numbers.
	writing sync.Mutex
	// numbers are committed packages by key.
	numbers map[store.Key]number
}

type number struct {
	id    uint32
	noted bool
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a file, which is made when it does not exist,
// readable for its owner only.
func Open(ctx context.Context, path string) (*Store, error) {
	s, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("opening store %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, hint.Add(err, "the folder of --db must exist and be writable")
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	s := &Store{path: path, holder: rand.Text(), lease: leaseTime, numbers: map[store.Key]number{}}
	if s.writer, err = connect(path, 1, "&_txlock=immediate"); err != nil {
		return nil, err
	}
	if s.reader, err = connect(path, 8, "&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(err, s.writer.Close())
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func connect(path string, most int, options string) (*sql.DB, error) {
	name := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String()
	db, err := sql.Open("sqlite", name+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"+options)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	return db, nil
}

// write runs f in one transaction, again when another process was in the way.
func (s *Store) write(ctx context.Context, f func(*sql.Tx) error) error {
	again := false
	try := func() (struct{}, error) {
		if again {
			s.retries.Add(1)
		}
		again = true
		err := s.once(ctx, f)
		if err != nil && !passing(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	_, err := backoff.Retry(ctx, try, backoff.WithMaxElapsedTime(patience))
	if passing(err) {
		err = fmt.Errorf("%w: %w", store.ErrBusy, err)
	}
	return kind(err)
}

func (s *Store) once(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// read runs f in one transaction that sees the store as it stood when it began.
func (s *Store) read(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return kind(err)
	}
	defer tx.Rollback()
	return kind(f(tx))
}

// Ping says whether the store answers.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Sequence(ctx)
	return err
}

// Retries counts the transactions that were tried again.
func (s *Store) Retries() int64 { return s.retries.Load() }

// Close ends the use of the store.
func (s *Store) Close() error { return errors.Join(s.reader.Close(), s.writer.Close()) }

// Backup writes a copy of the store, as it stands at one instant, into a new
// file, while others go on reading and writing.
func (s *Store) Backup(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return hint.Add(fmt.Errorf("writing backup %s: the file exists", path), "name a new file: a backup never overwrites another")
	}
	db, err := connect(s.path, 1, "")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, path); err != nil {
		return fmt.Errorf("writing backup %s: %w", path, errors.Join(kind(err), os.RemoveAll(path)))
	}
	return os.Chmod(path, 0o600)
}

// query runs a statement and gives each row to scan.
func query(ctx context.Context, tx *sql.Tx, scan func(*sql.Rows) error, statement string, args ...any) error {
	rows, err := tx.QueryContext(ctx, statement, args...)
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
