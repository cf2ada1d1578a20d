package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// The targets of a Sigstore TUF repository.
const (
	targetRoot   = "trusted_root.json"
	targetConfig = "signing_config.v0.2.json"
)

// refresh is how old a cache may be, in days, before the repository is asked
// again.
const refresh = 1

// repository is a TUF repository and the root it is believed from.
type repository struct {
	url  string
	root []byte
}

// publicRepository is that of Sigstore's public instance; its root is in the
// library, and so part of this program.
func publicRepository() repository { return repository{tuf.DefaultMirror, tuf.DefaultRoot()} }

func privateRepository(t policy.Trust, opts Options) (repository, error) {
	first, err := read(opts.path(t.TUFRoot))
	if err != nil {
		return repository{}, fmt.Errorf("reading the first root of the TUF repository %s: %w", t.TUFMirror, err)
	}
	return repository{t.TUFMirror, first}, nil
}

func fromTUF(ctx context.Context, r repository, opts Options) (Anchor, error) {
	data, err := r.target(ctx, targetRoot, opts)
	if err != nil {
		return Anchor{}, err
	}
	a, err := parse(data, r.url)
	if err != nil {
		return Anchor{}, err
	}
	if c, err := tuf.LoadConfig(filepath.Join(opts.CacheDir, tuf.URLToPath(r.url)+".json")); err == nil {
		a.Checked = c.LastTimestamp
	}
	if a.Expires, err = r.expires(opts.CacheDir); err != nil {
		return Anchor{}, err
	}
	return a, nil
}

// target gives a target of the repository: from the cache when it was asked
// within a day, and else from the network; when that fails, from the cache
// again if its metadata has not expired.
func (r repository) target(ctx context.Context, name string, opts Options) ([]byte, error) {
	if opts.CacheDir == "" {
		return nil, errors.New("no cache folder for the TUF repository")
	}
	if err := os.MkdirAll(opts.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the TUF cache: %w", err)
	}
	f := &fetcher{ctx: ctx, transport: opts.Transport, offline: opts.Offline}
	data, err := r.get(name, opts, f, false)
	if err == nil {
		return data, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if f.failed != nil {
		f.offline = true
		if cached, cacheErr := r.get(name, opts, f, true); cacheErr == nil {
			return cached, nil
		}
	}
	return nil, r.explain(err, f, opts)
}

func (r repository) get(name string, opts Options, f *fetcher, cacheOnly bool) ([]byte, error) {
	client, err := tuf.New(&tuf.Options{
		Root:              r.root,
		RepositoryBaseURL: r.url,
		CachePath:         opts.CacheDir,
		CacheValidity:     refresh,
		ForceCache:        cacheOnly || opts.Offline,
		Fetcher:           f,
	})
	if err != nil {
		return nil, err
	}
	return client.GetTarget(name)
}

// explain says in which of three ways a repository failed: it was not reached,
// what is at hand expired, or what it gave is not to be believed.
func (r repository) explain(err error, f *fetcher, opts Options) error {
	expires, cacheErr := r.expires(opts.CacheDir)
	expired := &metadata.ErrExpiredMetadata{}
	switch {
	case f.failed != nil && cacheErr == nil && time.Now().After(expires):
		return hint.Add(fmt.Errorf("the copy of the TUF repository %s here %w at %s, and a fresh one is %w: %w",
			r.url, ErrExpired, expires.UTC().Format(time.RFC3339), ErrUnreachable, f.failed),
			"connect to %s once, or give the trusted root as a file (trust.root: private, trust.trusted-root)", r.url)
	case f.failed != nil:
		return hint.Add(fmt.Errorf("the TUF repository %s is %w: %w", r.url, ErrUnreachable, f.failed),
			"check the network and the proxy's settings, or give the trusted root as a file (trust.root: private, trust.trusted-root)")
	case errors.As(err, &expired):
		return hint.Add(fmt.Errorf("the TUF repository %s has %w: %w", r.url, ErrExpired, err),
			"check this machine's clock; if it is right, the repository was not kept up, or is an old copy held against you")
	default:
		return hint.Add(fmt.Errorf("the TUF repository %s is not to be believed: %w", r.url, err),
			"check that %s is the right repository and its first root the right root", r.url)
	}
}

// expires gives the instant at which the first of the cached metadata expires.
func (r repository) expires(cache string) (time.Time, error) {
	var first time.Time
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		data, err := read(filepath.Join(cache, tuf.URLToPath(r.url), role+".json"))
		if err != nil {
			return time.Time{}, fmt.Errorf("reading the TUF cache: %w", err)
		}
		var m struct {
			Signed struct {
				Expires time.Time `json:"expires"`
			} `json:"signed"`
		}
		if err := json.Unmarshal(data, &m); err != nil {
			return time.Time{}, fmt.Errorf("reading the TUF cache: %s.json: %w", role, err)
		}
		if first.IsZero() || m.Signed.Expires.Before(first) {
			first = m.Signed.Expires
		}
	}
	return first, nil
}

// fetcher downloads for the TUF client, under a context and with retries.
// It remembers the last failure to reach the repository, which the client's
// own errors do not tell from others.
type fetcher struct {
	ctx       context.Context //nolint:containedctx // a fetcher lives for one call; the interface has no context
	transport http.RoundTripper
	offline   bool
	failed    error
}

const (
	tries       = 3
	tryTimeout  = 15 * time.Second
	pauseAtMost = 300 * time.Millisecond
)

// DownloadFile is fetcher.Fetcher's. A 404 is no failure: the client asks for
// the next root until there is none.
func (f *fetcher) DownloadFile(url string, limit int64, _ time.Duration) ([]byte, error) {
	if f.offline {
		if f.failed == nil {
			f.failed = errors.New("told to stay offline")
		}
		return nil, f.failed
	}
	for try := 1; ; try++ {
		data, err := f.download(url, limit)
		status := &metadata.ErrDownloadHTTP{}
		if err == nil || errors.As(err, &status) && status.StatusCode < 500 && status.StatusCode != http.StatusTooManyRequests {
			return data, err
		}
		tooLong := &metadata.ErrDownloadLengthMismatch{}
		if errors.As(err, &tooLong) {
			return nil, err
		}
		if try == tries || f.ctx.Err() != nil {
			f.failed = err
			return nil, err
		}
		select {
		case <-f.ctx.Done():
		case <-time.After(rand.N(pauseAtMost)):
		}
	}
}

func (f *fetcher) download(url string, limit int64) ([]byte, error) {
	ctx, done := context.WithTimeout(f.ctx, tryTimeout)
	defer done()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: f.transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: resp.StatusCode, URL: url}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s is longer than %d bytes", url, limit)}
	}
	return data, nil
}
