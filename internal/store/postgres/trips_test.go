//go:build postgres

package postgres_test

import (
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/postgres/postgrestest"
	"github.com/hallmark-sh/hallmark/internal/store/storetest"
)

// counted gives the URL of the same database behind a proxy that counts how
// often its client waits for an answer.
func counted(t *testing.T, at string) (string, *atomic.Int64) {
	t.Helper()
	config, err := pgx.ParseConfig(at)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var trips atomic.Int64
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(pgconn.NetworkAddress(config.Host, config.Port))
			if err != nil {
				client.Close()
				continue
			}
			go func() { io.Copy(client, server); client.Close() }()
			go func() { watch(client, server, &trips); server.Close() }()
		}
	}()
	u := url.URL{Scheme: "postgres", User: url.User(config.User), Host: l.Addr().String(), Path: "/" + config.Database,
		RawQuery: "sslmode=disable&pool_max_conns=1"}
	return u.String(), &trips
}

// watch passes on what the client says, and counts the messages that ask for
// an answer to all before them.
func watch(client io.Reader, server io.Writer, trips *atomic.Int64) {
	said := pgproto3.NewBackend(io.TeeReader(client, server), io.Discard)
	if _, err := said.ReceiveStartupMessage(); err != nil {
		return
	}
	for {
		m, err := said.Receive()
		if err != nil {
			return
		}
		switch m.(type) {
		case *pgproto3.Query, *pgproto3.Sync:
			trips.Add(1)
		}
	}
}

// Many images go over the network as often as one, when they are taken in and
// when another replica follows: with a millisecond to the database, a trip for
// each would bring intake to a standstill.
func TestRoundTrips(t *testing.T) {
	where, trips := counted(t, postgrestest.Start(t, false).Database(t))
	s := open(t, where)
	batch := func(from, images int) (out []store.Arrival) {
		for n := range images {
			out = append(out, storetest.Arrival(from+n, from+n, from+n+1))
		}
		return out
	}
	var seq int64
	var top uint32
	take := func(batch []store.Arrival) (put, followed int64) {
		before := trips.Load()
		if _, err := s.Put(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		between := trips.Load()
		d, err := s.Changes(t.Context(), seq, top, 500)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Changes) != len(batch) {
			t.Fatalf("%d changes of %d images", len(d.Changes), len(batch))
		}
		seq, top = d.Changes[len(d.Changes)-1].Seq, d.Packages[len(d.Packages)-1].ID
		return between - before, trips.Load() - between
	}
	take(batch(1000, 1)) // The statements get known to the connection.
	put, followed := take(batch(2000, 1))
	if put == 0 || followed == 0 {
		t.Fatal("no trip was counted")
	}
	puts, follows := take(batch(3000, 200))
	if puts != put || follows != followed {
		t.Errorf("200 images take %d trips, and %d to follow; one takes %d and %d", puts, follows, put, followed)
	}
	t.Logf("%d trips to take in, %d to follow", puts, follows)
}
