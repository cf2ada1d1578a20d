package oidc

import (
	"context"
	"sync"
	"time"
)

// Source gives identity tokens. An implementation may be called by several
// goroutines at once. A token it returns is valid for the audience now.
type Source interface {
	Token(ctx context.Context, audience string) (Token, error)
}

// Cached asks src anew only when the token at hand has less than margin left
// to live.
type Cached struct {
	src    Source
	margin time.Duration
	now    func() time.Time

	mu     sync.Mutex
	tokens map[string]Token // by audience
}

// Cache makes src a caching source. Now may be nil for the machine's clock.
func Cache(src Source, margin time.Duration, now func() time.Time) *Cached {
	if now == nil {
		now = time.Now
	}
	return &Cached{src: src, margin: margin, now: now, tokens: map[string]Token{}}
}

// Token gives the token at hand or a fresh one. A source that can only give a
// token with less than the margin left is taken as it is.
func (c *Cached) Token(ctx context.Context, audience string) (Token, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
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
