package sign_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/sign"
)

// fault is what befalls a request instead of, or after, a true answer.
type fault func(req *http.Request, next http.RoundTripper) (*http.Response, error)

// faulty befalls requests whose path ends in path with the faults in order, the
// last one for ever; a nil fault lets them pass.
type faulty struct {
	next   http.RoundTripper
	path   string
	faults []fault

	mu    sync.Mutex
	asked int
}

func (f *faulty) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, f.path) {
		return f.next.RoundTrip(req)
	}
	f.mu.Lock()
	do := f.faults[min(f.asked, len(f.faults)-1)]
	f.asked++
	f.mu.Unlock()
	if do == nil {
		return f.next.RoundTrip(req)
	}
	return do(req, f.next)
}

func answer(status int, body string) fault {
	return func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), Request: req,
		}, nil
	}
}

func reset(*http.Request, http.RoundTripper) (*http.Response, error) {
	return nil, errors.New("connection reset by peer")
}

func hang(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// stall answers truly and stops in the middle of the body.
func stall(req *http.Request, next http.RoundTripper) (*http.Response, error) {
	resp, err := next.RoundTrip(req)
	if err == nil {
		resp.Body = &stalled{Reader: io.LimitReader(resp.Body, 20), ctx: req.Context()}
	}
	return resp, err
}

type stalled struct {
	io.Reader
	ctx context.Context
}

func (s *stalled) Read(b []byte) (int, error) {
	if n, err := s.Reader.Read(b); err == nil {
		return n, nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func (s *stalled) Close() error { return nil }

// echo answers with what it was asked, secrets and all.
func echo(status int) fault {
	return func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return answer(status, "you sent "+req.Header.Get("Authorization"))(req, nil)
	}
}

var services = []struct{ path, name string }{
	{"/api/v2/signingCert", "certificate authority"},
	{"/api/v2/log/entries", "transparency log"},
	{"/api/v1/timestamp", "timestamp authority"},
}

func TestFaults(t *testing.T) {
	for _, service := range services {
		for _, tt := range []struct {
			name   string
			faults []fault
			asked  int
			status int      // of the ServiceError
			want   []string // in the error; empty for success
		}{
			{"busy at first", []fault{answer(503, ""), answer(429, ""), nil}, 3, 0, nil},
			{"reset at first", []fault{reset, nil}, 2, 0, nil},
			{"hangs at first", []fault{hang, nil}, 2, 0, nil},
			{"stalls at first", []fault{stall, nil}, 2, 0, nil},
			{"down", []fault{answer(500, `{"code":13,"message":"no disk"}`)}, 5, 500, []string{"answered 500 Internal Server Error: no disk (5 tries)"}},
			{"resets", []fault{reset}, 5, 0, []string{"did not answer: connection reset by peer (5 tries)"}},
			{"hangs", []fault{hang}, 5, 0, []string{"no whole answer in"}},
			{"endless", []fault{answer(200, strings.Repeat(" ", 5<<20))}, 5, 0, []string{"longer than"}},
			{"refuses", []fault{answer(400, "line\none\x1b[31m")}, 1, 400, []string{"answered 400 Bad Request: line one [31m"}},
			{"sends elsewhere", []fault{answer(302, "")}, 1, 302, []string{"answered 302"}},
			{"speaks nonsense", []fault{answer(201, "<html>")}, 1, -1, nil},
			{"is empty", []fault{answer(201, "{}")}, 1, -1, nil},
		} {
			t.Run(service.name+" "+tt.name, func(t *testing.T) {
				l := local(t, localtrust.Options{})
				s := l.Services()
				f := &faulty{next: s.Transport, path: service.path, faults: tt.faults}
				s.Transport = f
				signer := sign.New(sign.Config{Services: s, Tokens: l, Timeout: 150 * time.Millisecond, Pause: time.Microsecond})
				signed, err := signer.Sign(t.Context(), statements(t, 1))
				if f.asked != tt.asked {
					t.Errorf("asked %d times, want %d", f.asked, tt.asked)
				}
				if len(tt.want) == 0 && tt.status == 0 {
					if err != nil {
						t.Fatal(err)
					}
					check(t, l.TrustedRoot(), signed[0].Bundle, imageDigest(t), localtrust.Issuer, localtrust.Identity)
					return
				}
				if err == nil || signed != nil {
					t.Fatalf("error %v and %d pieces of evidence, want only an error", err, len(signed))
				}
				for _, want := range append(tt.want, service.name, localtrust.Issuer) {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %v, want one with %q", err, want)
					}
				}
				var se *sign.ServiceError
				if tt.status >= 0 && (!errors.As(err, &se) || se.Status != tt.status) {
					t.Errorf("error %v, want a ServiceError of status %d", err, tt.status)
				}
				if hint.Of(err) == "" {
					t.Errorf("error %v has no hint", err)
				}
			})
		}
	}
}

// TestTokenNeverShown has each service say back all it was sent.
func TestTokenNeverShown(t *testing.T) {
	l := local(t, localtrust.Options{})
	token, err := l.Token(t.Context(), oidc.Audience)
	if err != nil {
		t.Fatal(err)
	}
	s := l.Services()
	s.Transport = &faulty{next: s.Transport, path: "/signingCert", faults: []fault{echo(403)}}
	_, err = sign.New(sign.Config{Services: s, Tokens: given{token}}).Sign(t.Context(), statements(t, 1))
	if err == nil || !strings.Contains(err.Error(), "you sent Bearer (redacted)") || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), token.Raw()) {
		t.Errorf("error %v, want one without the token", err)
	}
}

// given is a source of one token.
type given struct{ token oidc.Token }

func (g given) Token(context.Context, string) (oidc.Token, error) { return g.token, nil }

func TestPatience(t *testing.T) {
	for _, service := range services {
		t.Run(service.name, func(t *testing.T) {
			l := local(t, localtrust.Options{})
			s := l.Services()
			s.Transport = &faulty{next: s.Transport, path: service.path, faults: []fault{hang}}
			signer := sign.New(sign.Config{Services: s, Tokens: l, Patience: 50 * time.Millisecond})
			if _, err := signer.Sign(t.Context(), statements(t, 1)); err == nil || !strings.Contains(err.Error(), "no whole answer in 50ms") {
				t.Errorf("error %v, want one that says how long it waited", err)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	for _, service := range services {
		t.Run(service.name, func(t *testing.T) {
			l := local(t, localtrust.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			s := l.Services()
			s.Transport = &faulty{next: s.Transport, path: service.path, faults: []fault{
				func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
					cancel()
					return hang(req, next)
				},
			}}
			_, err := sign.New(sign.Config{Services: s, Tokens: l}).Sign(ctx, statements(t, 3))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
		})
	}
}

// TestConflict has the log say that it knows the entry.
func TestConflict(t *testing.T) {
	for _, tt := range []struct {
		name   string
		faults []fault
		asked  int
		fails  bool
	}{
		{"once", []fault{answer(409, ""), nil}, 2, false},
		{"always", []fault{answer(409, "")}, 3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := local(t, localtrust.Options{})
			s := l.Services()
			f := &faulty{next: s.Transport, path: "/log/entries", faults: tt.faults}
			s.Transport = f
			_, err := sign.New(sign.Config{Services: s, Tokens: l}).Sign(t.Context(), statements(t, 1))
			if (err != nil) != tt.fails || f.asked != tt.asked {
				t.Errorf("error %v after asking %d times, want %d", err, f.asked, tt.asked)
			}
		})
	}
}

// TestToken tries tokens that are of no use; no service must be asked.
func TestToken(t *testing.T) {
	now := time.Now()
	l := local(t, localtrust.Options{Now: func() time.Time { return now }})
	mint := func(at time.Time, audience string) oidc.Token {
		now = at
		defer func() { now = time.Now() }()
		token, err := l.Mint(oidc.Claims{}, audience)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for name, tt := range map[string]struct {
		token oidc.Token
		want  string
	}{
		"expired":        {mint(now.Add(-time.Hour), oidc.Audience), "expired"},
		"not yet":        {mint(now.Add(time.Hour), oidc.Audience), "not valid before"},
		"other audience": {mint(now, "sts.amazonaws.com"), `wanted "sigstore"`},
		"none":           {oidc.Token{}, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			s := l.Services()
			s.Transport = &faulty{next: s.Transport, faults: []fault{func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
				t.Errorf("asked %s", req.URL)
				return nil, errors.New("not to be asked")
			}}}
			signer := sign.New(sign.Config{Services: s, Tokens: given{tt.token}})
			if _, err := signer.Sign(t.Context(), statements(t, 1)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if _, err := signer.Claims(t.Context()); err == nil {
				t.Error("Claims believes it")
			}
		})
	}
}

// TestCertificateDoubted has the authority give certificates that are not for
// this key or not for now.
func TestCertificateDoubted(t *testing.T) {
	l := local(t, localtrust.Options{})
	var kept string
	s := l.Services()
	next := s.Transport
	s.Transport = &faulty{next: next, path: "/signingCert", faults: []fault{
		func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if err != nil {
				return nil, err
			}
			data, err := io.ReadAll(resp.Body)
			kept = string(data)
			resp.Body = io.NopCloser(bytes.NewReader(data))
			return resp, err
		},
		func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			return answer(200, kept)(req, next)
		},
	}}
	if _, err := sign.New(sign.Config{Services: s, Tokens: l}).Sign(t.Context(), statements(t, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := sign.New(sign.Config{Services: s, Tokens: l}).Sign(t.Context(), statements(t, 1)); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("error %v, want one that says the key is another", err)
	}

	// An authority whose clock is ahead: its token still counts, its
	// certificate does not yet.
	ahead := time.Duration(0)
	fast := local(t, localtrust.Options{Now: func() time.Time { return time.Now().Add(ahead) }})
	token, err := fast.Token(t.Context(), oidc.Audience)
	if err != nil {
		t.Fatal(err)
	}
	ahead = 8 * time.Minute
	_, err = sign.New(sign.Config{Services: fast.Services(), Tokens: given{token}}).Sign(t.Context(), statements(t, 1))
	if err == nil || !strings.Contains(err.Error(), "and here it is") || !strings.Contains(hint.Of(err), "clock") {
		t.Errorf("error %v with hint %q, want one about the clock", err, hint.Of(err))
	}
}

// TestStatementRefused tries statements that no verifier could use.
func TestStatementRefused(t *testing.T) {
	l := local(t, localtrust.Options{})
	for name, change := range map[string]func(*evidence.Statement){
		"no subject":       func(s *evidence.Statement) { s.Subject = nil },
		"other type":       func(s *evidence.Statement) { s.Type = "https://in-toto.io/Statement/v0.1" },
		"no predicate":     func(s *evidence.Statement) { s.Predicate = nil },
		"no kind":          func(s *evidence.Statement) { s.PredicateType = "" },
		"SHA-1":            func(s *evidence.Statement) { s.Subject[0].Digest = map[string]string{"sha1": strings.Repeat("a", 40)} },
		"short digest":     func(s *evidence.Statement) { s.Subject[0].Digest = map[string]string{"sha256": "abc"} },
		"broken predicate": func(s *evidence.Statement) { s.Predicate = []byte("{") },
	} {
		t.Run(name, func(t *testing.T) {
			st := statements(t, 2)
			change(&st[1])
			signed, err := sign.New(sign.Config{Services: l.Services(), Tokens: l}).Sign(t.Context(), st)
			if err == nil || signed != nil {
				t.Errorf("error %v and %d pieces of evidence, want only an error", err, len(signed))
			}
		})
	}
}

func TestSignBlobUnreadable(t *testing.T) {
	l := local(t, localtrust.Options{})
	broken := io.MultiReader(strings.NewReader("half"), &broken{})
	if _, err := sign.New(sign.Config{Services: l.Services(), Tokens: l}).SignBlob(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "bad sector") {
		t.Errorf("error %v, want the reader's", err)
	}
}

type broken struct{}

func (*broken) Read([]byte) (int, error) { return 0, errors.New("bad sector") }
