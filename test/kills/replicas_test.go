//go:build kills

package kills_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/postgres"
	"github.com/hallmark-sh/hallmark/internal/store/postgres/postgrestest"
)

// TestKilledReplicas has two replicas on one PostgreSQL take in images and
// advisories side by side, and kills one or the other. The one that is left
// answers every request, and takes in what the other's clients send again.
func TestKilledReplicas(t *testing.T) {
	server := postgrestest.Start(t, false) // The server itself is not killed.
	images := release(t, 2)
	for _, isolation := range []string{"read committed", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			url := server.Database(t)
			execute(t, url, fmt.Sprintf("ALTER ROLE hallmark SET default_transaction_isolation = '%s'", isolation))
			killReplicas(t, url, images, (*kills+1)/2, isolation == "serializable")
		})
	}
}

func killReplicas(t *testing.T, url string, scene *scene, kills int, retries bool) {
	r := chance(t)
	hook := newWebhook(t)
	c := &checker{ledger: newLedger(t), orphans: true, open: func() store.Store {
		opened, err := postgres.Open(t.Context(), url)
		if err != nil {
			t.Fatalf("the store does not open: %v", err)
		}
		return opened
	}}
	for _, i := range scene.images {
		c.verified = append(c.verified, &verified{image: i.image})
	}
	var lives [2]*life
	for n := range lives {
		s := &service{t: t, name: fmt.Sprintf("replica %d", n+1), dir: scene.dir, args: []string{"--db", url, "--webhook", hook.url}}
		lives[n] = s.start()
	}
	c.prepare(lives[0])
	again := 0.0
	for n := 0; c.more(n, kills); n++ {
		when := fmt.Sprintf("kill %d", n+1)
		victim := r.IntN(2)
		var group sync.WaitGroup
		stop := [2]chan struct{}{}
		for k, l := range lives {
			stop[k] = c.load(&group, l, c.verified[k:k+1], r.Uint64())
		}
		importer := r.IntN(2)
		group.Go(func() { c.advise(lives[importer], stop[importer]) })
		pass(r)
		c.kill(lives[victim])
		close(stop[victim])
		// The other goes on while this one comes back.
		reborn := lives[victim].service.start()
		pass(r)
		close(stop[1-victim])
		group.Wait()
		lives[victim] = reborn
		c.store(t, when)
		execute(t, url, "UPDATE leases SET until = 0") // As in endLease.
		for _, l := range lives {
			c.answers(t, when, l, r)
		}
		again += lives[1-victim].metric("hallmark_store_retries_total")
		if t.Failed() {
			t.Fatalf("%s: stopped here", when)
		}
	}
	c.lastImport(lives[0])
	hook.check(t, c)
	c.summary(t, kills)
	t.Logf("transactions tried again: %.0f", again)
	if retries && again == 0 {
		t.Error("no transaction had to be tried again")
	}
	for _, l := range lives {
		l.kill()
	}
}

func execute(t *testing.T, url, statement string) {
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
