package query

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/hallmark-sh/hallmark/internal/access"
)

// guard stands before every request: headers, who asks, how often, how large,
// how long; and after it, with a line in the log.
func (s *Service) guard(next http.Handler) http.Handler {
	limits := &limiter{read: rate.Limit(s.ReadRate), write: rate.Limit(s.WriteRate)}
	// A page in a browser must not write with the rights of whoever looks at it.
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := &recorder{ResponseWriter: w, status: http.StatusOK}
		who := access.Principal{Name: "anybody", Role: access.Admin}
		defer func() {
			if p := recover(); p != nil {
				s.Log.Error("a request ended in a panic", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				if !seen.wrote {
					refuse(seen, http.StatusInternalServerError, "the service failed; its log says how")
				}
			}
			s.finished(r, seen, who, time.Since(start))
		}()
		header := seen.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		if len(r.URL.RequestURI()) > maxURL {
			s.reject(seen, "too_large", http.StatusRequestURITooLong, "the address is too long")
			return
		}
		if isOpen(r) {
			next.ServeHTTP(seen, r)
			return
		}
		var ok bool
		if who, ok = s.admit(seen, r); !ok {
			return
		}
		if !limits.allow(who.Name, r) {
			header.Set("Retry-After", "1")
			s.reject(seen, "rate", http.StatusTooManyRequests, "too many requests; slow down")
			return
		}
		if need := needed(r); who.Role < need {
			s.reject(seen, "forbidden", http.StatusForbidden, "this needs the role "+need.String())
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), allowed(r))
		defer cancel()
		// Bodies and answers end by then too. Not every writer has deadlines.
		control, until := http.NewResponseController(seen), start.Add(allowed(r))
		_ = control.SetReadDeadline(until)
		_ = control.SetWriteDeadline(until.Add(5 * time.Second))
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(seen, r.Body, bodyLimit(r))
		next.ServeHTTP(seen, r)
	})
}

// isOpen says that a path is open to all.
func isOpen(r *http.Request) bool {
	switch r.URL.Path {
	case "/healthz", "/readyz", "/metrics":
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	}
	return false
}

// needed is the least role for a request.
func needed(r *http.Request) access.Role {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return access.Read
	case r.Method == http.MethodPost && (r.URL.Path == "/v1/images" || r.URL.Path == "/v1/sweeps" || r.URL.Path == "/v1/releases" || strings.HasPrefix(r.URL.Path, "/v1/notifications/")):
		return access.Intake
	}
	return access.Admin
}

func allowed(r *http.Request) time.Duration {
	switch r.URL.Path {
	case "/v1/advisories", "/v1/sweeps":
		return importTime
	case "/v1/images", "/v1/sboms", "/v1/notifications/distribution", "/v1/notifications/ecr":
		return intakeTime
	}
	return questionTime
}

func bodyLimit(r *http.Request) int64 {
	switch r.URL.Path {
	case "/v1/advisories":
		return maxImportSize
	case "/v1/sboms":
		return 256 << 20 // package sbom has the tighter bound, and says which
	}
	return maxBody
}

// admit says who asks. Without rules everybody is let in, by a name that only
// this machine has.
func (s *Service) admit(w http.ResponseWriter, r *http.Request) (access.Principal, bool) {
	if s.Access == nil {
		if !s.isOurs(r.Host) {
			s.reject(w, "forbidden", http.StatusForbidden, "the service has no access rules and answers to loopback names only")
			return access.Principal{}, false
		}
		return access.Principal{Name: "anybody", Role: access.Admin}, true
	}
	token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, password, basic := r.BasicAuth(); basic { // registries' webhooks can do no other
		token, isBearer = password, true
	}
	if !isBearer {
		w.Header().Set("WWW-Authenticate", `Bearer realm="hallmark"`)
		s.reject(w, "unauthorised", http.StatusUnauthorized, "a bearer token is needed")
		return access.Principal{}, false
	}
	who, err := s.Access.Identify(r.Context(), strings.TrimSpace(token))
	if err != nil {
		s.Log.Warn("a token was not accepted", "remote", r.RemoteAddr, "error", err)
		w.Header().Set("WWW-Authenticate", `Bearer realm="hallmark", error="invalid_token"`)
		s.reject(w, "unauthorised", http.StatusUnauthorized, access.ErrDenied.Error())
		return access.Principal{}, false
	}
	return who, true
}

func (s *Service) isOurs(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && addr.IsLoopback() {
		return true
	}
	for _, name := range append([]string{"localhost"}, s.Hosts...) {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}

func (s *Service) reject(w http.ResponseWriter, reason string, status int, text string) {
	s.Metrics.rejected.WithLabelValues(reason).Inc()
	refuse(w, status, text)
}

// refuse answers as the questions do (RFC 9457).
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	writeJSON(w, map[string]any{"title": http.StatusText(status), "status": status, "detail": text})
}

func (s *Service) finished(r *http.Request, seen *recorder, who access.Principal, took time.Duration) {
	route := r.Pattern
	if _, path, ok := strings.Cut(route, " "); ok {
		route = path
	}
	if route == "" {
		route = "none"
	}
	s.Metrics.request(r.Method, route, seen.status)
	level := slog.LevelInfo
	if isOpen(r) {
		level = slog.LevelDebug
	}
	s.Log.Log(r.Context(), level, "request", "method", r.Method, "path", r.URL.Path, "status", seen.status,
		"bytes", seen.bytes, "ms", float64(took.Microseconds())/1000, "by", who.Name, "remote", r.RemoteAddr)
}

// recorder keeps what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int
	wrote  bool
}

func (r *recorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	n, err := r.ResponseWriter.Write(b)
	r.bytes += n
	return n, err
}

// Unwrap lets http.ResponseController through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// limiter bounds how often each principal may ask.
type limiter struct {
	read, write rate.Limit

	mu    sync.Mutex
	known map[string]*rate.Limiter
}

// maxKnown bounds whom the limiter remembers. When it forgets, everybody has a
// fresh burst once.
const maxKnown = 10_000

func (l *limiter) allow(name string, r *http.Request) bool {
	limit, kind := l.read, "read "
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		limit, kind = l.write, "write "
	}
	if name == "anybody" {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err == nil {
			name = host
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= maxKnown {
		l.known = map[string]*rate.Limiter{}
	}
	one := l.known[kind+name]
	if one == nil {
		one = rate.NewLimiter(limit, int(2*limit)+1)
		l.known[kind+name] = one
	}
	return one.Allow()
}
