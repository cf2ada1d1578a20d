package advisory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/gofrs/flock"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// maxArchive bounds a download, in bytes.
const maxArchive = 4 << 30

// patience is how long a download is tried: the first pause, which doubles with
// jitter, the number of tries, and how long no byte may come.
type patience struct {
	first time.Duration
	tries uint
	idle  time.Duration
}

var usualPatience = patience{first: 500 * time.Millisecond, tries: 6, idle: time.Minute}

// state is what a URL gave last, for the next conditional request.
type state struct {
	Archive  string `json:"archive"`
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"lastModified,omitempty"`
	Digest   string `json:"digest"`
}

// downloader fetches from one place into a folder that outlives the process,
// so that a broken download goes on where it stopped.
type downloader struct {
	client   *http.Client
	dir      string
	key      string // names the place's files in dir
	patience patience
	progress func(string)
	known    state
}

func (o *Options) downloader(at remote) downloader {
	sum := sha256.Sum256([]byte(at.url.String()))
	d := downloader{dir: filepath.Join(o.CacheDir, "downloads"), key: hex.EncodeToString(sum[:16]), patience: usualPatience, progress: o.Progress}
	if o.patience.tries > 0 {
		d.patience = o.patience
	}
	d.client = &http.Client{Transport: o.Transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return errors.New("redirected from https to plain http")
		}
		if len(via) >= 10 {
			return errors.New("redirected ten times")
		}
		return nil
	}}
	return d
}

func (d downloader) state() state {
	var s state
	if data, err := readSmall(filepath.Join(d.dir, d.key+".json")); err == nil && json.Unmarshal(data, &s) != nil {
		return state{}
	}
	return s
}

func (d downloader) remember(s state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeWhole(filepath.Join(d.dir, d.key+".json"), data)
}

// statusError is an answer other than the one asked for.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

// retry runs try until it succeeds or its error is permanent. The error that
// remains is an *Error of code Unreachable about the place, unless it is one.
func retry[T any](ctx context.Context, d downloader, at remote, try func() (T, error)) (T, error) {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = d.patience.first
	var last error
	out, err := backoff.Retry(ctx, func() (T, error) {
		out, err := try()
		if err != nil {
			last = withoutURL(err)
		}
		return out, err
	}, backoff.WithBackOff(b), backoff.WithMaxTries(d.patience.tries), backoff.WithNotify(func(error, time.Duration) {
		d.progress(fmt.Sprintf("trying %s again: %v", at.name, last))
	}))
	var typed *Error
	var own *fs.PathError // of our own disk
	switch {
	case err == nil || errors.As(err, &typed):
		return out, err
	case ctx.Err() != nil:
		return out, ctx.Err()
	case errors.As(last, &own):
		return out, hint.Add(fmt.Errorf("keeping the download of %s: %w", at.name, last), "check the space and the rights of %s", d.dir)
	}
	unreachable := &Error{Code: Unreachable, Path: at.name, Err: last}
	var status *statusError
	if errors.As(last, &status) && (status.code == http.StatusUnauthorized || status.code == http.StatusForbidden) {
		return out, hint.Add(unreachable, "put the credentials into the URL, or use a place that needs none")
	}
	return out, hint.Add(unreachable, "check the URL of --advisories and the proxy variables, or name a file")
}

// withoutURL drops the URL that net/http puts into its errors: it may hold
// credentials.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	var status *statusError
	if errors.As(err, &status) {
		return status
	}
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		return permanent.Err
	}
	return err
}

// do sends one request. The answer's body ends when no byte comes for a while;
// cancel ends it at once and must be called.
func (d downloader) do(ctx context.Context, at remote, header http.Header) (res *http.Response, cancel func(), err error) {
	ctx, stop := context.WithCancelCause(ctx)
	silent := fmt.Errorf("no byte came for %s", d.patience.idle)
	timer := time.AfterFunc(d.patience.idle, func() { stop(silent) })
	cancel = func() { timer.Stop(); stop(nil) }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.url.String(), nil)
	if err != nil {
		cancel()
		return nil, nil, backoff.Permanent(errors.New("the URL cannot be requested"))
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "hallmark")
	req.Header.Set("Accept-Encoding", "identity")
	res, err = d.client.Do(req)
	if err != nil {
		if context.Cause(ctx) == silent {
			err = silent
		}
		cancel()
		return nil, nil, err
	}
	res.Body = &watched{ReadCloser: res.Body, ctx: ctx, timer: timer, idle: d.patience.idle}
	return res, cancel, nil
}

// watched puts the end off with each read.
type watched struct {
	io.ReadCloser
	ctx   context.Context
	timer *time.Timer
	idle  time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.timer.Reset(w.idle)
	if err != nil && err != io.EOF && w.ctx.Err() != nil {
		err = context.Cause(w.ctx)
	}
	return n, err
}

// passing says that the same request may be answered otherwise a little later.
func (e *statusError) passing() bool {
	return e.code >= 500 || e.code == http.StatusTooManyRequests || e.code == http.StatusRequestTimeout
}

// refuse makes the error of an answer that is not wanted: worth another try, or
// not, or after the time the server asks for, at most a minute.
func refuse(res *http.Response) error {
	err := &statusError{res.StatusCode}
	if !err.passing() {
		return backoff.Permanent(err)
	}
	if n, e := strconv.Atoi(res.Header.Get("Retry-After")); e == nil && n >= 0 && n <= 60 {
		return errors.Join(err, backoff.RetryAfter(n))
	}
	return err
}

// small fetches a file that is read whole.
func (d downloader) small(ctx context.Context, at remote) ([]byte, error) {
	return retry(ctx, d, at, func() ([]byte, error) {
		res, cancel, err := d.do(ctx, at, nil)
		if err != nil {
			return nil, err
		}
		defer cancel()
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return nil, refuse(res)
		}
		data, err := io.ReadAll(io.LimitReader(res.Body, maxSmall+1))
		if err == nil && len(data) > maxSmall {
			err = backoff.Permanent(fmt.Errorf("the file is larger than %d bytes", maxSmall))
		}
		return data, err
	})
}

// fetched is a file on disk and what is to be remembered of it.
type fetched struct {
	file  string
	state state
}

// large fetches an archive into the downloads folder. With d.known it asks
// whether that is still the newest: then the file is empty.
func (d downloader) large(ctx context.Context, at remote, want string) (fetched, error) {
	p := partial{downloader: d, at: at, file: filepath.Join(d.dir, d.key+".part"), want: want}
	d.progress("downloading " + at.name)
	return retry(ctx, d, at, func() (fetched, error) { return p.attempt(ctx) })
}

// lock keeps other processes from fetching the same place meanwhile: they would
// write the same file, and find the database in the cache afterwards.
func (d downloader) lock(ctx context.Context) (unlock func() error, err error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeping downloads: %w", err)
	}
	l := flock.New(filepath.Join(d.dir, d.key+".lock"))
	if _, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, fmt.Errorf("waiting for another download: %w", err)
	}
	return l.Unlock, nil
}
