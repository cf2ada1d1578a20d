//go:build postgres

package postgres_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/postgres"
	"github.com/hallmark-sh/hallmark/internal/store/postgres/postgrestest"
	"github.com/hallmark-sh/hallmark/internal/store/storetest"
)

func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	server := postgrestest.Start(t, false)
	urls := map[string]string{}
	storetest.Run(t, func(t testing.TB, name string) store.Store {
		key := t.Name() + "/" + name
		if urls[key] == "" {
			urls[key] = server.Database(t)
		}
		return open(t, urls[key])
	})
}

func exec(t *testing.T, url, statement string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if _, err := c.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestOpening(t *testing.T) {
	server := postgrestest.Start(t, true)

	t.Run("newer schema", func(t *testing.T) {
		url := server.Database(t)
		open(t, url).Close()
		exec(t, url, `INSERT INTO hallmark_schema (version) VALUES (99)`)
		if _, err := postgres.Open(t.Context(), url); !errors.Is(err, store.ErrNewerSchema) || hint.Of(err) == "" {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("another program's table", func(t *testing.T) {
		url := server.Database(t)
		exec(t, url, `CREATE TABLE images (path text)`)
		if _, err := postgres.Open(t.Context(), url); !errors.Is(err, store.ErrForeign) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("two replicas at once", func(t *testing.T) {
		url := server.Database(t)
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				s, err := postgres.Open(context.WithoutCancel(t.Context()), url)
				if err != nil {
					t.Error(err)
					return
				}
				s.Close()
			})
		}
		group.Wait()
	})
	t.Run("a password is not told", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := postgres.Open(ctx, "postgres://u:s3cret@127.0.0.1:1/x?sslmode=disable&connect_timeout=1")
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error is %v", err)
		}
		_, err = postgres.Open(t.Context(), "postgres://u:s3cret@host:nonsense/x")
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("every isolation level", func(t *testing.T) {
		url := server.Database(t)
		exec(t, url, `ALTER ROLE hallmark SET default_transaction_isolation = 'serializable'`)
		defer exec(t, url, `ALTER ROLE hallmark RESET default_transaction_isolation`)
		a, b := open(t, url), open(t, url)
		var group sync.WaitGroup
		for _, s := range []*postgres.Store{a, b} {
			group.Go(func() {
				for n := range 30 {
					if _, err := s.Put(context.WithoutCancel(t.Context()), []store.Arrival{storetest.Arrival(n, n, n+1)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		c := storetest.Load(t, a)
		c.Check(t)
		if len(c.Images) != 30 || a.Retries()+b.Retries() == 0 {
			t.Errorf("%d images, %d retries", len(c.Images), a.Retries()+b.Retries())
		}
	})
	t.Run("the server is cut off", func(t *testing.T) {
		url := server.Database(t)
		s := open(t, url)
		if _, err := s.Put(t.Context(), []store.Arrival{storetest.Arrival(1, 1)}); err != nil {
			t.Fatal(err)
		}
		server.Restart(t)
		if _, err := s.Put(t.Context(), []store.Arrival{storetest.Arrival(2, 1, 2)}); err != nil {
			t.Fatalf("after a restart of the server: %v", err)
		}
		if c := storetest.Load(t, s); len(c.Images) != 2 {
			t.Errorf("%d images", len(c.Images))
		}
	})
}
