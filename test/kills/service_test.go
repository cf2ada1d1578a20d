//go:build kills

// Package kills_test kills real services of the memory with SIGKILL at random
// points while they take in images and advisories, fills their disk, and holds
// what is left against what was acknowledged: nothing lost, nothing in part,
// nothing twice.
package kills_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// service is how one replica is started, again and again.
type service struct {
	t       *testing.T
	name    string
	dir     string // where hallmark.yaml is
	args    []string
	wrapper []string // a program that starts it, such as nsenter
	full    bool     // its disk is full at times, of which its log may tell
}

// life is one process of a service, from its start to its end.
type life struct {
	*service
	cmd    *exec.Cmd
	base   string
	client *http.Client
	// dying is set before the process is killed: from then on a request may
	// end in any way.
	dying atomic.Bool
	// sending counts the documents on their way to it.
	sending   atomic.Int64
	importing atomic.Bool
	ready     chan struct{}
	ended     chan struct{}

	mu    sync.Mutex
	wrong []string // what its log tells of errors
	log   bytes.Buffer
}

func program(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/hallmark")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the program is not built: make build: %v", err)
	}
	return path
}

// begin starts a process and does not wait until it serves.
func (s *service) begin() *life {
	s.t.Helper()
	args := append(append([]string{}, s.wrapper...), program(s.t), "serve", "--listen", "127.0.0.1:0", "--unverified", "--intakes", "64")
	args = append(args, s.args...)
	l := &life{service: s, cmd: exec.Command(args[0], args[1:]...), ready: make(chan struct{}), ended: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: time.Minute}}
	l.cmd.Dir = s.dir
	l.cmd.Env = append(os.Environ(), "HALLMARK_DB=", "HALLMARK_TOKEN=", "OTEL_EXPORTER_OTLP_ENDPOINT=")
	errs, err := l.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(l.ended)
		l.read(errs)
		l.cmd.Wait()
	}()
	s.t.Cleanup(l.kill)
	return l
}

// start starts a process and waits until it serves.
func (s *service) start() *life {
	s.t.Helper()
	l := s.begin()
	select {
	case <-l.ready:
	case <-l.ended:
		s.t.Fatalf("%s did not start:\n%s", s.name, l.log.String())
	case <-time.After(time.Minute):
		s.t.Fatalf("%s does not serve after a minute:\n%s", s.name, l.log.String())
	}
	return l
}

// read follows the log.
func (l *life) read(errs io.Reader) {
	for lines := bufio.NewScanner(errs); lines.Scan(); {
		var line struct{ Level, Msg, Address string }
		text := lines.Text()
		bad := json.Unmarshal([]byte(text), &line) != nil || line.Level == "ERROR"
		l.mu.Lock()
		if bad && !l.dying.Load() && !(l.full && strings.Contains(text, store.ErrFull.Error())) {
			l.wrong = append(l.wrong, text)
		}
		if l.log.Len() < 64<<10 && line.Level != "WARN" {
			l.log.WriteString(text + "\n")
		}
		l.mu.Unlock()
		if line.Msg == "serving" {
			l.base = line.Address
			close(l.ready)
		}
	}
}

// kill ends the process as kill -9 does.
func (l *life) kill() {
	if l.dying.Swap(true) {
		<-l.ended
		return
	}
	l.cmd.Process.Signal(syscall.SIGKILL)
	<-l.ended
	l.client.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.wrong {
		l.t.Errorf("%s tells of an error: %s", l.name, line)
	}
	l.wrong = nil
}

// reply is how a request ended. Lost means that the process was killed
// meanwhile, and nobody knows what became of it.
type reply struct {
	status int
	body   []byte
	lost   bool
}

func (l *life) send(method, path, kind string, body []byte) reply {
	req, err := http.NewRequest(method, l.base+path, bytes.NewReader(body))
	if err != nil {
		l.t.Error(err)
		return reply{lost: true}
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := l.client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
	}
	if err != nil {
		if !l.dying.Load() {
			l.t.Errorf("%s lives and did not answer: %v", l.name, err)
		}
		return reply{lost: true}
	}
	return reply{status: resp.StatusCode, body: body}
}

// ask asks a question, whose answer must come unless the process is killed.
func (l *life) ask(path string, into any) (found bool) {
	r := l.send(http.MethodGet, path, "", nil)
	switch {
	case r.lost || r.status == http.StatusNotFound:
		return false
	case r.status != http.StatusOK:
		l.t.Errorf("%s: %s: %d %s", l.name, path, r.status, r.body)
		return false
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		l.t.Errorf("%s: %s: %v", l.name, path, err)
		return false
	}
	return true
}

// metric is the value of a metric without labels.
func (l *life) metric(name string) (value float64) {
	for line := range strings.Lines(string(l.send(http.MethodGet, "/metrics", "", nil).body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			fmt.Sscan(rest, &value)
		}
	}
	return value
}

// caughtUp waits until the replica's answers are those of the store.
func (l *life) caughtUp() {
	l.t.Helper()
	until(l.t, l.name+" has what the store has", func() bool {
		var s struct {
			Index         struct{ Epoch int64 }
			StoreSequence int64
		}
		return l.ask("/v1/status", &s) && s.Index.Epoch == s.StoreSequence
	})
}

// until waits for something that must come.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for this: %s", what)
		}
	}
}
