package advisory

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// mirror is a web server of a folder that can be told to fail. It keeps a log
// of what it was asked, in the order it was asked, and what it answered.
type mirror struct {
	*httptest.Server
	mu     sync.Mutex
	faults []http.HandlerFunc // for the next requests of the archive, in order
	log    []*exchange
}

type exchange struct {
	code        int
	name, bytes string
}

func serve(t *testing.T, dir string) *mirror {
	t.Helper()
	m := &mirror{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := &exchange{code: 200, name: path.Base(r.URL.Path), bytes: r.Header.Get("Range")}
		m.mu.Lock()
		m.log = append(m.log, asked)
		var fault http.HandlerFunc
		if len(m.faults) > 0 && strings.Contains(r.URL.Path, ".tar") {
			fault, m.faults = m.faults[0], m.faults[1:]
		}
		m.mu.Unlock()
		rec := &recorder{w, m, asked}
		if fault != nil {
			fault(rec, r)
			return
		}
		file := filepath.Join(dir, filepath.FromSlash(path.Clean(r.URL.Path)))
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			rec.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
		}
		http.ServeFile(rec, r, file)
	}))
	t.Cleanup(m.Close)
	return m
}

type recorder struct {
	http.ResponseWriter
	m     *mirror
	asked *exchange
}

func (r *recorder) WriteHeader(code int) {
	r.m.mu.Lock()
	r.asked.code = code
	r.m.mu.Unlock()
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (m *mirror) fail(faults ...http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = faults
}

// took gives the log and empties it.
func (m *mirror) took() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, e := range m.log {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s %s", e.code, e.name, e.bytes)))
	}
	m.log = nil
	return out
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// cut answers with the first n bytes of the file and breaks the connection.
func cut(file string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		data, _ := os.ReadFile(file)
		info, _ := os.Stat(file)
		w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data[:n])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func reset(w http.ResponseWriter, _ *http.Request) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// hang answers nothing until the client gives up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func remoteOptions(t *testing.T, from string) Options {
	return Options{From: from, CacheDir: t.TempDir(), patience: patience{first: time.Millisecond, tries: 4, idle: time.Minute}}
}

type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route")
}
