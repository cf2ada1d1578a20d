package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Source gives identity tokens. An implementation may be called by several
// goroutines at once. It may return a token that is not good for the audience
// or for now: who uses one calls Token.Check.
type Source interface {
	Token(ctx context.Context, audience string) (Token, error)
}

// Cached asks its source anew only when the token at hand has less than a
// margin left to live.
type Cached struct {
	src    Source
	margin time.Duration
	now    func() time.Time

	// turn holds one token while somebody reads or writes the map, and while
	// the source is asked, so that many callers make one request.
	turn   chan struct{}
	tokens map[string]Token // by audience
}

// Cache makes src a caching source. Now may be nil for the machine's clock.
func Cache(src Source, margin time.Duration, now func() time.Time) *Cached {
	if now == nil {
		now = time.Now
	}
	return &Cached{src: src, margin: margin, now: now, turn: make(chan struct{}, 1), tokens: map[string]Token{}}
}

// Token gives the token at hand or a fresh one. A source that can only give a
// token with less than the margin left is taken as it is.
func (c *Cached) Token(ctx context.Context, audience string) (Token, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
	if t, ok := c.tokens[audience]; ok && c.now().Add(c.margin).Before(t.Expiry()) {
		return t, nil
	}
	t, err := c.src.Token(ctx, audience)
	if err != nil {
		return Token{}, err
	}
	c.tokens[audience] = t
	return t, nil
}

// file is a source that reads a token from a file, anew each time: whoever
// made it may renew it.
type file string

func (f file) Token(context.Context, string) (Token, error) {
	r, err := os.Open(string(f))
	if err != nil {
		return Token{}, hint.Add(fmt.Errorf("opening identity token: %w", err), "name a file that holds an OIDC token, not the token itself")
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxToken+1))
	if err != nil {
		return Token{}, fmt.Errorf("reading identity token: %w", err)
	}
	t, err := Parse(string(data))
	if err != nil {
		return Token{}, fmt.Errorf("in %s: %w", string(f), err)
	}
	return t, nil
}

// environment is a source that reads a token from a variable.
type environment struct {
	name string
	get  func(string) string
}

func (e environment) Token(context.Context, string) (Token, error) {
	raw := e.get(e.name)
	if raw == "" {
		return Token{}, hint.Add(fmt.Errorf("reading identity token: the environment variable %s is not set", e.name),
			"set %s to an OIDC token, or leave out the flag that names it", e.name)
	}
	t, err := Parse(raw)
	if err != nil {
		return Token{}, fmt.Errorf("in the environment variable %s: %w", e.name, err)
	}
	return t, nil
}

// ErrNone says that nothing here gives an identity token.
var ErrNone = errors.New("no identity to sign with")

// EnvToken is the environment variable that Sigstore's clients read.
const EnvToken = "SIGSTORE_ID_TOKEN"

// Options says where a token may come from.
type Options struct {
	// File names a token's file, and EnvName an environment variable, as a
	// person asked for by a flag; both may be empty.
	File, EnvName string
	// Env reads the environment; nil for os.Getenv.
	Env func(string) string
	// Local is the local trust when signatures are to be its own, else nil.
	Local Source
	// Login is how a person logs in; nil when there is no terminal, or no
	// issuer to log in with.
	Login *Login
	// GitHub tunes how GitHub Actions is asked; the zero value is good.
	GitHub GitHubOptions
}

// Detect chooses the first of these that is there:
//
//  1. the file or the variable that a flag names;
//  2. the variable SIGSTORE_ID_TOKEN;
//  3. the local trust, if that is what the policy trusts: its authority takes
//     no other issuer's tokens, so it goes before what a CI offers;
//  4. GitHub Actions;
//  5. a person at a terminal.
//
// It asks for no token yet. A GitHub job without permission for tokens is an
// error, and not passed over.
func Detect(o Options) (Source, error) {
	if o.Env == nil {
		o.Env = os.Getenv
	}
	switch {
	case o.File != "" && o.EnvName != "":
		return nil, errors.New("an identity token is named both by file and by variable; name one")
	case o.File != "":
		if strings.Count(o.File, ".") == 2 && strings.HasPrefix(o.File, "eyJ") {
			return nil, hint.Add(errors.New("what should be the name of an identity token's file is a token itself (not shown)"),
				"put the token into a file that only you can read; on a command line other users see it")
		}
		return file(o.File), nil
	case o.EnvName != "":
		return environment{o.EnvName, o.Env}, nil
	case o.Env(EnvToken) != "":
		return environment{EnvToken, o.Env}, nil
	case o.Local != nil:
		return o.Local, nil
	case o.Env(envGitHub) == "true":
		return newGitHub(o.Env, o.GitHub)
	case o.Login != nil:
		return o.Login, nil
	}
	return nil, hint.Add(ErrNone, "run it in GitHub Actions with the permission id-token: write, set %s, name a token's file, run it at a terminal to log in, or trust the local root (trust.root: local)", EnvToken)
}
