package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"time"

	coreoidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Login is a source that has a person log in: in a browser on this machine,
// which is sent back to a loopback address (RFC 8252, with PKCE), or, where no
// browser can be opened, in one anywhere by a code shown here (RFC 8628).
// Sigstore's own flow is not used since it heeds no context.
type Login struct {
	// Issuer is the OIDC issuer.
	Issuer string
	// ClientID is how this program is known to it; empty for Audience. The
	// token's audience is the client.
	ClientID string
	// Out is where the person is spoken to.
	Out io.Writer
	// Browse opens a URL in a browser, as the function Browse does; nil when
	// there is none, as on a machine without a display.
	Browse func(url string) error
	// Transport carries the requests; nil for http.DefaultTransport.
	Transport http.RoundTripper
}

// patience is how long a person may take.
const patience = 5 * time.Minute

// callback is the path that the browser is sent back to.
const callback = "/auth/callback"

// Token has the person log in, every time.
func (l *Login) Token(ctx context.Context, audience string) (Token, error) {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	ctx = coreoidc.ClientContext(ctx, &http.Client{Transport: l.Transport, Timeout: 30 * time.Second})
	raw, err := l.login(ctx, audience)
	if err != nil {
		return Token{}, fmt.Errorf("logging in at %s: %w", l.Issuer, err)
	}
	return Parse(raw)
}

func (l *Login) login(ctx context.Context, audience string) (string, error) {
	client := l.ClientID
	if client == "" {
		client = Audience
	}
	if audience != client {
		return "", fmt.Errorf("the token's audience would be %q, wanted %q", client, audience)
	}
	provider, err := coreoidc.NewProvider(ctx, l.Issuer)
	if err != nil {
		return "", hint.Add(err, "check the network and the issuer's address")
	}
	config := oauth2.Config{ClientID: client, Endpoint: provider.Endpoint(), Scopes: []string{coreoidc.ScopeOpenID, "email"}}
	answer, nonce, err := l.atBrowser(ctx, config)
	if errors.Is(err, errNoBrowser) && config.Endpoint.DeviceAuthURL != "" {
		answer, err = l.byCode(ctx, config)
	}
	if err != nil {
		return "", err
	}
	raw, ok := answer.Extra("id_token").(string)
	if !ok {
		return "", errors.New("it gave no identity token")
	}
	token, err := provider.Verifier(&coreoidc.Config{ClientID: client}).Verify(ctx, raw)
	if err != nil {
		return "", err
	}
	if nonce != "" && subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1 {
		return "", errors.New("it gave the token of another login")
	}
	return raw, nil
}

// errNoBrowser says that no browser could be opened here.
var errNoBrowser = errors.New("no browser could be opened here, and the issuer gives no codes for another machine's")

// atBrowser has the person log in at a browser here.
func (l *Login) atBrowser(ctx context.Context, config oauth2.Config) (*oauth2.Token, string, error) {
	if l.Browse == nil {
		return nil, "", errNoBrowser
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, "", err
	}
	// Issuers know this name for a program on the person's machine.
	config.RedirectURL = "http://localhost:" + port + callback
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	back := &comeback{state: state, codes: make(chan string, 1), errs: make(chan error, 1)}
	srv := &http.Server{Handler: back, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(listener) }() // ends at Shutdown or Close
	defer srv.Close()

	address := config.AuthCodeURL(state, coreoidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier))
	if err := l.Browse(address); err != nil {
		return nil, "", errNoBrowser
	}
	fmt.Fprintf(l.Out, "Log in with the browser that opens, or go to:\n  %s\n", address)
	select {
	case code := <-back.codes:
		flush, done := context.WithTimeout(ctx, time.Second)
		defer done()
		_ = srv.Shutdown(flush) // lets the browser have its page
		token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
		return token, nonce, redact(err)
	case err := <-back.errs:
		return nil, "", err
	case <-ctx.Done():
		return nil, "", fmt.Errorf("waiting for the login: %w", ctx.Err())
	}
}

// byCode has the person log in at a browser anywhere.
func (l *Login) byCode(ctx context.Context, config oauth2.Config) (*oauth2.Token, error) {
	verifier := oauth2.GenerateVerifier()
	device, err := config.DeviceAuth(ctx, oauth2.S256ChallengeOption(verifier))
	if err != nil {
		return nil, redact(err)
	}
	address := device.VerificationURIComplete
	if address == "" {
		address = device.VerificationURI
	}
	fmt.Fprintf(l.Out, "Log in with any browser at:\n  %s\nand compare or enter the code %s\n", address, device.UserCode)
	token, err := config.DeviceAccessToken(ctx, device, oauth2.VerifierOption(verifier))
	return token, redact(err)
}

// redact takes the answer's body, which may hold a token, out of an error.
func redact(err error) error {
	var re *oauth2.RetrieveError
	if !errors.As(err, &re) {
		return err
	}
	if re.ErrorCode != "" {
		return fmt.Errorf("it refused: %s %s", re.ErrorCode, re.ErrorDescription)
	}
	return fmt.Errorf("it answered %s", re.Response.Status)
}

// comeback takes the one request with which the issuer sends the browser back.
type comeback struct {
	state string
	codes chan string
	errs  chan error
}

func (c *comeback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.Method != http.MethodGet || r.URL.Path != callback ||
		subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(c.state)) != 1 {
		http.Error(w, "This is not the login that was begun here.", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if q.Get("code") == "" {
		err := fmt.Errorf("the login was refused: %s %s", q.Get("error"), q.Get("error_description"))
		offer(c.errs, err)
		fmt.Fprintf(w, "<title>hallmark</title><p>%s</p>", html.EscapeString(err.Error()))
		return
	}
	offer(c.codes, q.Get("code"))
	_, _ = io.WriteString(w, "<title>hallmark</title><p>You are logged in. You may close this window.</p>")
}

// offer gives v to whoever waits; a second one is dropped.
func offer[T any](to chan T, v T) {
	select {
	case to <- v:
	default:
	}
}

// Browse opens a URL in the person's browser by what the system has for it. It
// does not wait for the browser, which may be this very process's child.
func Browse(url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	cmd := exec.Command(name, args...) // outlives the login, so has no context
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}
