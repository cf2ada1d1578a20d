//go:build kills

package kills_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// ledger is what the clients know: what they sent, and what was acknowledged.
type ledger struct {
	t *testing.T

	mu    sync.Mutex
	next  int
	lost  []int // documents whose outcome nobody knows, to be sent again
	acked []int // documents, in the order of their acknowledgement
	known map[string]document
	// version is the newest data set that is known to be in, trying the one
	// that is being imported, or was when the process died; or zero.
	version, trying int
	// verified are the images with real evidence, by reference.
	verified []*verified

	questions atomic.Int64
}

func newLedger(t *testing.T) *ledger { return &ledger{t: t, known: map[string]document{}} }

// take gives a document to send, and whether it was sent before.
func (l *ledger) take() (n int, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := len(l.lost); k > 0 {
		n, l.lost = l.lost[k-1], l.lost[:k-1]
		return n, true
	}
	l.next++
	d := documentOf(l.next)
	l.known[d.digest] = d
	return l.next, false
}

func (l *ledger) settle(n int, acked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if acked {
		l.acked = append(l.acked, n)
	} else {
		l.lost = append(l.lost, n)
	}
}

// result is what intake says of an image.
type result struct {
	Result           store.Result
	Evidence, Digest string
	Packages         int
}

// intake sends documents to a process until stop, one after the other.
func (l *ledger) intake(to *life, stop <-chan struct{}) {
	for open(stop) {
		n, again := l.take()
		d := documentOf(n)
		to.sending.Add(1)
		r := to.send(http.MethodPost, "/v1/sboms?image="+url.QueryEscape(d.image), "application/json", d.raw)
		to.sending.Add(-1)
		if r.lost {
			l.settle(n, false)
			return
		}
		var got result
		if err := json.Unmarshal(r.body, &got); r.status != http.StatusOK || err != nil {
			l.t.Errorf("%s: document %d: %d %s", to.name, n, r.status, r.body)
			l.settle(n, false)
			return
		}
		if got.Result != store.Stored && (got.Result != store.Unchanged || !again) || got.Evidence != d.evidence || got.Packages != len(d.packages) {
			l.t.Errorf("%s: document %d (sent before: %v): %+v", to.name, n, again, got)
		}
		l.settle(n, true)
	}
}

// advise imports one data set after the other, until stop.
func (l *ledger) advise(to *life, stop <-chan struct{}) {
	for open(stop) && !to.dying.Load() {
		l.adviseOnce(to)
	}
}

func (l *ledger) adviseOnce(to *life) {
	l.mu.Lock()
	l.trying = l.version + 1
	version := l.trying
	l.mu.Unlock()
	to.importing.Store(true)
	r := to.send(http.MethodPost, "/v1/advisories?source=kills", "application/x-ndjson", dataset(l.t, version))
	to.importing.Store(false)
	if r.lost {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trying = 0
	if r.status != http.StatusOK {
		l.t.Errorf("%s: importing data set %d: %d %s", to.name, version, r.status, r.body)
		return
	}
	l.version = version
}

// read asks questions until stop. What an answer must hold at every moment is
// little; what matters is that it comes.
func (l *ledger) read(from *life, seed uint64, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(seed, 7))
	for open(stop) && !from.dying.Load() {
		path := []string{
			fmt.Sprintf("/v1/who-has?package=%s", url.QueryEscape(fmt.Sprintf("pkg:pypi/common-%d", r.IntN(common)))),
			fmt.Sprintf("/v1/affected/KILL-%d", r.IntN(common)),
			"/v1/top?kind=packages",
			"/v1/status",
		}[r.IntN(4)]
		var answer struct {
			Vulnerability struct{ Summary string }
			Total         int
			Images        []struct{ Digest string }
		}
		from.ask(path, &answer)
		if strings.HasPrefix(path, "/v1/affected") && len(answer.Images) > answer.Total {
			l.t.Errorf("%s: %s: %d images on a page, %d in all", from.name, path, len(answer.Images), answer.Total)
		}
		l.questions.Add(1)
	}
}

// verified is an image with real evidence, which one client takes in and
// retires over and over.
type verified struct {
	image, digest, evidence string
	packages                int
	// records is how many the store has at least; more says that one more is
	// possible, because an intake was lost.
	records int
	more    bool
	// standing is whether it stands, as far as is known.
	standing, unsure bool
}

// verify takes a verified image in, and retires it, until stop.
func (l *ledger) verify(to *life, v *verified, stop <-chan struct{}) {
	for open(stop) {
		l.mu.Lock()
		standing := v.standing
		v.unsure = true
		v.more = !standing
		l.mu.Unlock()
		if standing {
			r := to.send(http.MethodDelete, "/v1/images/"+v.digest, "", nil)
			if r.lost {
				return
			}
			if r.status != http.StatusNoContent {
				l.t.Errorf("%s: retiring %s: %d %s", to.name, v.digest, r.status, r.body)
			}
		} else {
			got, ok := take(to, v.image)
			if !ok {
				return
			}
			if got.Result != store.Stored || got.Evidence != v.evidence || got.Packages != v.packages {
				l.t.Errorf("%s: taking in %s: %+v, wanted %+v", to.name, v.image, got, v)
			}
			l.mu.Lock()
			v.records++
			l.mu.Unlock()
		}
		l.mu.Lock()
		v.standing, v.unsure, v.more = !standing, false, false
		l.mu.Unlock()
	}
}

// take takes an image in by its reference, with the evidence in its registry.
func take(to *life, image string) (got result, ok bool) {
	body, _ := json.Marshal(map[string]string{"image": image})
	r := to.send(http.MethodPost, "/v1/images", "application/json", body)
	if r.lost {
		return got, false
	}
	if err := json.Unmarshal(r.body, &got); r.status != http.StatusOK || err != nil {
		to.t.Errorf("%s: taking in %s: %d %s", to.name, image, r.status, r.body)
		return got, false
	}
	return got, true
}

func open(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	default:
		return true
	}
}
