//go:build kills

package kills_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/memory"
)

// webhook is who is told what is newly affected.
type webhook struct {
	url string

	mu  sync.Mutex
	got map[string][]string // bodies by the batch's identifier
}

func newWebhook(t *testing.T) *webhook {
	w := &webhook{got: map[string][]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender was killed
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		id := r.Header.Get("X-Hallmark-Delivery")
		w.got[id] = append(w.got[id], string(body))
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// check holds that every import's news was recorded once and told at least
// once, always in the same words under the same identifier. A batch may come
// twice: who is killed after telling and before writing that down tells again.
func (w *webhook) check(t *testing.T, c *checker) {
	t.Helper()
	until(t, "all events are delivered", func() bool {
		s := c.open()
		defer s.Close()
		events, err := s.Events(t.Context(), 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if !e.Delivered {
				return false
			}
		}
		imports, err := s.Imports(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range imports {
			if !i.Announced {
				return false
			}
		}
		return len(events) >= c.version
	})
	s := c.open()
	defer s.Close()
	events, err := s.Events(t.Context(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	twice := 0
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		b, err := memory.ReadBatch(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range b.Events {
			told[one.ID]++
		}
		if len(w.got[e.ID]) == 0 {
			t.Errorf("batch %s never came", e.ID)
		}
		for _, body := range w.got[e.ID] {
			if body != string(e.Body) {
				t.Errorf("batch %s came in other words than were recorded", e.ID)
			}
		}
		twice += max(0, len(w.got[e.ID])-1)
	}
	if len(w.got) != len(events) {
		t.Errorf("%d batches came and %d were recorded", len(w.got), len(events))
	}
	for version := range c.version {
		if n := told[newID(version+1)]; n != 1 {
			t.Errorf("%s was told as newly affecting %d times", newID(version+1), n)
		}
	}
	// The first data set came before or after images that it hits.
	for id, n := range told {
		if n > 1 {
			t.Errorf("%s was told as newly affecting %d times", id, n)
		}
	}
	t.Logf("%d imports, %d batches recorded, %d told twice", c.version, len(events), twice)
}
