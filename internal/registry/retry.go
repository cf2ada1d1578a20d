package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Retry bounds how often and how long a request is repeated. Zero fields take
// the defaults.
type Retry struct {
	// Attempts is how often a request is sent at most; default 5.
	Attempts int
	// Base is the wait after the first failure; it doubles after each; default
	// 200 ms. Every wait is shortened at random by up to half.
	Base time.Duration
	// Longest bounds a wait, also one that the registry asks for with
	// Retry-After; default 30 s. A registry that asks for more is not asked
	// again.
	Longest time.Duration
}

func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = 5
	}
	if r.Base <= 0 {
		r.Base = 200 * time.Millisecond
	}
	if r.Longest <= 0 {
		r.Longest = 30 * time.Second
	}
	return r
}

// wait is how long to wait after the given attempt, counted from one; false
// when it should not be repeated.
func (r Retry) wait(attempt int, asked time.Duration) (time.Duration, bool) {
	if attempt >= r.Attempts || asked > r.Longest {
		return 0, false
	}
	if asked > 0 {
		return asked, true
	}
	d := min(r.Base<<min(attempt-1, 20), r.Longest)
	return d/2 + rand.N(d/2+1), true
}

// pause waits, or gives up with the context.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retryAfter reads the header in both of its forms (RFC 9110, 10.2.3).
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 24*3600)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at).Round(time.Second), 0)
	}
	return 0
}

// passing says that a status speaks of the moment and not of the request.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// broken says that a connection ended before its answer did.
func broken(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// onceKey marks a context whose requests the retrier must not repeat, because
// the caller has to find out first how far the last one got.
type onceKey struct{}

func once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// retrier repeats requests that failed for the moment, and gives up those that
// hang. It stands below the authentication, so pings and token requests are
// repeated too, and a request that is sent again with a fresh token gets its
// body from the beginning.
type retrier struct {
	inner http.RoundTripper
	plan  Retry
	stall time.Duration
	log   func(string)
}

func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.repeat(req)
	var plain tls.RecordHeaderError
	if err != nil && !errors.As(err, &plain) {
		err = &sendError{req.Method, bare(req.URL.String()), err}
	}
	return resp, err
}

func (r *retrier) repeat(req *http.Request) (*http.Response, error) {
	again := req.Context().Value(onceKey{}) == nil && (req.Body == nil || req.GetBody != nil)
	for attempt := 1; ; attempt++ {
		resp, err := r.send(req)
		var asked time.Duration
		switch {
		case err == nil && !passing(resp.StatusCode), err != nil && !broken(err), req.Context().Err() != nil:
			return resp, err
		case err == nil:
			asked = retryAfter(resp.Header)
		}
		wait, ok := r.plan.wait(attempt, asked)
		if !ok || !again {
			return resp, err
		}
		why := "connection broken"
		if err == nil {
			why = resp.Status
			drain(resp)
		}
		r.log(fmt.Sprintf("%s %s: %s; again in %s", req.Method, bare(req.URL.String()), why, wait.Round(time.Millisecond)))
		if err := pause(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// drain lets the connection be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}

// send sends a request once, from the beginning of its body, watched.
func (r *retrier) send(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{limit: r.stall, cancel: cancel}
	w.timer = time.AfterFunc(r.stall, func() {
		cancel(fmt.Errorf("%w: nothing moved for %s", ErrStalled, r.stall))
	})
	out := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			w.end()
			return nil, err
		}
		if req.Body != nil {
			req.Body.Close()
		}
		out.Body = body
	}
	if out.Body != nil && out.Body != http.NoBody {
		out.Body = &watched{ReadCloser: out.Body, watch: w, ctx: ctx}
	}
	resp, err := r.inner.RoundTrip(out)
	if err != nil {
		err = stalled(ctx, err)
		w.end()
		return nil, err
	}
	resp.Request = req
	resp.Body = &watched{ReadCloser: resp.Body, watch: w, ctx: ctx, last: true}
	return resp, nil
}

// stalled names the watch as the reason, when it was.
func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrStalled) {
		return cause
	}
	return err
}

// watch ends a request in which nothing moves.
type watch struct {
	limit  time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer
	once   sync.Once
}

func (w *watch) moved() { w.timer.Reset(w.limit) }
func (w *watch) end() {
	w.once.Do(func() {
		w.timer.Stop()
		w.cancel(nil)
	})
}

// watched is a body whose every read is a sign of life. The answer's body ends
// the watch when it is closed.
type watched struct {
	io.ReadCloser
	watch *watch
	ctx   context.Context
	last  bool
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.moved()
	}
	if err != nil && err != io.EOF {
		err = stalled(b.ctx, err)
	}
	return n, err
}

func (b *watched) Close() error {
	err := b.ReadCloser.Close()
	if b.last {
		b.watch.end()
	}
	return err
}
