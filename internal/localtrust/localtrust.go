// Package localtrust is a whole Sigstore in one folder: an OIDC issuer, a
// certificate authority that speaks Fulcio's API, a transparency log that
// speaks Rekor's version 2, and a timestamp authority. It serves the demo,
// tests, and releases on a machine without an account.
//
// Start with Open, and sign with what Services gives: no socket is needed. To
// let other tools in, serve Handler on loopback and give them TrustedRoot and
// SigningConfig; stock cosign 3 verifies and signs with them.
//
// What it protects: anything signed is bound to its content, its identity and
// its time as with the public instance, the same checks pass and fail, and a
// change made later is seen by whoever holds the trusted root.
//
// What it does not protect: whoever can read the folder can sign as anybody,
// at any time, and rewrite the log. The log has no witness, and the signed
// certificate timestamps name a certificate log that keeps nothing. A GitHub
// identity in its certificates was claimed by the caller and checked by
// nobody. Trust in it reaches as far as trust in the folder: it is for one
// machine, never a stand-in for the public instance.
package localtrust

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigstore/fulcio/pkg/ca/baseca"

	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// Issuer is the OIDC issuer of a local trust unless its creation names
// another. It is never GitHub's, so that no policy which trusts GitHub's
// issuer is met by a local certificate.
const Issuer = policy.LocalIssuer

// Identity is the e-mail address in a local certificate unless the caller
// claims another identity.
const Identity = policy.LocalSubject

// The files of the folder that others read.
const (
	// TrustedRootFile is what verifiers need.
	TrustedRootFile = "trusted-root.json"
	// SigningConfigFile is what signers need; it is there when a server was
	// started once.
	SigningConfigFile = "signing-config.json"
	// MintSecretFile holds what a request to mint a token must show.
	MintSecretFile = "mint-secret"
)

// Options sets up a local trust.
type Options struct {
	// Issuer is the OIDC issuer, an absolute https or http URL without path;
	// used when the folder is new, and then must be the same ever after.
	// Empty for the one the folder has, or Issuer.
	Issuer string
	// Now is the clock of all four services; nil for the machine's.
	Now func() time.Time
}

// Local is an open local trust. Its methods may be called by several
// goroutines, and several processes may have the same folder open.
type Local struct {
	dir   string
	now   func() time.Time
	state *state
	ca    *baseca.BaseCA
	log   *tlogDir
	root  []byte
	tuf   *tuf
	http  http.Handler
}

// Open opens the local trust in the folder dir, and creates it when the folder
// is missing or empty. The folder must belong to the caller and be closed to
// all others.
func Open(ctx context.Context, dir string, opts Options) (*Local, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening local trust: %w", err)
	}
	now := opts.Now
	if now == nil {
		now = time.Now
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening local trust %s: %w", dir, err)
	}
	s, err := openState(ctx, dir, opts.Issuer, now())
	if err != nil {
		return nil, fmt.Errorf("opening local trust %s: %w", dir, err)
	}
	l := &Local{dir: dir, now: now, state: s, ca: s.authority()}
	if l.log, err = openLog(filepath.Join(dir, "log"), s.origin(), s.logKey); err != nil {
		return nil, fmt.Errorf("opening local trust %s: %w", dir, err)
	}
	if l.root, err = s.trustedRoot(); err != nil {
		return nil, fmt.Errorf("opening local trust %s: %w", dir, err)
	}
	if l.tuf, err = newTUF(s, l.root); err != nil {
		return nil, fmt.Errorf("opening local trust %s: %w", dir, err)
	}
	if err := l.publish(); err != nil {
		return nil, fmt.Errorf("opening local trust %s: %w", dir, err)
	}
	l.http = l.routes()
	return l, nil
}

// Dir gives the folder.
func (l *Local) Dir() string { return l.dir }

// Issuer gives the OIDC issuer.
func (l *Local) Issuer() string { return l.state.issuer }

// TrustedRoot gives the trusted_root.json that verifies what is signed here.
// It holds no URL of a server: it stays the same wherever Handler is served.
func (l *Local) TrustedRoot() []byte { return l.root }

// Handler serves the four services over HTTP. It must be reachable from
// loopback only: the log takes entries from anybody.
func (l *Local) Handler() http.Handler { return l.http }

// Services gives the services without a socket: the transport answers for the
// issuer's URL in this process and refuses any other address, so that signing
// with local trust never leaves the machine.
func (l *Local) Services() trust.Services {
	base := l.Issuer()
	return trust.Services{
		Fulcio:    trust.Service{URL: base, Version: 1},
		Rekor:     []trust.Service{{URL: base, Version: 2}},
		TSA:       []trust.Service{{URL: base + pathTimestamp, Version: 1}},
		Issuer:    base,
		Transport: &inProcess{host: strings.TrimPrefix(strings.TrimPrefix(base, "https://"), "http://"), handler: l.http},
	}
}

// Token gives a token of the default local identity; with it a Local is an
// oidc.Source.
func (l *Local) Token(ctx context.Context, audience string) (oidc.Token, error) {
	return l.As(oidc.Claims{}).Token(ctx, audience)
}

// As gives a source of tokens that claim the given identity; see Mint.
func (l *Local) As(c oidc.Claims) oidc.Source { return claimant{l, c} }

type claimant struct {
	local  *Local
	claims oidc.Claims
}

func (c claimant) Token(ctx context.Context, audience string) (oidc.Token, error) {
	if err := ctx.Err(); err != nil {
		return oidc.Token{}, err
	}
	return c.local.Mint(c.claims, audience)
}

// Close ends the use of the local trust. Nothing runs in the background and
// all that was logged is on disk already.
func (l *Local) Close() error { return nil }
