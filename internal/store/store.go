// Package store keeps what the memory knows for good: which image holds which
// packages, by which evidence; the advisory rows that were known and when; what
// was refused and why; and the events that are still to be told.
//
// A [Store] is durable truth and answers no question. Package index answers
// questions from memory; package memory feeds it from a store, at start by
// [Store.Load] and from then on by the change log, [Store.Changes]. There are
// two stores with SQL and migrations of their own: package sqlite for one
// machine, package postgres for several replicas side by side. Package
// storetest holds both to one suite.
//
// Nothing is ever overwritten that an earlier answer rested on. An image whose
// evidence changes gets a new record and the old one an end; an advisory row
// that is gone keeps the number of the import that dropped it. So every answer
// can be given as of an earlier time.
//
// What a package or an advisory means is not known here: they come and go as a
// key and a body. The packages' names and versions therefore never become part
// of a statement of SQL.
//
// Limits: 2^32-1 packages and image records; times are kept to the microsecond;
// and the documents themselves stay in the registry, by digest.
package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Bounds of what is kept. What is larger is refused before it is written.
const (
	// MaxPackages is how many packages one image may have.
	MaxPackages = 200_000
	// MaxBody is the size of the body of a package, an image or an advisory
	// row, in bytes. It stays below what Postgres-wire engines take as one
	// value.
	MaxBody = 960 << 10
	// MaxBatch is how many arrivals one transaction may hold.
	MaxBatch = 256
)

// The ways in which a store cannot be used. Callers branch on them.
var (
	// ErrNewerSchema: a newer hallmark has written the store.
	ErrNewerSchema = errors.New("the store was written by a newer hallmark")
	// ErrForeign: what is there is a database, and not one of hallmark's.
	ErrForeign = errors.New("not a store of hallmark")
	// ErrCorrupt: what is there is damaged.
	ErrCorrupt = errors.New("the store is damaged")
	// ErrFull: there is no room to write. Nothing of the transaction stays.
	ErrFull = errors.New("no room left to write")
	// ErrBusy: another process holds what only one may hold, such as the
	// right to import advisories.
	ErrBusy = errors.New("held by another process")
	// ErrTooLarge: what was to be written is beyond the bounds above.
	ErrTooLarge = errors.New("larger than a store takes")
	// ErrUnknown: there is no such image.
	ErrUnknown = errors.New("not in the store")
)

// Store is durable truth. Its methods may be called from many goroutines, and
// several processes may use one store at once.
//
// A method that writes is one transaction: when it returns nil its effect
// survives the process, and the machine as far as the database promises, and
// when it returns an error nothing of it stays. (Import is the exception, and
// says how.) Serialisation failures and lost connections are retried for some
// seconds before they are returned; a write whose outcome was lost with the
// connection is repeated safely, because arrivals are told apart by their
// evidence.
//
// Errors wrap one of the package's when they are of its kind. Readers never
// see a part of a write.
type Store interface {
	// Put takes in verified or unverified images, in one transaction, and
	// says for each what became of it. It allots the numbers of packages never
	// seen before.
	Put(ctx context.Context, batch []Arrival) ([]Outcome, error)
	// Refuse records evidence that was refused. The same refusal again counts
	// up and keeps its first time.
	Refuse(ctx context.Context, r Refusal) error
	// Refusals lists refusals that stand, the latest first, at most limit.
	Refusals(ctx context.Context, limit int) ([]Refusal, error)
	// Retire ends the record of an image that is no longer to be answered
	// about from the time at on. It is ErrUnknown when there is none.
	Retire(ctx context.Context, digest string, at time.Time) error

	// Import makes rows the advisories of the providers they name, replacing
	// those they had: a row that is known stays, one that changed gets a new
	// version, and unless the data set is partial the others end. Rows are
	// staged in several transactions and become visible in the last, all at
	// once. A process that dies before leaves nothing visible, and the next
	// import clears it away. Only one import runs at a time; another is
	// ErrBusy.
	Import(ctx context.Context, d Dataset, rows iter.Seq2[Row, error]) (Import, error)
	// Imports lists the finished imports in order.
	Imports(ctx context.Context) ([]Import, error)
	// ImportRows gives the rows that a finished import added, and the names of
	// those that were gone with it.
	ImportRows(ctx context.Context, n int64) (added []Row, gone []string, err error)
	// PutVEX keeps a VEX document. It returns false when it has just that.
	PutVEX(ctx context.Context, v VEX) (bool, error)

	// Load reads everything, as it stood at one instant, and returns the
	// sequence number from which Changes goes on.
	Load(ctx context.Context, into Sink) (int64, error)
	// Sequence is the number of the newest change.
	Sequence(ctx context.Context) (int64, error)
	// Changes gives what happened after a sequence number, in order, at most
	// limit entries; and the packages above the given number, which the
	// entries may refer to.
	Changes(ctx context.Context, after int64, abovePackage uint32, limit int) (Delta, error)

	// Announce records the events of an import, once: it returns false, and
	// records nothing, when another process has done so.
	Announce(ctx context.Context, n int64, events []Event) (bool, error)
	// Events lists events, the newest first, at most limit.
	Events(ctx context.Context, limit int) ([]Event, error)
	// Claim lends the oldest event that is due to be delivered, until the
	// lease ends; nil when there is none.
	Claim(ctx context.Context, now time.Time, lease time.Duration) (*Event, error)
	// Delivered ends an event's delivery; with a reason it is due again at
	// the time next instead.
	Delivered(ctx context.Context, id string, reason string, next time.Time) error

	// Ping says whether the store answers.
	Ping(ctx context.Context) error
	// Dump gives the store's content in the portable form, as it stood at one
	// instant.
	Dump(ctx context.Context, give func(TableRow) error) error
	// Fill puts in what Dump gave. The store must be empty.
	Fill(ctx context.Context, rows iter.Seq2[TableRow, error]) error
	// Retries counts the transactions that were tried again.
	Retries() int64
	Close() error
}
