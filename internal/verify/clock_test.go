package verify_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// clock is set by tests; all services of a world go by it.
type clock struct{ seconds atomic.Int64 }

func newClock(t time.Time) *clock {
	c := &clock{}
	c.seconds.Store(t.Unix())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.seconds.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

// late lets the clock run on before each timestamp is given.
type late struct {
	http.RoundTripper
	clock *clock
	by    time.Duration
}

func (l late) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.Contains(req.URL.Path, "timestamp") {
		l.clock.advance(l.by)
	}
	return l.RoundTripper.RoundTrip(req)
}

// TestOldEvidence has the certificate expired long ago: what counts is the time
// of signing, which the timestamp proves.
func TestOldEvidence(t *testing.T) {
	then := newClock(time.Now().Add(-400 * 24 * time.Hour))
	w := newWorld(t, then.now)
	v := verify.Judge(subject, w.sign(t, claims(), release(t, claims())...), w.options())
	if !v.Passed() {
		t.Error(explain(v))
	}
	c, _ := v.Find("signature")
	if want := then.now().UTC().Format("2006-01-02T15"); !strings.Contains(c.Reason, want) {
		t.Errorf("%q does not tell the time of signing, %s", c.Reason, want)
	}
}

func TestSignedAfterExpiry(t *testing.T) {
	now := newClock(time.Now().Add(-24 * time.Hour))
	w := newWorld(t, now.now)
	now.advance(12 * time.Hour)
	for _, tt := range []struct {
		name string
		by   time.Duration
		want string
	}{
		{"in time", 9 * time.Minute, "pass"},
		{"too late", 11 * time.Minute, "fail certificate-expired"},
		{"before the certificate", -time.Hour, "fail certificate-expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			services := w.Services()
			services.Transport = late{services.Transport, now, tt.by}
			v := verify.Judge(subject, w.signVia(t, claims(), services, statement(t, evidence.Signature, `{}`)), w.options())
			if got := outcomes(v)["signature"]; got != tt.want {
				t.Errorf("signature: %s, want %s\n%s", got, tt.want, explain(v))
			}
		})
	}
}
