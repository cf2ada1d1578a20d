package sign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// ServiceError says which service did not do its part.
type ServiceError struct {
	// Service is what it is to Sigstore, such as "transparency log"; URL where
	// it was asked.
	Service, URL string
	// Status is its last answer's, 0 when there was none; Reason what the
	// answer said.
	Status int
	Reason string
	// Tries is how often it was asked.
	Tries int
	// Err is why there was no answer.
	Err error
}

func (e *ServiceError) Error() string {
	s := fmt.Sprintf("the %s %s", e.Service, e.URL)
	switch {
	case e.Status != 0:
		s += fmt.Sprintf(" answered %d %s", e.Status, http.StatusText(e.Status))
		if e.Reason != "" {
			s += ": " + e.Reason
		}
	default:
		s += fmt.Sprintf(" did not answer: %v", e.Err)
	}
	if e.Tries > 1 {
		s += fmt.Sprintf(" (%d tries)", e.Tries)
	}
	return s
}

func (e *ServiceError) Unwrap() error { return e.Err }

// explain gives the service's own error, without what the libraries between
// put around it, and the next step.
func explain(err error, service, url string) error {
	var se *ServiceError
	if !errors.As(err, &se) {
		err = fmt.Errorf("asking the %s %s: %w", service, url, err)
		if errors.Is(err, context.Canceled) {
			return err
		}
		return hint.Add(err, "what answers there is not a %s that hallmark can speak to; check the signing config. Nothing was published", service)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return se
	case se.Status == 0:
		return hint.Add(se, "check the network, a proxy's settings, and that %s is the right address", url)
	case se.Status == http.StatusTooManyRequests || se.Status >= 500:
		return hint.Add(se, "run it again later; nothing was published")
	case se.Status == http.StatusUnauthorized || se.Status == http.StatusForbidden || se.Status == http.StatusBadRequest:
		if service == "certificate authority" {
			return hint.Add(se, "it must know the issuer of the identity token; check the trust root and where the token is from")
		}
	}
	return hint.Add(se, "check that %s is the right address, of a %s in a version that hallmark speaks; nothing was published", url, service)
}

// maxAnswer bounds a service's answer, in bytes.
const maxAnswer = 4 << 20

// maxTries is how often a service is asked while patience lasts.
const maxTries = 5

// courier carries requests to one service: under the caller's context, which
// not all libraries pass on, with a bound on each try, and again after a
// failure that may pass. It reads answers whole, so that one which stalls
// midway is a failed try as well. Requests must be safe to repeat.
type courier struct {
	ctx     context.Context //nolint:containedctx // a courier lives for one call, see above
	cfg     *Config
	service string
	secret  string // never to be shown, should an answer hold it
}

func (s *Signer) courier(ctx context.Context, service, secret string) *courier {
	return &courier{ctx: ctx, cfg: &s.cfg, service: service, secret: secret}
}

// RoundTrip gives answers of status 2xx and 409, and makes all others a
// ServiceError.
func (c *courier) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		defer req.Body.Close()
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	failure := &ServiceError{Service: c.service, URL: req.URL.Scheme + "://" + req.URL.Host}
	pause := c.cfg.Pause
	for {
		failure.Tries++
		resp, data, err := c.try(req, body)
		if err == nil && (resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusConflict) {
			return resp, nil
		}
		failure.Status, failure.Reason, failure.Err = 0, "", err
		wait := jitter(pause)
		if err == nil {
			failure.Status, failure.Reason = resp.StatusCode, c.reason(data)
			wait = max(wait, retryAfter(resp))
		}
		if !passing(resp, err) || failure.Tries == maxTries || !c.sleep(wait) {
			if err := c.ctx.Err(); failure.Err == nil && err != nil && !errors.Is(err, context.DeadlineExceeded) {
				failure.Err = err
			}
			return nil, failure
		}
		pause *= 2
	}
}

// try asks once and reads the answer whole.
func (c *courier) try(req *http.Request, body []byte) (*http.Response, []byte, error) {
	ctx, done := context.WithTimeout(c.ctx, c.cfg.Timeout)
	defer done()
	attempt := req.Clone(ctx)
	attempt.Body = io.NopCloser(bytes.NewReader(body))
	transport := c.cfg.Services.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	resp, err := transport.RoundTrip(attempt)
	if err != nil {
		return nil, nil, c.late(ctx, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, c.late(ctx, err)
	}
	if len(data) > maxAnswer {
		return nil, nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return resp, data, nil
}

// late words a try that ran out of time.
func (c *courier) late(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	waited := c.cfg.Timeout
	if c.ctx.Err() != nil {
		waited = c.cfg.Patience
	}
	return fmt.Errorf("no whole answer in %s: %w", waited, context.DeadlineExceeded)
}

// passing says whether a failure may pass.
func passing(resp *http.Response, err error) bool {
	return err != nil || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
}

// sleep waits, and says whether there is time for another try after it.
func (c *courier) sleep(d time.Duration) bool {
	if deadline, ok := c.ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// jitter varies a pause, so that many signers do not come back at once.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}

// retryAfter is how long the service asks to be left alone, in the form of
// seconds.
func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 || n > 3600 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// maxReason bounds what is shown of an answer, in bytes.
const maxReason = 300

// reason is what an answer says, on one line and without the secret.
func (c *courier) reason(data []byte) string {
	text := string(data[:min(len(data), maxAnswer)])
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(data, &status) == nil && status.Message != "" {
		text = status.Message
	}
	if c.secret != "" {
		text = strings.ReplaceAll(text, c.secret, "(redacted)")
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return strings.ToValidUTF8(text[:min(len(text), maxReason)], "")
}
