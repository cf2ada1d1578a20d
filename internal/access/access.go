// Package access says who may do what with the service: a bearer token that an
// operator gave out, or an OIDC token whose claims fit a rule, such as that of
// a GitHub Actions run of a certain repository.
//
// The rules are a file. Tokens stand in it as their SHA-256, so that who can
// read the file can use none of them. OIDC tokens are checked against the
// issuer's published keys, with audience and expiry; the package then believes
// the issuer's claims, and no other's.
//
// Roles do not contain each other but in this order: admin may do all, intake
// may read and trigger the intake of images, read may ask.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/goccy/go-yaml"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Role is what somebody may do.
type Role int

// The roles, each of which may do what those before it may.
const (
	// None may do nothing.
	None Role = iota
	// Read may ask questions.
	Read
	// Intake may have images taken in.
	Intake
	// Admin may import advisories and VEX, and retire images.
	Admin
)

var roleNames = []string{"none", "read", "intake", "admin"}

// String is the role's word.
func (r Role) String() string { return roleNames[r] }

// ParseRole reads a role's word.
func ParseRole(word string) (Role, error) {
	for r := Read; r <= Admin; r++ {
		if word == r.String() {
			return r, nil
		}
	}
	return None, fmt.Errorf("%q is no role: read, intake or admin", word)
}

// Principal is who asks.
type Principal struct {
	// Name is for the log; it holds no secret.
	Name string
	Role Role
}

// ErrDenied says that a token was not accepted. It never says why to the
// caller; the wrapped reason is for the log.
var ErrDenied = errors.New("the token is not accepted")

// limits of the file and of a token, in bytes.
const (
	maxFile  = 1 << 20
	maxToken = 16 << 10
)

// Token is one token that was given out.
type Token struct {
	Name   string `yaml:"name"`
	Role   string `yaml:"role"`
	SHA256 string `yaml:"sha256"`
}

// Trust is one rule for the tokens of an OIDC issuer.
type Trust struct {
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	// Claims must all fit: each is the whole value, or a pattern with * for
	// anything but a slash.
	Claims map[string]string `yaml:"claims"`
	Role   string            `yaml:"role"`
}

// Rules are a file's.
type Rules struct {
	tokens map[[sha256.Size]byte]Principal
	trusts []trust
	client *http.Client
}

type trust struct {
	Trust
	role Role

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
}

// ReadRules reads a file of rules; unknown keys are errors. client fetches the
// issuers' keys; nil for http.DefaultClient.
func ReadRules(file string, client *http.Client) (*Rules, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%d bytes, more than %d", info.Size(), maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading access rules: %w", err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading access rules: %w", err)
	}
	r, err := parse(raw, client)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("reading access rules %s: %w", file, err), "docs/memory.md has a complete example")
	}
	return r, nil
}

func parse(raw []byte, client *http.Client) (*Rules, error) {
	var doc struct {
		Tokens []Token `yaml:"tokens"`
		OIDC   []Trust `yaml:"oidc"`
	}
	if err := yaml.UnmarshalWithOptions(raw, &doc, yaml.Strict()); err != nil {
		return nil, err
	}
	r := &Rules{tokens: map[[sha256.Size]byte]Principal{}, client: client, trusts: make([]trust, len(doc.OIDC))}
	for _, t := range doc.Tokens {
		role, err := ParseRole(t.Role)
		if err != nil {
			return nil, fmt.Errorf("token %q: %w", t.Name, err)
		}
		sum, err := hex.DecodeString(t.SHA256)
		if err != nil || len(sum) != sha256.Size || t.Name == "" {
			return nil, fmt.Errorf("token %q needs a name and sha256, 64 hexadecimal digits", t.Name)
		}
		r.tokens[[sha256.Size]byte(sum)] = Principal{Name: t.Name, Role: role}
	}
	for i, t := range doc.OIDC {
		role, err := ParseRole(t.Role)
		if err != nil {
			return nil, fmt.Errorf("oidc rule %d: %w", i+1, err)
		}
		if t.Issuer == "" || t.Audience == "" || len(t.Claims) == 0 {
			return nil, fmt.Errorf("oidc rule %d needs an issuer, an audience and at least one claim", i+1)
		}
		for claim, pattern := range t.Claims {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				return nil, fmt.Errorf("oidc rule %d: claim %s: %q is no pattern", i+1, claim, pattern)
			}
		}
		r.trusts[i].Trust, r.trusts[i].role = t, role
	}
	if len(r.tokens)+len(r.trusts) == 0 {
		return nil, errors.New("it lets nobody in: it has neither tokens nor oidc")
	}
	return r, nil
}

// Identify says whose token it is. An error that is not ErrDenied means that it
// could not be found out, such as when an issuer does not answer.
func (r *Rules) Identify(ctx context.Context, token string) (Principal, error) {
	if token == "" || len(token) > maxToken {
		return Principal{}, ErrDenied
	}
	// Looked up by its sum: how long that takes says nothing about the token.
	if p, ok := r.tokens[sha256.Sum256([]byte(token))]; ok {
		return p, nil
	}
	if strings.Count(token, ".") != 2 {
		return Principal{}, ErrDenied
	}
	best, reasons := Principal{}, []error{}
	for i := range r.trusts {
		p, err := r.trusts[i].identify(ctx, r.client, token)
		if err != nil {
			reasons = append(reasons, err)
		} else if p.Role > best.Role {
			best = p
		}
	}
	if best.Role > None {
		return best, nil
	}
	return Principal{}, fmt.Errorf("%w: %w", ErrDenied, errors.Join(reasons...))
}

func (t *trust) identify(ctx context.Context, client *http.Client, token string) (Principal, error) {
	verifier, err := t.keys(ctx, client)
	if err != nil {
		return Principal{}, err
	}
	checked, err := verifier.Verify(ctx, token)
	if err != nil {
		return Principal{}, err
	}
	var claims map[string]any
	if err := checked.Claims(&claims); err != nil {
		return Principal{}, err
	}
	for claim, pattern := range t.Claims {
		value, ok := claims[claim].(string)
		if fits, err := path.Match(pattern, value); !ok || err != nil || !fits {
			return Principal{}, fmt.Errorf("the claim %s does not fit", claim)
		}
	}
	return Principal{Name: checked.Subject + " of " + t.Issuer, Role: t.role}, nil
}

// keys discovers the issuer, at the first token and again after a failure.
func (t *trust) keys(ctx context.Context, client *http.Client) (*oidc.IDTokenVerifier, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.verifier != nil {
		return t.verifier, nil
	}
	// The keys are fetched again later, when this request is long over.
	background := context.WithoutCancel(ctx)
	if client != nil {
		background = oidc.ClientContext(background, client)
	}
	bounded, cancel := context.WithTimeout(background, 10*time.Second)
	defer cancel()
	provider, err := oidc.NewProvider(bounded, t.Issuer)
	if err != nil {
		return nil, fmt.Errorf("asking the issuer %s for its keys: %w", t.Issuer, err)
	}
	t.verifier = provider.VerifierContext(background, &oidc.Config{ClientID: t.Audience})
	return t.verifier, nil
}

// NewToken makes a token, and the entry that lets it in.
func NewToken(name string, role Role) (secret string, entry Token) {
	secret = "hallmark_" + rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(secret))
	return secret, Token{Name: name, Role: role.String(), SHA256: hex.EncodeToString(sum[:])}
}
