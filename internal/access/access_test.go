package access_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/access"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
)

func rules(t *testing.T, text string) (*access.Rules, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return access.ReadRules(file, nil)
}

func TestTokens(t *testing.T) {
	secret, entry := access.NewToken("grafana", access.Read)
	r, err := rules(t, fmt.Sprintf("tokens:\n  - {name: %s, role: %s, sha256: %s}\n", entry.Name, entry.Role, entry.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Identify(t.Context(), secret)
	if err != nil || p != (access.Principal{Name: "grafana", Role: access.Read}) {
		t.Errorf("identified %+v, %v", p, err)
	}
	for _, wrong := range []string{"", secret[:len(secret)-1], secret + "x", entry.SHA256, strings.Repeat("a", 1<<20), "a.b.c"} {
		if p, err := r.Identify(t.Context(), wrong); !errors.Is(err, access.ErrDenied) || p.Role != access.None {
			t.Errorf("a wrong token of %d bytes gave %+v, %v", len(wrong), p, err)
		}
	}
}

func TestRulesAreStrict(t *testing.T) {
	sum := strings.Repeat("0", 64)
	for name, text := range map[string]string{
		"nobody":       "tokens: []\n",
		"unknown key":  "tokens: [{name: a, role: read, sha256: " + sum + ", expires: never}]\n",
		"unknown role": "tokens: [{name: a, role: root, sha256: " + sum + "}]\n",
		"plain token":  "tokens: [{name: a, role: read, sha256: secret}]\n",
		"no claims":    "oidc: [{issuer: https://i.example, audience: hallmark, role: intake}]\n",
		"no audience":  "oidc: [{issuer: https://i.example, claims: {sub: a}, role: intake}]\n",
		"bad pattern":  "oidc: [{issuer: https://i.example, audience: a, claims: {sub: '['}, role: intake}]\n",
	} {
		if _, err := rules(t, text); err == nil {
			t.Errorf("%s: was read", name)
		}
	}
}

// A token of a real issuer, as a GitHub Actions run would have it.
func TestOIDC(t *testing.T) {
	local, err := localtrust.Open(t.Context(), filepath.Join(t.TempDir(), "trust"), localtrust.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	server := httptest.NewServer(local.Handler())
	defer server.Close()
	if err := local.Serving(server.URL); err != nil {
		t.Fatal(err)
	}
	// The local issuer's own name is no address: it is reached here.
	client := &http.Client{Transport: redirect{local.Issuer(), server.URL}}
	mint := func(repository, audience string) string {
		claims := localtrust.GitHubClaims(repository, ".github/workflows/release.yml", "refs/heads/main", strings.Repeat("a", 40))
		token, err := local.Mint(claims, audience)
		if err != nil {
			t.Fatal(err)
		}
		return token.Raw()
	}
	file := filepath.Join(t.TempDir(), "access.yaml")
	text := fmt.Sprintf("oidc:\n  - issuer: %s\n    audience: hallmark\n    claims: {repository: acme/*, ref: refs/heads/main}\n    role: intake\n", local.Issuer())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := access.ReadRules(file, client)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := r.Identify(t.Context(), mint("acme/app", "hallmark")); err != nil || p.Role != access.Intake {
		t.Errorf("the right run: %+v, %v", p, err)
	}
	forged := mint("acme/app", "hallmark")
	forged = forged[:len(forged)-8] + "AAAAAAAA"
	for name, token := range map[string]string{
		"another repository": mint("evil/app", "hallmark"),
		"a deeper path":      mint("acme/app/x", "hallmark"),
		"another audience":   mint("acme/app", oidc.Audience),
		"a forged signature": forged,
	} {
		if p, err := r.Identify(t.Context(), token); !errors.Is(err, access.ErrDenied) || p.Role != access.None {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

type redirect struct{ from, to string }

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	if rest, ok := strings.CutPrefix(req.URL.String(), r.from); ok {
		to, err := http.NewRequestWithContext(req.Context(), req.Method, r.to+rest, nil)
		if err != nil {
			return nil, err
		}
		req = to
	}
	return http.DefaultTransport.RoundTrip(req)
}
