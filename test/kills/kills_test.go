//go:build kills

package kills_test

import (
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

var (
	kills = flag.Int("kills", 50, "how often each test kills a service")
	seed  = flag.Uint64("seed", 0, "what the random points come from; 0 for the time")
)

// chance gives the numbers of a test, and prints what they come from.
func chance(t *testing.T) *rand.Rand {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d repeats the random points; how far a process is at each, no seed can repeat", *seed)
	return rand.New(rand.NewPCG(*seed, 1))
}

const (
	writers = 6
	readers = 2
	// longest is how long a process lives at most under load.
	longest = 600 * time.Millisecond
)

// TestKilledOnSQLite kills the one service of a SQLite file.
func TestKilledOnSQLite(t *testing.T) {
	r := chance(t)
	file := filepath.Join(t.TempDir(), "hallmark.db")
	hook := newWebhook(t)
	scene := release(t, 2)
	s := &service{t: t, name: "the service", dir: scene.dir, args: []string{"--db", file, "--webhook", hook.url}}
	c := &checker{ledger: newLedger(t), open: func() store.Store {
		opened, err := sqlite.Open(t.Context(), file)
		if err != nil {
			t.Fatalf("the store does not open: %v", err)
		}
		return opened
	}}
	c.verified = scene.images
	l := s.start()
	c.prepare(l)
	for n := 0; c.more(n, *kills); n++ {
		when := fmt.Sprintf("kill %d", n+1)
		var group sync.WaitGroup
		stop := c.load(&group, l, c.verified, r.Uint64())
		group.Go(func() { c.advise(l, stop) })
		pass(r)
		c.kill(l)
		close(stop)
		group.Wait()
		c.store(t, when)
		endLease(t, file)
		if n%10 == 9 { // Killed again while it starts.
			l = s.begin()
			pass(r)
			l.kill()
			c.store(t, when+", and while starting")
			c.met("a start")
		}
		l = s.start()
		c.answers(t, when, l, r)
		if t.Failed() {
			t.Fatalf("%s: stopped here", when)
		}
	}
	c.lastImport(l)
	hook.check(t, c)
	c.summary(t, *kills)
	l.kill()
}

// pass lets a random time pass.
func pass(r *rand.Rand) { <-time.After(time.Duration(r.Int64N(int64(longest)))) }

// endLease ends by hand what a killed import holds until its time is over, so
// that the next kill meets an import too.
func endLease(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `UPDATE leases SET until = 0`); err != nil {
		t.Fatal(err)
	}
}

// load has clients write to and read from a process until the channel is
// closed.
func (l *ledger) load(group *sync.WaitGroup, to *life, images []*verified, seed uint64) (stop chan struct{}) {
	stop = make(chan struct{})
	for range writers {
		group.Go(func() { l.intake(to, stop) })
	}
	for n := range uint64(readers) {
		group.Go(func() { l.read(to, seed+n, stop) })
	}
	for _, v := range images {
		group.Go(func() { l.verify(to, v, stop) })
	}
	return stop
}

// kill kills a process, and notes what the kill meets.
func (c *checker) kill(l *life) {
	if l.sending.Load() > 0 {
		c.met("documents on their way")
	}
	if l.importing.Load() {
		c.met("an import under way")
	}
	l.kill()
}

// more says that there must be another kill: there are as many as were asked
// for, and on a slow machine, whose processes get to do little before they die,
// up to twice as many until they have met enough.
func (c *checker) more(done, asked int) bool {
	return done < asked || done < 2*asked && c.little(asked)
}

// little says that the kills met too little to prove anything.
func (c *checker) little(kills int) bool {
	return c.died["documents on their way"] < kills/2 || c.died["an import under way"] < kills/8 || len(c.acked) < 10*kills
}

// summary says what the kills met, and fails when they met too little to prove
// anything.
func (c *checker) summary(t *testing.T, kills int) {
	t.Helper()
	t.Logf("%d documents acknowledged, %d sent; %d questions answered meanwhile", len(c.acked), c.next, c.questions.Load())
	for what, n := range c.died {
		t.Logf("%3d kills met %s", n, what)
	}
	if c.little(kills) {
		t.Error("the kills met too little")
	}
}

// lastImport imports once more when a kill has left an import's lease behind:
// it is refused as long as the dead import may be alive, and no longer.
func (c *checker) lastImport(l *life) {
	c.t.Helper()
	c.adviseOnce(l)
}
