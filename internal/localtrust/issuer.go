package localtrust

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	coreoidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/hallmark-sh/hallmark/internal/oidc"
)

// tokenLifetime is how long a token is valid.
const tokenLifetime = 10 * time.Minute

// Mint makes an identity token for the audience, such as oidc.Audience. With
// zero claims it is for Identity. Whatever issuer is claimed, the token is of
// the local issuer. A workflow's claims must be whole; GitHubClaims helps.
func (l *Local) Mint(c oidc.Claims, audience string) (oidc.Token, error) {
	c.Issuer = l.state.issuer
	if c.Subject == "" && c.Email == "" && !c.IsWorkflow() {
		c.Subject, c.Email = Identity, Identity
	}
	switch {
	case c.IsWorkflow() && c.Subject == "":
		c.Subject = "repo:" + c.Repository + ":ref:" + c.Ref
	case c.Subject == "":
		c.Subject = c.Email
	}
	c.EmailVerified = c.Email != ""
	now := l.now()
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: l.state.issuerKey, KeyID: fingerprint(l.state.issuerKey.Public())}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return oidc.Token{}, fmt.Errorf("minting identity token: %w", err)
	}
	raw, err := jwt.Signed(signer).Claims(c).Claims(jwt.Claims{
		Audience:  jwt.Audience{audience},
		IssuedAt:  jwt.NewNumericDate(now),
		NotBefore: jwt.NewNumericDate(now),
		Expiry:    jwt.NewNumericDate(now.Add(tokenLifetime)),
	}).Serialize()
	if err != nil {
		return oidc.Token{}, fmt.Errorf("minting identity token: %w", err)
	}
	return oidc.Parse(raw)
}

// GitHubClaims are the claims of a GitHub Actions run: repository is
// owner/name, workflow a path in it, ref a full git ref, sha a commit. What is
// not given is made up, the same each time; the runner says self-hosted, which
// is true.
func GitHubClaims(repository, workflow, ref, sha string) oidc.Claims {
	owner, _, _ := strings.Cut(repository, "/")
	workflowRef := repository + "/" + workflow + "@" + ref
	return oidc.Claims{
		Subject:              "repo:" + repository + ":ref:" + ref,
		Repository:           repository,
		RepositoryID:         number(repository),
		RepositoryOwner:      owner,
		RepositoryOwnerID:    number(owner),
		RepositoryVisibility: "private",
		Ref:                  ref,
		SHA:                  sha,
		Workflow:             workflow,
		WorkflowRef:          workflowRef,
		WorkflowSHA:          sha,
		JobWorkflowRef:       workflowRef,
		JobWorkflowSHA:       sha,
		EventName:            "push",
		RunID:                number(repository + sha),
		RunAttempt:           "1",
		RunnerEnvironment:    "self-hosted",
	}
}

// number makes up an id from a name.
func number(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return strconv.FormatUint(uint64(h.Sum32()), 10)
}

// verify checks a token as Fulcio does: signature, issuer, audience, time.
func (l *Local) verify(ctx context.Context, raw string) (*coreoidc.IDToken, error) {
	keys := &coreoidc.StaticKeySet{PublicKeys: []crypto.PublicKey{l.state.issuerKey.Public()}}
	return coreoidc.NewVerifier(l.state.issuer, keys, &coreoidc.Config{
		ClientID:             oidc.Audience,
		SupportedSigningAlgs: []string{coreoidc.ES256},
		Now:                  l.now,
	}).Verify(ctx, raw)
}

// keySet is the issuer's public key as a JSON Web Key Set (RFC 7517).
func (l *Local) keySet() ([]byte, error) {
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{
		Key: l.state.issuerKey.Public(), KeyID: fingerprint(l.state.issuerKey.Public()), Algorithm: string(jose.ES256), Use: "sig",
	}}})
}
