package registrytest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Auth asks for credentials, either with every request or, with Bearer, once
// for a token.
type Auth struct {
	User, Password string
	// Bearer has the client fetch tokens at /token, for scopes.
	Bearer bool
	// ExpireAt lists the requests, counted from one, just before which all
	// tokens expire.
	ExpireAt []int

	mu     sync.Mutex
	served int
	// tokens maps a token to its scopes.
	tokens map[string]string
	scopes []string
}

// Scopes lists the scopes that tokens were asked for, in order.
func (a *Auth) Scopes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string{}, a.scopes...)
}

func (a *Auth) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, password, _ := req.BasicAuth()
		known := user == a.User && password == a.Password
		switch {
		case !a.Bearer && known:
			next.ServeHTTP(w, req)
		case !a.Bearer:
			w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
			Status(http.StatusUnauthorized, "UNAUTHORIZED", "who are you?")(nil, w, req, nil)
		case req.URL.Path == "/token" && known:
			a.grant(w, req)
		case req.URL.Path == "/token":
			Status(http.StatusUnauthorized, "UNAUTHORIZED", "wrong password")(nil, w, req, nil)
		case a.redeem(req):
			next.ServeHTTP(w, req)
		default:
			w.Header().Set("WWW-Authenticate", a.challenge(req))
			Status(http.StatusUnauthorized, "UNAUTHORIZED", "token missing, spent or of too little scope")(nil, w, req, nil)
		}
	})
}

func (a *Auth) challenge(req *http.Request) string {
	scheme := "http"
	if req.TLS != nil {
		scheme = "https"
	}
	text := fmt.Sprintf(`Bearer realm="%s://%s/token",service="registrytest"`, scheme, req.Host)
	if scope := needs(req); scope != "" {
		text += fmt.Sprintf(`,scope=%q`, scope)
	}
	return text
}

// needs is the scope that a request takes.
func needs(req *http.Request) string {
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if repo, _, ok := strings.Cut(path, part); ok {
			if req.Method == http.MethodGet || req.Method == http.MethodHead {
				return "repository:" + repo + ":pull"
			}
			return "repository:" + repo + ":push,pull"
		}
	}
	return ""
}

func (a *Auth) grant(w http.ResponseWriter, req *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tokens == nil {
		a.tokens = map[string]string{}
	}
	scopes := strings.Join(req.URL.Query()["scope"], " ")
	a.scopes = append(a.scopes, scopes)
	value := fmt.Sprintf("token-%d", len(a.scopes))
	a.tokens[value] = scopes
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"token":%q}`, value)
}

func (a *Auth) redeem(req *http.Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.served++; slices.Contains(a.ExpireAt, a.served) {
		clear(a.tokens)
	}
	scopes, ok := a.tokens[strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")]
	need := needs(req)
	if !ok || need == "" {
		return ok
	}
	colon := strings.LastIndex(need, ":")
	return strings.Contains(scopes, need[:colon]) && (need[colon:] == ":pull" || strings.Contains(scopes, "push"))
}
