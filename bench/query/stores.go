package main

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

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
	start, second   time.Duration // the first replica and the one beside it
	loaded          int64         // resident memory of the first once started
	paced           float64       // documents a second, read and taken in
	fresh, followed time.Duration // an advisory until answered: where it was imported, and by the other
}

// replicas are two services on one database of PostgreSQL.
type replicas struct{ one, two *server }

func (r *replicas) stop() {
	r.one.stop()
	if r.two != nil {
		r.two.stop()
	}
}

// startReplicas copies a store's file into an empty database and serves it
// twice.
func (b *bench) startReplicas(ctx context.Context, file string, f *onPostgres) (*replicas, error) {
	where, err := b.database(ctx, fmt.Sprintf("estate_%d", b.images))
	if err != nil {
		return nil, err
	}
	progress("copying the store to PostgreSQL")
	if err := copyStore(ctx, where, file); err != nil {
		return nil, fmt.Errorf("copying the store: %w", err)
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

func copyStore(ctx context.Context, to, from string) error {
	source, err := openStore(ctx, from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := openStore(ctx, to)
	if err != nil {
		return err
	}
	defer target.Close()
	_, err = store.Copy(ctx, target, source)
	return err
}

// finishPostgres measures what writes, once all questions are asked.
func (b *bench) finishPostgres(ctx context.Context, r *replicas, f *onPostgres) error {
	where, err := b.database(ctx, fmt.Sprintf("pace_%d", b.images))
	if err != nil {
		return err
	}
	if f.paced, _, err = b.pace(ctx, where); err != nil {
		return err
	}
	f.fresh, f.followed, err = b.freshness(ctx, r.one, r.two)
	return err
}

func (b *bench) paceFile() string { return filepath.Join(b.dir, fmt.Sprintf("pace-%d.db", b.images)) }
