package localtrust_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/fulcio/pkg/certificate"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
)

func open(t testing.TB, opts localtrust.Options) *localtrust.Local {
	t.Helper()
	l, err := localtrust.Open(t.Context(), t.TempDir()+"/trust", opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func serve(t testing.TB, l *localtrust.Local) string {
	t.Helper()
	srv := httptest.NewServer(l.Handler())
	t.Cleanup(srv.Close)
	return srv.URL
}

func send(t testing.TB, method, url, bearer string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// request asks for a certificate of key, with a proof that prover holds it
// over the name.
func request(t testing.TB, key crypto.PublicKey, prover *ecdsa.PrivateKey, name string) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(name))
	proof, err := ecdsa.SignASN1(rand.Reader, prover, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"publicKeyRequest": map[string]any{
		"publicKey":         map[string]string{"algorithm": "ECDSA", "content": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))},
		"proofOfPossession": proof,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// chain reads the certificates of an answer.
func chain(t testing.TB, answer string) []*x509.Certificate {
	t.Helper()
	var a struct {
		SCT struct {
			Chain struct{ Certificates []string }
		} `json:"signedCertificateEmbeddedSct"`
	}
	if err := json.Unmarshal([]byte(answer), &a); err != nil {
		t.Fatal(err)
	}
	var out []*x509.Certificate
	for _, text := range a.SCT.Chain.Certificates {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			t.Fatalf("no certificate in %q", text)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

const certPath = "/api/v2/signingCert"

func TestCertificate(t *testing.T) {
	now := time.Now().Add(time.Hour).Truncate(time.Second)
	l := open(t, localtrust.Options{Now: func() time.Time { return now }})
	url := serve(t, l)
	sha := strings.Repeat("ab", 20)
	claims := localtrust.GitHubClaims("acme/app", ".github/workflows/release.yml", "refs/heads/main", sha)
	claims.JobWorkflowRef, claims.JobWorkflowSHA = "acme/ci/.github/workflows/build.yml@refs/tags/v2", strings.Repeat("cd", 20)
	token, err := l.Mint(claims, oidc.Audience)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	status, answer := send(t, "POST", url+certPath, token.Raw(), request(t, key.Public(), key, claims.Subject))
	if status != 200 {
		t.Fatalf("status %d: %s", status, answer)
	}
	certs := chain(t, answer)
	if len(certs) != 3 {
		t.Fatalf("%d certificates, want leaf, authority and root", len(certs))
	}
	leaf := certs[0]
	if !leaf.NotBefore.Equal(now) || leaf.NotAfter.Sub(leaf.NotBefore) != 10*time.Minute {
		t.Errorf("valid %s to %s", leaf.NotBefore, leaf.NotAfter)
	}
	if leaf.URIs[0].String() != "https://github.com/acme/ci/.github/workflows/build.yml@refs/tags/v2" || len(leaf.EmailAddresses) != 0 || leaf.Subject.String() != "" {
		t.Errorf("names %v %v %s", leaf.URIs, leaf.EmailAddresses, leaf.Subject)
	}
	if org := certs[1].Subject.Organization; len(org) != 1 || !cmp.Equal(org, certs[2].Subject.Organization) {
		t.Errorf("organisations %v and %v, want the same one", org, certs[2].Subject.Organization)
	}
	got, err := certificate.ParseExtensions(leaf.Extensions)
	if err != nil {
		t.Fatal(err)
	}
	want := certificate.Extensions{
		Issuer:                              localtrust.Issuer,
		Subject:                             "repo:acme/app:ref:refs/heads/main",
		GithubWorkflowTrigger:               "push",
		GithubWorkflowSHA:                   sha,
		GithubWorkflowName:                  claims.Workflow,
		GithubWorkflowRepository:            "acme/app",
		GithubWorkflowRef:                   "refs/heads/main",
		BuildSignerURI:                      "https://github.com/acme/ci/.github/workflows/build.yml@refs/tags/v2",
		BuildSignerDigest:                   strings.Repeat("cd", 20),
		RunnerEnvironment:                   "self-hosted",
		SourceRepositoryURI:                 "https://github.com/acme/app",
		SourceRepositoryDigest:              sha,
		SourceRepositoryRef:                 "refs/heads/main",
		SourceRepositoryIdentifier:          claims.RepositoryID,
		SourceRepositoryOwnerURI:            "https://github.com/acme",
		SourceRepositoryOwnerIdentifier:     claims.RepositoryOwnerID,
		BuildConfigURI:                      "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main",
		BuildConfigDigest:                   sha,
		BuildTrigger:                        "push",
		RunInvocationURI:                    "https://github.com/acme/app/actions/runs/" + claims.RunID + "/attempts/1",
		SourceRepositoryVisibilityAtSigning: "private",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
}

// TestCertificateRequest proves the key by a certificate request, and carries
// the token in the body: the API's other forms.
func TestCertificateRequest(t *testing.T) {
	l := open(t, localtrust.Options{})
	url := serve(t, l)
	token, err := l.Token(t.Context(), oidc.Audience)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]bool{"good": false, "signature broken": true} {
		csr := bytes.Clone(der)
		if spoil {
			csr[len(csr)-1] ^= 1
		}
		body, err := json.Marshal(map[string]any{
			"credentials":               map[string]string{"oidcIdentityToken": token.Raw()},
			"certificateSigningRequest": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}),
		})
		if err != nil {
			t.Fatal(err)
		}
		status, answer := send(t, "POST", url+certPath, "", body)
		if (status == 200) == spoil {
			t.Errorf("%s: status %d: %s", name, status, answer)
		}
	}
}

func TestCertificateRefused(t *testing.T) {
	now := time.Now()
	l := open(t, localtrust.Options{Now: func() time.Time { return now }})
	url := serve(t, l)
	mint := func(from *localtrust.Local, c oidc.Claims, audience string) string {
		t.Helper()
		token, err := from.Mint(c, audience)
		if err != nil {
			t.Fatal(err)
		}
		return token.Raw()
	}
	good := mint(l, oidc.Claims{}, oidc.Audience)
	now = now.Add(-time.Hour)
	old := mint(l, oidc.Claims{}, oidc.Audience)
	now = now.Add(time.Hour)

	// The same keys under the name of another issuer.
	copied := t.TempDir() + "/trust"
	if err := os.CopyFS(copied, os.DirFS(l.Dir())); err != nil {
		t.Fatal(err)
	}
	chmod(t, copied, 0o700)
	rename := strings.Replace(readFile(t, copied+"/keys.json"), `"`+localtrust.Issuer+`"`, `"`+oidc.GitHubIssuer+`"`, 1)
	write(t, copied+"/keys.json", rename)
	if err := os.RemoveAll(copied + "/log"); err != nil {
		t.Fatal(err)
	}
	twin := reopen(t, copied)

	// The same token with other claims, and with no signature at all.
	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	changed := base64.RawURLEncoding.EncodeToString(bytes.ReplaceAll(payload, []byte("local@"), []byte("admin@")))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))

	key, other := newKey(t), newKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	proved := request(t, key.Public(), key, localtrust.Identity)
	partial := oidc.Claims{JobWorkflowRef: "acme/app/x.yml@refs/heads/main", Subject: "s"}
	for _, tt := range []struct {
		name   string
		token  string
		body   []byte
		status int
		want   string
	}{
		{"good", good, proved, 200, ""},
		{"no token", "", proved, 401, "identity token"},
		{"expired", old, proved, 401, "expired"},
		{"other audience", mint(l, oidc.Claims{}, "sts.amazonaws.com"), proved, 401, "audience"},
		{"other issuer's key", mint(open(t, localtrust.Options{}), oidc.Claims{}, oidc.Audience), proved, 401, "signature"},
		{"other issuer", mint(twin, oidc.Claims{}, oidc.Audience), proved, 401, "different provider"},
		{"claims changed", parts[0] + "." + changed + "." + parts[2], proved, 401, "signature"},
		{"unsigned", none + "." + parts[1] + ".", proved, 401, "identity token"},
		{"part of a workflow's claims", mint(l, partial, oidc.Audience), request(t, key.Public(), key, "s"), 400, "claim"},
		{"not an address", mint(l, oidc.Claims{Email: "Ann <ann@acme.test>"}, oidc.Audience), request(t, key.Public(), key, "Ann <ann@acme.test>"), 400, "e-mail address"},
		{"neither address nor workflow", mint(l, oidc.Claims{Subject: "s"}, oidc.Audience), request(t, key.Public(), key, "s"), 400, "neither"},
		{"another's key", good, request(t, key.Public(), other, localtrust.Identity), 400, "possession"},
		{"proof over another name", good, request(t, key.Public(), key, "admin@hallmark.localhost"), 400, "possession"},
		{"weak key", good, request(t, weak.Public(), key, localtrust.Identity), 400, "public key"},
		{"no key", good, []byte(`{}`), 400, "public key"},
		{"no JSON", good, []byte(`hello`), 400, "JSON"},
		{"endless", good, append([]byte(`{"a":"`), bytes.Repeat([]byte("a"), 2<<20)...), 400, "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := send(t, "POST", url+certPath, tt.token, tt.body)
			if status != tt.status || !strings.Contains(answer, tt.want) {
				t.Errorf("status %d, want %d with %q: %s", status, tt.status, tt.want, answer)
			}
			if tt.token != "" && strings.Contains(answer, tt.token) {
				t.Errorf("the answer shows the token: %s", answer)
			}
		})
	}
}

func TestTokenEndpoint(t *testing.T) {
	l := open(t, localtrust.Options{})
	url := serve(t, l)
	secret := readFile(t, l.Dir()+"/"+localtrust.MintSecretFile)
	secret = strings.TrimSpace(secret)
	for _, tt := range []struct {
		name, bearer, body string
		status             int
		identity           string
	}{
		{"default", secret, "", 200, localtrust.Identity},
		{"claims", secret, `{"audience":"sigstore","claims":{"sub":"ann","email":"ann@acme.test"}}`, 200, "ann@acme.test"},
		{"unknown claim", secret, `{"claims":{"emial":"x"}}`, 400, ""},
		{"no secret", "", "", 401, ""},
		{"wrong secret", secret[:len(secret)-1] + "x", "", 401, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := send(t, "POST", url+"/token", tt.bearer, []byte(tt.body))
			if status != tt.status {
				t.Fatalf("status %d, want %d: %s", status, tt.status, answer)
			}
			if status != 200 {
				return
			}
			var a struct{ Token string }
			if err := json.Unmarshal([]byte(answer), &a); err != nil {
				t.Fatal(err)
			}
			token, err := oidc.Parse(a.Token)
			if err != nil {
				t.Fatal(err)
			}
			if err := token.Check(oidc.Audience, time.Now()); err != nil || token.Claims().Identity() != tt.identity || token.Claims().Issuer != localtrust.Issuer {
				t.Errorf("token %s, error %v, want one for %s", token, err, tt.identity)
			}
		})
	}
}

// TestMintIssuer claims GitHub's issuer and does not get it.
func TestMintIssuer(t *testing.T) {
	l := open(t, localtrust.Options{})
	claims := localtrust.GitHubClaims("acme/app", "w.yml", "refs/heads/main", "0")
	claims.Issuer = oidc.GitHubIssuer
	token, err := l.Mint(claims, oidc.Audience)
	if err != nil {
		t.Fatal(err)
	}
	if got := token.Claims().Issuer; got != localtrust.Issuer {
		t.Errorf("the token is of %s", got)
	}
}
