// Package oidc gets the identity token that a keyless signature is made with:
// from GitHub Actions, from a file or the environment, from a person at a
// browser, or from the local trust.
//
// It reads a token's claims without checking who signed it: that is the
// certificate authority's work, and nobody here decides anything on a claim
// that the authority will not check again. What it does check, so that a
// person hears it early and in plain words, is time and audience.
//
// A token is a secret for as long as it lives. Type Token therefore hides
// itself from every way of formatting, and only Token.Raw gives it out.
package oidc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Audience is the audience that Fulcio asks of a token.
const Audience = "sigstore"

// GitHubIssuer is the OIDC issuer of GitHub Actions on github.com.
const GitHubIssuer = "https://token.actions.githubusercontent.com"

// maxToken bounds a token before it is parsed, in bytes. GitHub's are below 3 KiB.
const maxToken = 64 << 10

// skew is how far the issuer's clock may be ahead of ours.
const skew = 30 * time.Second

// Token is one identity token. It prints as its issuer, subject and expiry,
// never as itself. The zero Token has no Raw and is expired.
type Token struct {
	// raw is a func so that printing by reflection, which reaches unexported
	// fields and calls no method on them, finds a pointer and not the secret.
	raw       func() string
	claims    Claims
	audience  []string
	expiry    time.Time
	notBefore time.Time
}

// Parse reads a token in the JWS compact form (RFC 7519). It verifies no
// signature. Its errors never hold the token.
func Parse(raw string) (Token, error) {
	raw = strings.TrimSpace(raw)
	if len(raw) > maxToken {
		return Token{}, fmt.Errorf("reading identity token: %d bytes, more than %d", len(raw), maxToken)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return Token{}, errors.New("reading identity token: not a JWT of three parts")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Token{}, errors.New("reading identity token: its payload is not base64url")
	}
	var c struct {
		Claims
		Audience  audience `json:"aud"`
		Expiry    *seconds `json:"exp"`
		NotBefore *seconds `json:"nbf"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return Token{}, fmt.Errorf("reading identity token: its payload is not a JSON object of claims: %w", err)
	}
	if c.Issuer == "" {
		return Token{}, errors.New("reading identity token: no iss claim")
	}
	if c.Subject == "" {
		return Token{}, errors.New("reading identity token: no sub claim")
	}
	if c.Expiry == nil {
		return Token{}, errors.New("reading identity token: no exp claim")
	}
	t := Token{raw: func() string { return raw }, claims: c.Claims, audience: c.Audience, expiry: c.Expiry.time()}
	if c.NotBefore != nil {
		t.notBefore = c.NotBefore.time()
	}
	return t, nil
}

// Raw gives the token itself, to be sent to a certificate authority and
// nowhere else.
func (t Token) Raw() string {
	if t.raw == nil {
		return ""
	}
	return t.raw()
}

// Claims gives what the token says, unverified.
func (t Token) Claims() Claims { return t.claims }

// Expiry gives the instant from which the token is of no use.
func (t Token) Expiry() time.Time { return t.expiry }

// Check says whether the token is good for the audience at the time now. The
// error names what the token says and what was wanted.
func (t Token) Check(audience string, now time.Time) error {
	if !now.Before(t.expiry) {
		return hint.Add(fmt.Errorf("checking identity token of %s: it expired at %s, %s ago",
			t.claims.Issuer, t.expiry.UTC().Format(time.RFC3339), now.Sub(t.expiry).Round(time.Second)),
			"get a fresh token; an identity token lives only some minutes")
	}
	if t.notBefore.After(now.Add(skew)) {
		return hint.Add(fmt.Errorf("checking identity token of %s: it is not valid before %s",
			t.claims.Issuer, t.notBefore.UTC().Format(time.RFC3339)),
			"set this machine's clock, which says %s", now.UTC().Format(time.RFC3339))
	}
	if !slices.Contains(t.audience, audience) {
		return hint.Add(fmt.Errorf("checking identity token of %s: its audience is %q, wanted %q",
			t.claims.Issuer, strings.Join(t.audience, ", "), audience),
			"ask the issuer for a token with the audience %q", audience)
	}
	return nil
}

// String describes the token without the token.
func (t Token) String() string {
	if t.raw == nil {
		return "no identity token"
	}
	return fmt.Sprintf("identity token of %s for %s until %s (redacted)",
		t.claims.Issuer, t.claims.Identity(), t.expiry.UTC().Format(time.RFC3339))
}

// Format writes String for every verb and flag.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue is String, for package slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String, so that no encoder writes the token.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// audience is one string or a list of them (RFC 7519 section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// seconds is a NumericDate (RFC 7519 section 2), which may have a fraction.
type seconds float64

func (s seconds) time() time.Time {
	const farthest = 253402300799 // the last second of the year 9999
	return time.Unix(int64(min(max(float64(s), 0), farthest)), 0)
}
