package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hallmark-sh/hallmark/bench/distance"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/postgres"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

// closing is a store that can be closed, as both drivers' can.
type closing interface {
	store.Store
	Close() error
}

func openStore(ctx context.Context, where string) (closing, error) {
	if strings.HasPrefix(where, "postgres://") {
		return postgres.Open(ctx, where)
	}
	return sqlite.Open(ctx, where)
}

// onPostgres is what the same estate gave on PostgreSQL, with two replicas of
// the service.
type onPostgres struct {
	intake          float64       // images a second, the estate taken in
	start, second   time.Duration // the first replica and the one beside it
	loaded          int64         // resident memory of the first once started
	paced           pace          // one replica taking in
	shared          pace          // two, half of the documents each
	away            pace          // one, with the database a network's length away
	fresh, followed time.Duration // an advisory until answered: where it was imported, and by the other
}

// length is how far away the database is of which that is measured: as much as
// lies between two machines of one region.
const length = time.Millisecond

// replicas are two services on one database of PostgreSQL.
type replicas struct{ one, two *server }

func (r *replicas) stop() {
	for _, s := range []**server{&r.one, &r.two} {
		if *s != nil {
			(*s).stop()
			*s = nil
		}
	}
}

// startReplicas takes the estate into an empty database and serves it twice.
func (b *bench) startReplicas(ctx context.Context, f *onPostgres) (*replicas, error) {
	where, err := b.database(ctx, fmt.Sprintf("estate_%d", b.images))
	if err != nil {
		return nil, err
	}
	progress("filling a store in PostgreSQL")
	if f.intake, err = b.fill(ctx, where); err != nil {
		return nil, fmt.Errorf("filling the store: %w", err)
	}
	r := &replicas{}
	if r.one, err = startServer(ctx, where); err != nil {
		return nil, err
	}
	r.one.called = "hallmark on PostgreSQL, over HTTP"
	f.start, f.loaded = r.one.start, r.one.resident()
	if r.two, err = startServer(ctx, where); err != nil {
		r.stop()
		return nil, err
	}
	f.second = r.two.start
	progress("two replicas on PostgreSQL were ready after %v and %v", f.start.Round(time.Millisecond), f.second.Round(time.Millisecond))
	return r, nil
}

// database makes an empty database and gives its URL.
func (b *bench) database(ctx context.Context, name string) (string, error) {
	at, err := url.Parse(b.postgres)
	if err != nil {
		return "", err
	}
	c, err := pgx.Connect(ctx, b.postgres)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	for _, statement := range []string{"DROP DATABASE IF EXISTS ", "CREATE DATABASE "} {
		if _, err := c.Exec(ctx, statement+name); err != nil {
			return "", err
		}
	}
	at.Path = "/" + name
	return at.String(), nil
}

// afar gives the URL of the same database, length away.
func afar(where string) (string, *distance.Line, error) {
	config, err := pgx.ParseConfig(where)
	if err != nil {
		return "", nil, err
	}
	network, server := pgconn.NetworkAddress(config.Host, config.Port)
	line, err := distance.Listen("127.0.0.1:0", network, server, length)
	if err != nil {
		return "", nil, err
	}
	at, err := url.Parse(where)
	if err != nil {
		return "", nil, errors.Join(err, line.Close())
	}
	options := at.Query()
	options.Del("host")
	options.Del("port")
	if network == "unix" {
		options.Set("sslmode", "disable")
	}
	at.Host, at.RawQuery = line.Addr(), options.Encode()
	return at.String(), line, nil
}

// finishPostgres measures what writes, once all questions are asked.
func (b *bench) finishPostgres(ctx context.Context, r *replicas, f *onPostgres) (err error) {
	if f.fresh, f.followed, err = b.freshness(ctx, r.one, r.two); err != nil {
		return err
	}
	r.stop() // What is left needs the processors for itself.
	for _, run := range []struct {
		name     string
		into     *pace
		replicas int
	}{{"one", &f.paced, 1}, {"two", &f.shared, 2}, {"away", &f.away, 1}} {
		where, err := b.database(ctx, fmt.Sprintf("pace_%s_%d", run.name, b.images))
		if err != nil {
			return err
		}
		if *run.into, err = b.paceAt(ctx, where, run.replicas, run.into == &f.away); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) paceAt(ctx context.Context, where string, replicas int, away bool) (p pace, err error) {
	if away {
		at, line, err := afar(where)
		if err != nil {
			return p, err
		}
		defer line.Close()
		where = at
	}
	return b.pace(ctx, where, replicas)
}

func (b *bench) paceFile() string { return filepath.Join(b.dir, fmt.Sprintf("pace-%d.db", b.images)) }
