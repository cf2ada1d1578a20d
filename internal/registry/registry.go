// Package registry stores images and their evidence in an OCI registry, and
// finds them again: push, attach, fetch, list referrers, tag.
//
// It speaks the OCI distribution specification 1.1 and needs nothing of a
// registry beyond 1.0: where the referrers API is missing it keeps the
// fallback tag of the specification ("Referrers Tag Schema"). Images and
// evidence are written by digest only; a tag is written by [Client.Tag], or as
// that fallback, and never overwritten with anything that loses an entry.
// Everything read is checked against its digest. The package does not know
// what any artifact means: it hands out evidence unverified.
//
// Limits: digests are SHA-256 only. Without the referrers API and without
// conditional writes no client can extend the fallback tag atomically; two
// writers that overlap are found out by reading back after a pause, which
// makes a lost entry improbable and not impossible.
package registry

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Options say how to reach registries. The zero value is right for most.
type Options struct {
	// Keychains are asked for credentials first, in order. After them come
	// the docker configuration with its helpers, Amazon ECR for its hosts,
	// and GITHUB_TOKEN for ghcr.io.
	Keychains []authn.Keychain
	// CAFile holds PEM certificates to trust besides the system's.
	CAFile string
	// Insecure allows plain http, and https with any certificate, to any host.
	// Without it plain http is spoken to loopback addresses only.
	Insecure bool
	// UserAgent is sent with every request, before the library's own.
	UserAgent string
	// Transport carries the requests; nil for one like http.DefaultTransport,
	// which takes the proxy from the environment.
	Transport http.RoundTripper
	// Retry bounds how often a request is repeated.
	Retry Retry
	// Stall is how long no byte may move in either direction before a request
	// is given up; default one minute.
	Stall time.Duration
	// Settle is the least time between writing a fallback tag and looking
	// whether another writer has overwritten it; default 50 ms. The longer
	// the write took, the longer the wait.
	Settle time.Duration
	// Jobs is how many blobs or manifests move side by side; default 4.
	Jobs int
	// Log is told of retries, in one line without secrets; nil for silence.
	// It is called from many goroutines.
	Log func(string)
}

// Client speaks to any number of registries. It may be used from many
// goroutines, and keeps connections and tokens for the next call.
type Client struct {
	opts      Options
	keys      authn.Keychain
	transport http.RoundTripper

	mu       sync.Mutex
	sessions map[sessionKey]*slot
	writing  map[string]chan struct{}
	seen     map[string]manifest
}

// New makes a client. It sends nothing yet.
func New(opts Options) (*Client, error) {
	opts.Retry = opts.Retry.withDefaults()
	if opts.Stall <= 0 {
		opts.Stall = time.Minute
	}
	if opts.Settle <= 0 {
		opts.Settle = 50 * time.Millisecond
	}
	if opts.Jobs <= 0 {
		opts.Jobs = 4
	}
	if opts.Log == nil {
		opts.Log = func(string) {}
	}
	base, err := baseTransport(opts)
	if err != nil {
		return nil, err
	}
	return &Client{
		opts: opts,
		keys: keychain(opts.Keychains),
		transport: transport.NewUserAgent(&retrier{
			inner: &guard{inner: base, insecure: opts.Insecure},
			plan:  opts.Retry,
			stall: opts.Stall,
			log:   opts.Log,
		}, opts.UserAgent),
		sessions: map[sessionKey]*slot{},
		writing:  map[string]chan struct{}{},
		seen:     map[string]manifest{},
	}, nil
}

// Keychain and Transport are the client's own, for a library that fetches a
// base image by itself: the same credentials, certificates and patience.
func (c *Client) Keychain() authn.Keychain { return c.keys }

// Transport carries requests as the client's own are carried.
func (c *Client) Transport() http.RoundTripper { return c.transport }

// session is one authenticated way to one repository.
type session struct {
	*Client
	repo   name.Repository
	client *http.Client
}

type sessionKey struct {
	repo  string
	write bool
}

// slot holds a session once it is open. Its channel is a lock whose waiters
// honour their context.
type slot struct {
	lock    chan struct{}
	session *session
}

func (c *Client) slot(repo name.Repository, write bool) *slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := sessionKey{repo.Name(), write}
	if c.sessions[key] == nil {
		c.sessions[key] = &slot{lock: make(chan struct{}, 1)}
	}
	return c.sessions[key]
}

// open gives the session for a repository: the first call pings the registry
// and fetches a token, later ones cost nothing. Reading uses the right to
// write where a session with it is open already.
func (c *Client) open(ctx context.Context, repo name.Repository, write bool) (*session, error) {
	if !write {
		if s := c.opened(repo); s != nil {
			return s, nil
		}
	}
	slot := c.slot(repo, write)
	select {
	case slot.lock <- struct{}{}:
		defer func() { <-slot.lock }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to log in to %s: %w", repo.RegistryStr(), context.Cause(ctx))
	}
	if slot.session != nil {
		return slot.session, nil
	}
	s, err := c.login(ctx, repo, write)
	if err != nil {
		return nil, explain(fmt.Errorf("logging in to %s: %w", repo.RegistryStr(), clean(err)), repo)
	}
	slot.session = s
	return s, nil
}

// opened is the writing session of a repository, if it stands.
func (c *Client) opened(repo name.Repository) *session {
	slot := c.slot(repo, true)
	select {
	case slot.lock <- struct{}{}:
		defer func() { <-slot.lock }()
		return slot.session
	default:
		return nil
	}
}

func (c *Client) login(ctx context.Context, repo name.Repository, write bool) (*session, error) {
	if c.opts.Insecure {
		loose, err := name.NewRepository(repo.Name(), name.Insecure)
		if err != nil {
			return nil, err
		}
		repo = loose
	}
	auth, err := authn.Resolve(ctx, c.keys, repo)
	if err != nil {
		return nil, fmt.Errorf("finding credentials: %w", err)
	}
	scope := repo.Scope(transport.PullScope)
	if write {
		scope = repo.Scope(transport.PushScope)
	}
	carrier, err := transport.NewWithContext(ctx, repo.Registry, auth, c.transport, []string{scope})
	if err != nil {
		return nil, err
	}
	return &session{
		Client: c,
		repo:   repo,
		client: &http.Client{Transport: carrier, CheckRedirect: mayRedirect},
	}, nil
}
