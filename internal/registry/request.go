package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// call is one request as this package makes them.
type call struct {
	method string
	url    string
	header map[string]string
	// body opens the content from its beginning; nil for none.
	body func() (io.ReadCloser, error)
	size int64
	// limit is the most bytes the answer may have.
	limit int64
	// want lists the statuses that are no errors.
	want []int
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	url    *url.URL
}

// errorLimit bounds the body of a refusal, in bytes.
const errorLimit = 64 << 10

// ErrTooLarge says that an answer exceeds what this package is willing to
// read; nothing of it is used.
var ErrTooLarge = errors.New("larger than allowed")

func content(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// at is an address below the repository.
func (s *session) at(format string, args ...any) string {
	u := url.URL{
		Scheme: s.repo.Scheme(),
		Host:   s.repo.RegistryStr(),
		Path:   "/v2/" + s.repo.RepositoryStr() + "/" + fmt.Sprintf(format, args...),
	}
	return u.String()
}

// do sends a request and reads the answer. An answer that breaks off is asked
// for again when asking changes nothing.
func (s *session) do(ctx context.Context, c call) (answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := s.try(ctx, c)
		if err == nil {
			return a, nil
		}
		var cut *cutOff
		wait, ok := s.opts.Retry.wait(attempt, 0)
		if !ok || c.method != http.MethodGet || !errors.As(err, &cut) || ctx.Err() != nil {
			return a, explain(clean(err), s.repo)
		}
		s.opts.Log(fmt.Sprintf("%s %s: answer broke off; again in %s", c.method, bare(c.url), wait.Round(time.Millisecond)))
		if err := pause(ctx, wait); err != nil {
			return a, err
		}
	}
}

// cutOff is an answer that ended before its end.
type cutOff struct{ err error }

func (c *cutOff) Error() string { return c.err.Error() }
func (c *cutOff) Unwrap() error { return c.err }

func (s *session) try(ctx context.Context, c call) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, nil)
	if err != nil {
		return answer{}, err
	}
	for key, value := range c.header {
		req.Header.Set(key, value)
	}
	if c.body != nil {
		if req.Body, err = c.body(); err != nil {
			return answer{}, err
		}
		req.GetBody, req.ContentLength = c.body, c.size
		if c.size == 0 {
			req.Body = http.NoBody
		}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header, url: resp.Request.URL}
	wanted := slices.Contains(c.want, resp.StatusCode)
	limit := c.limit
	if !wanted {
		limit = errorLimit
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case !wanted:
		a.body = a.body[:min(int64(len(a.body)), limit)]
		return a, refused(c.method, c.url, a)
	case err != nil && broken(err):
		return a, &cutOff{fmt.Errorf("reading the answer to %s %s: %w", c.method, bare(c.url), err)}
	case err != nil:
		return a, fmt.Errorf("reading the answer to %s %s: %w", c.method, bare(c.url), err)
	case int64(len(a.body)) > limit:
		return a, fmt.Errorf("reading the answer to %s %s: %w: more than %d bytes", c.method, bare(c.url), ErrTooLarge, limit)
	}
	return a, nil
}
