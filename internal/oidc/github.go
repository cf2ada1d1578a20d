package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// The environment of a GitHub Actions job
// (https://docs.github.com/en/actions/reference/security/oidc).
const (
	envGitHub       = "GITHUB_ACTIONS"
	envRequestURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	envRequestToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// GitHubOptions tunes how GitHub Actions is asked for a token.
type GitHubOptions struct {
	// Transport carries the request; nil for http.DefaultTransport.
	Transport http.RoundTripper
	// Pause is the wait before a second try, doubled before each later one
	// and varied at random; 0 for a second.
	Pause time.Duration
	// Timeout bounds one try; 0 for 15 seconds.
	Timeout time.Duration
}

// gitHub is a source that asks the runner of a GitHub Actions job.
type gitHub struct {
	url    *url.URL
	secret string
	opts   GitHubOptions
}

// githubTries is how often GitHub is asked.
const githubTries = 4

func newGitHub(env func(string) string, opts GitHubOptions) (*gitHub, error) {
	address, secret := env(envRequestURL), env(envRequestToken)
	if address == "" || secret == "" {
		return nil, hint.Add(errors.New("this GitHub Actions job may not ask for identity tokens"),
			"give the job the permission id-token: write; a run for a pull request from a fork never has it")
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("%s is not an https URL", envRequestURL)
	}
	if opts.Pause == 0 {
		opts.Pause = time.Second
	}
	if opts.Timeout == 0 {
		opts.Timeout = 15 * time.Second
	}
	return &gitHub{url: u, secret: secret, opts: opts}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Token asks for a token, again when a failure may pass.
func (g *gitHub) Token(ctx context.Context, audience string) (Token, error) {
	pause := g.opts.Pause
	for try := 1; ; try++ {
		t, again, err := g.ask(ctx, audience)
		if err == nil {
			return t, nil
		}
		if !again || try == githubTries || ctx.Err() != nil {
			return Token{}, fmt.Errorf("asking GitHub Actions for an identity token: %w", err)
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return Token{}, fmt.Errorf("asking GitHub Actions for an identity token: %w", ctx.Err())
		case <-timer.C:
		}
		pause *= 2
	}
}

// ask asks once, and says whether to ask again.
func (g *gitHub) ask(ctx context.Context, audience string) (t Token, again bool, err error) {
	ctx, done := context.WithTimeout(ctx, g.opts.Timeout)
	defer done()
	address := *g.url
	q := address.Query()
	q.Set("audience", audience)
	address.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return Token{}, false, err
	}
	req.Header.Set("Authorization", "Bearer "+g.secret)
	client := &http.Client{
		Transport: g.opts.Transport,
		// The secret goes where the runner said and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		var ue *url.Error // which holds the whole address
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return Token{}, true, fmt.Errorf("%s did not answer: %w", g.url.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 2*maxToken))
	if err != nil {
		return Token{}, true, fmt.Errorf("%s broke off its answer: %w", g.url.Host, err)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return Token{}, false, hint.Add(fmt.Errorf("%s answered %s", g.url.Host, resp.Status),
			"give the job the permission id-token: write")
	case resp.StatusCode != http.StatusOK:
		passing := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
		return Token{}, passing, fmt.Errorf("%s answered %s", g.url.Host, resp.Status)
	}
	var answer struct {
		Value string `json:"value"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Value == "" {
		return Token{}, false, fmt.Errorf("%s answered without a token", g.url.Host)
	}
	t, err = Parse(answer.Value)
	return t, false, err
}
