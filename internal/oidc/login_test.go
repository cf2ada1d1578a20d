package oidc_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	"github.com/hallmark-sh/hallmark/internal/oidc"
)

// issuer is a small OpenID provider on loopback that logs everybody in.
type issuer struct {
	t      *testing.T
	srv    *httptest.Server
	key    *ecdsa.PrivateKey
	device bool             // offers codes for other machines
	change func(url.Values) // what it sends the browser back with
	nonce  string           // put into the token instead of the right one

	mu        sync.Mutex
	challenge string
	asked     string // nonce
	polls     int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key}
	m := http.NewServeMux()
	m.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		d := map[string]any{
			"issuer": i.srv.URL, "authorization_endpoint": i.srv.URL + "/auth", "token_endpoint": i.srv.URL + "/token",
			"jwks_uri": i.srv.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"},
		}
		if i.device {
			d["device_authorization_endpoint"] = i.srv.URL + "/device"
		}
		i.reply(w, 200, d)
	})
	m.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.reply(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256"}}})
	})
	m.HandleFunc("/auth", i.auth)
	m.HandleFunc("/device", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.challenge = r.FormValue("code_challenge")
		i.reply(w, 200, map[string]any{"device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": i.srv.URL + "/here", "interval": 1, "expires_in": 60})
	})
	m.HandleFunc("/token", i.token)
	i.srv = httptest.NewServer(m)
	t.Cleanup(i.srv.Close)
	return i
}

func (i *issuer) reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.t.Error(err)
	}
}

func (i *issuer) auth(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	i.mu.Lock()
	i.challenge, i.asked = q.Get("code_challenge"), q.Get("nonce")
	i.mu.Unlock()
	if q.Get("code_challenge_method") != "S256" || q.Get("client_id") != "sigstore" || !strings.Contains(q.Get("scope"), "openid") {
		i.t.Errorf("a login is asked for with %v", q)
	}
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || back.Hostname() != "localhost" {
		i.t.Errorf("the browser is to go back to %s", q.Get("redirect_uri"))
		return
	}
	answer := url.Values{"code": {"c"}, "state": {q.Get("state")}}
	if i.change != nil {
		i.change(answer)
	}
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if base64.RawURLEncoding.EncodeToString(sum[:]) != i.challenge {
		i.reply(w, 400, map[string]string{"error": "invalid_grant", "error_description": "wrong verifier"})
		return
	}
	if r.FormValue("device_code") != "" {
		if i.polls++; i.polls == 1 {
			i.reply(w, 400, map[string]string{"error": "authorization_pending"})
			return
		}
	}
	nonce := i.asked
	if i.nonce != "" {
		nonce = i.nonce
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "k"}}, nil)
	if err != nil {
		i.t.Error(err)
		return
	}
	raw, err := josejwt.Signed(signer).Claims(map[string]any{
		"iss": i.srv.URL, "sub": "ann", "aud": "sigstore", "nonce": nonce, "email": "ann@acme.test", "email_verified": true,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}).Serialize()
	if err != nil {
		i.t.Error(err)
		return
	}
	i.reply(w, 200, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": raw})
}

// browser follows a URL as a person's browser would, in its own time.
func browser(t *testing.T) func(string) error {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	return func(address string) error {
		wg.Go(func() {
			resp, err := http.Get(address)
			if err != nil {
				return // the login gave up
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		})
		return nil
	}
}

func TestLogin(t *testing.T) {
	for _, tt := range []struct {
		name     string
		issuer   func(*issuer)
		headless bool
		audience string
		err      string
		shown    string
	}{
		{name: "browser", shown: "/auth?"},
		{name: "code", headless: true, issuer: func(i *issuer) { i.device = true }, shown: "ABCD-EFGH"},
		{name: "no browser and no codes", headless: true, err: "no browser"},
		{name: "refused", issuer: func(i *issuer) {
			i.change = func(v url.Values) { v.Del("code"); v.Set("error", "access_denied") }
		}, err: "access_denied"},
		{name: "another login's token", issuer: func(i *issuer) { i.nonce = "x" }, err: "another login"},
		{name: "other audience", audience: "sts", err: `wanted "sts"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := newIssuer(t)
			if tt.issuer != nil {
				tt.issuer(i)
			}
			var out bytes.Buffer
			l := &oidc.Login{Issuer: i.srv.URL, Out: &out}
			if !tt.headless {
				l.Browse = browser(t)
			}
			if tt.audience == "" {
				tt.audience = oidc.Audience
			}
			token, err := l.Token(t.Context(), tt.audience)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := token.Check(oidc.Audience, time.Now()); err != nil || token.Claims().Identity() != "ann@acme.test" {
				t.Errorf("token %s, error %v", token, err)
			}
			if !strings.Contains(out.String(), tt.shown) || strings.Contains(out.String(), token.Raw()) {
				t.Errorf("shown to the person: %q", out.String())
			}
		})
	}
}

// TestLoginStranger has a stranger come back with a wrong state before the
// person does: the stranger is refused and the login goes on.
func TestLoginStranger(t *testing.T) {
	i := newIssuer(t)
	follow := browser(t)
	l := &oidc.Login{Issuer: i.srv.URL, Out: io.Discard, Browse: func(address string) error {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		resp, err := http.Get(u.Query().Get("redirect_uri") + "?code=evil&state=guess")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("the stranger got %s", resp.Status)
		}
		return follow(address)
	}}
	if _, err := l.Token(t.Context(), oidc.Audience); err != nil {
		t.Fatal(err)
	}
}

func TestLoginBrowserMissing(t *testing.T) {
	i := newIssuer(t)
	i.device = true
	l := &oidc.Login{Issuer: i.srv.URL, Out: io.Discard, Browse: func(string) error { return errors.New("no program") }}
	if _, err := l.Token(t.Context(), oidc.Audience); err != nil {
		t.Fatal(err)
	}
}
