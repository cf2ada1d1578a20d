package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// wholeLimit is the largest blob sent in one request, in bytes. Larger ones
// are sent as a chunk that can be resumed, which costs one request more.
const wholeLimit = 1 << 20

// upload is one blob on its way: where its session is, and how much of it the
// registry has.
type upload struct {
	*session
	blob
	location string
	offset   int64
	sent     func(int64)
}

// upload stores a blob. After a failure it asks the registry how much has
// arrived and goes on from there, or begins anew where the registry cannot
// say. It gives up after as many failures in a row without progress as a
// request has attempts. The callback is told how many bytes have gone out; the
// number falls back when some were lost.
func (s *session) upload(ctx context.Context, b blob, sent func(int64)) error {
	u := &upload{session: s, blob: b, sent: sent}
	furthest := int64(0)
	for attempt := 1; ; attempt++ {
		err := u.run(ctx)
		if err == nil {
			sent(b.size)
			return nil
		}
		var status *StatusError
		var asked time.Duration
		if errors.As(err, &status) {
			asked = status.RetryAfter
		}
		wait, ok := s.opts.Retry.wait(attempt, asked)
		if !ok || !resumable(err) || ctx.Err() != nil {
			return fmt.Errorf("uploading blob %s: %w", b.digest, err)
		}
		s.opts.Log(fmt.Sprintf("uploading blob %.19s: %v; again in %s", b.digest, err, wait.Round(time.Millisecond)))
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("uploading blob %s: %w", b.digest, err)
		}
		arrived, err := u.resume(ctx)
		if err != nil {
			return fmt.Errorf("resuming the upload of blob %s: %w", b.digest, err)
		}
		if arrived {
			sent(b.size)
			return nil
		}
		if u.offset > furthest {
			furthest, attempt = u.offset, 0
		}
	}
}

// resumable says that an upload may be gone on with: the line broke, the
// registry is in trouble, or it lost count of the session.
func resumable(err error) bool {
	var status *StatusError
	if !errors.As(err, &status) {
		return broken(err)
	}
	return passing(status.Status) || status.Status == http.StatusRequestedRangeNotSatisfiable ||
		status.Code == "BLOB_UPLOAD_UNKNOWN" || status.Code == "BLOB_UPLOAD_INVALID"
}

// run takes the upload from where it is to its end.
func (u *upload) run(ctx context.Context) error {
	if u.location == "" {
		if err := u.begin(ctx); err != nil {
			return err
		}
	}
	if u.size <= wholeLimit {
		return u.finish(ctx, u.from(0), u.size)
	}
	for u.offset < u.size {
		if err := u.chunk(ctx); err != nil {
			return err
		}
	}
	return u.finish(ctx, nil, 0)
}

func (u *upload) begin(ctx context.Context) error {
	a, err := u.do(ctx, call{
		method: http.MethodPost, url: u.at("blobs/uploads/"), limit: errorLimit,
		body: content(nil), want: []int{http.StatusAccepted},
	})
	if err != nil {
		return err
	}
	u.offset = 0
	return u.follow(a)
}

// chunk sends all that is missing. The first chunk goes without a range, as a
// stream, because not every registry takes ranges.
func (u *upload) chunk(ctx context.Context) error {
	header := map[string]string{"Content-Type": "application/octet-stream"}
	if u.offset > 0 {
		header["Content-Range"] = fmt.Sprintf("%d-%d", u.offset, u.size-1)
	}
	a, err := u.do(once(ctx), call{
		method: http.MethodPatch, url: u.location, header: header, limit: errorLimit,
		body: u.from(u.offset), size: u.size - u.offset,
		want: []int{http.StatusAccepted, http.StatusNoContent, http.StatusCreated},
	})
	if err != nil {
		return err
	}
	before := u.offset
	u.offset = u.size
	if n, ok := arrived(a); ok && n > before && n < u.size {
		u.offset = n
	}
	return u.follow(a)
}

func (u *upload) finish(ctx context.Context, body func() (io.ReadCloser, error), size int64) error {
	target, err := url.Parse(u.location)
	if err != nil {
		return fmt.Errorf("reading the upload's location: %w", tamed{err})
	}
	query := target.Query()
	query.Set("digest", u.digest.String())
	target.RawQuery = query.Encode()
	if body == nil {
		body = content(nil)
	}
	a, err := u.do(once(ctx), call{
		method: http.MethodPut, url: target.String(), limit: errorLimit,
		header: map[string]string{"Content-Type": "application/octet-stream"},
		body:   body, size: size,
		want: []int{http.StatusCreated, http.StatusNoContent, http.StatusOK},
	})
	if err != nil {
		return err
	}
	return claimed(a, u.digest, "uploading to "+bare(u.location))
}

// resume finds out how far the upload got: whether the blob is there already,
// or how much of it. Where the registry cannot say, it begins anew.
func (u *upload) resume(ctx context.Context) (bool, error) {
	there, err := u.hasBlob(ctx, u.digest)
	if err != nil || there {
		return there, err
	}
	location := u.location
	u.location, u.offset = "", 0
	if location == "" || u.size <= wholeLimit {
		return false, nil
	}
	a, err := u.do(ctx, call{
		method: http.MethodGet, url: location, limit: errorLimit,
		want: []int{http.StatusNoContent, http.StatusAccepted, http.StatusOK},
	})
	if err != nil {
		return false, ctx.Err()
	}
	if n, ok := arrived(a); ok && n > 0 && n <= u.size {
		u.location, u.offset = location, n
		if a.header.Get("Location") != "" {
			return false, u.follow(a)
		}
	}
	return false, nil
}

// arrived reads how many bytes a session has. One byte cannot be told from
// none, so it counts as none.
func arrived(a answer) (int64, bool) {
	_, last, ok := strings.Cut(strings.TrimPrefix(a.header.Get("Range"), "bytes="), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil || n < 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// follow takes the address for the session's next request from an answer.
func (u *upload) follow(a answer) error {
	location, err := a.url.Parse(a.header.Get("Location"))
	if err != nil || a.header.Get("Location") == "" {
		return fmt.Errorf("%s answered an upload without a usable Location", a.url.Host)
	}
	if err := maySend(a.url.Hostname(), location.Hostname()); err != nil {
		return err
	}
	u.location = location.String()
	return nil
}

// from opens the content at an offset and counts what is read of it.
func (u *upload) from(offset int64) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		f, err := u.open()
		if err != nil {
			return nil, err
		}
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			f.Close()
			return nil, err
		}
		return &counted{ReadCloser: f, n: offset, told: u.sent}, nil
	}
}

type counted struct {
	io.ReadCloser
	n    int64
	told func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	c.told(c.n)
	return n, err
}
