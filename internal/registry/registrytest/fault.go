package registrytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
)

// Fault disturbs some of the requests. It takes the first fault that fits a
// request.
type Fault struct {
	// Method is exact; empty for any.
	Method string
	// Path is a regular expression that the path must match; empty for any.
	Path string
	// From is the first fitting request that is disturbed, counted from one.
	From int
	// Times is how many are disturbed; zero for all from From on.
	Times int
	Do    Disturbance

	seen int
}

// Disturbance answers a request in place of the registry, or on top of it.
type Disturbance func(s *Server, w http.ResponseWriter, req *http.Request, next http.Handler)

// Disturb adds a fault.
func (s *Server) Disturb(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.From == 0 {
		f.From = 1
	}
	s.faults = append(s.faults, &f)
}

// Calm takes all faults away.
func (s *Server) Calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) disturb(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if f := s.fault(req); f != nil {
			f.Do(s, w, req, next)
			return
		}
		next.ServeHTTP(w, req)
	})
}

func (s *Server) fault(req *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Method != "" && f.Method != req.Method || !regexp.MustCompile(f.Path).MatchString(req.URL.Path) {
			continue
		}
		f.seen++
		if f.seen >= f.From && (f.Times == 0 || f.seen < f.From+f.Times) {
			return f
		}
	}
	return nil
}

// Status answers with a status and an error of the distribution
// specification.
func Status(status int, code, message string) Disturbance {
	return func(_ *Server, w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		body := map[string]any{"errors": []map[string]string{{"code": code, "message": message}}}
		_ = json.NewEncoder(w).Encode(body)
	}
}

// TooMany answers 429 and asks to wait.
func TooMany(retryAfter string) Disturbance {
	return func(s *Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		w.Header().Set("Retry-After", retryAfter)
		Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")(s, w, req, next)
	}
}

// Body answers with a status and a body as it is.
func Body(status int, contentType, body string) Disturbance {
	return func(_ *Server, w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Reset drops the connection without an answer.
func Reset() Disturbance {
	return func(_ *Server, w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) }
}

// ResetAfter lets the first n bytes of the request's body reach the registry
// and then drops the connection.
func ResetAfter(n int64) Disturbance {
	return func(_ *Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		req.Body = io.NopCloser(io.MultiReader(io.LimitReader(req.Body, n), brokenReader{}))
		next.ServeHTTP(httptest.NewRecorder(), req)
		reset(w)
	}
}

// LoseAnswer lets the registry do what was asked and drops its answer.
func LoseAnswer() Disturbance {
	return func(_ *Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), req)
		reset(w)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// Hang answers nothing until the client goes away or the test ends.
func Hang() Disturbance {
	return func(s *Server, _ http.ResponseWriter, req *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, req.Body)
		select {
		case <-req.Context().Done():
		case <-s.done:
		}
	}
}

// HangInAnswer sends half of the registry's answer and then nothing.
func HangInAnswer() Disturbance {
	return func(s *Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		half(w, req, next)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-req.Context().Done():
		case <-s.done:
		}
	}
}

// Truncate sends half of the registry's answer and drops the connection.
func Truncate() Disturbance {
	return func(_ *Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		half(w, req, next)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func half(w http.ResponseWriter, req *http.Request, next http.Handler) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, req)
	for key, values := range rec.Header() {
		w.Header()[key] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
}

// LieInHeader reports another digest than the content's.
func LieInHeader() Disturbance {
	return func(_ *Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, req)
		rec.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("ab", 32))
		replay(w, rec, rec.Body.Bytes())
	}
}

// LieInBody gives other content than was stored, of the same length, under the
// digest asked for.
func LieInBody() Disturbance { return lieInBody(false) }

// LieInBoth is LieInBody with the digest of the false content in the header.
func LieInBoth() Disturbance { return lieInBody(true) }

func lieInBody(confess bool) Disturbance {
	return func(_ *Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, req)
		body := bytes.Replace(rec.Body.Bytes(), []byte(`"schemaVersion":2`), []byte(`"schemaVersion":3`), 1)
		if bytes.Equal(body, rec.Body.Bytes()) && len(body) > 0 {
			body[len(body)/2] ^= 1
		}
		if confess {
			rec.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(body)))
		}
		replay(w, rec, body)
	}
}

// Header adds a header to the registry's answer.
func Header(key, value string) Disturbance {
	return func(_ *Server, w http.ResponseWriter, req *http.Request, next http.Handler) {
		w.Header().Set(key, value)
		next.ServeHTTP(w, req)
	}
}
