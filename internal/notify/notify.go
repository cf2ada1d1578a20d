// Package notify brings events to a webhook: one POST of JSON for each batch,
// signed with a shared secret, so that the receiver knows who sent it.
//
// The signature is the header X-Hallmark-Signature: "sha256=" and the
// hexadecimal HMAC-SHA256 (RFC 2104) of the body. A batch may come more than
// once; X-Hallmark-Delivery tells which it is. Redirects are not followed: the
// events go where the operator said and nowhere else.
package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// timeout bounds one delivery.
const timeout = 15 * time.Second

// Webhook is where events go.
type Webhook struct {
	url    string
	host   string
	secret []byte
	client *http.Client
}

// New makes a webhook. An address that is not https must be on this machine.
// The secret signs; an empty one leaves the signature out.
func New(address string, secret []byte, userAgent string) (*Webhook, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("the webhook is no URL")
	}
	local := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return nil, fmt.Errorf("the webhook at %s is neither https nor on this machine", u.Host)
	}
	return &Webhook{url: address, host: u.Host, secret: secret, client: &http.Client{
		Timeout:       timeout,
		Transport:     agent{userAgent},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

type agent struct{ name string }

func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", a.name)
	return http.DefaultTransport.RoundTrip(r)
}

// Deliver posts one batch. Any answer but 2xx is an error. Errors do not hold
// the address, which may hold a secret, but its host.
func (w *Webhook) Deliver(ctx context.Context, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("posting to %s: the address cannot be used", w.host)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Hallmark-Delivery", id)
	if len(w.secret) > 0 {
		mac := hmac.New(sha256.New, w.secret)
		mac.Write(body)
		req.Header.Set("X-Hallmark-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return fmt.Errorf("posting to %s: %w", w.host, err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("posting to %s: it answered %s", w.host, resp.Status)
	}
	return nil
}
