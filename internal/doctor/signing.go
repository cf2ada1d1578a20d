package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

func checkPolicy(_ context.Context, x *examination) []Finding {
	var out []Finding
	if id := x.Policy.Identity; id.Repository != "" && id.Ref == "" {
		out = append(out, warning("set identity.ref, such as refs/heads/main", "any branch counts, those of pull requests too"))
	}
	if x.Policy.Trust.Root == policy.RootLocal {
		out = append(out, warning("write trust: {root: public}, or a private Sigstore, before others rely on it", "the local trust is for one machine: whoever reads its folder signs as anybody"))
	}
	for _, e := range x.Policy.Gate.Exceptions {
		if !x.Now().Before(e.Expires) {
			out = append(out, warning("remove it from hallmark.yaml", "the exception of %s ended on %s", e.ID, e.Expires.Format(time.DateOnly)))
		}
	}
	if len(out) == 0 {
		return ok("%s is signed by %s of %s", x.Policy.Image, x.Policy.Identity.SubjectRegexp(), x.Policy.Identity.Issuer)
	}
	return out
}

// token gets the identity token that a release would sign with.
func (x *examination) token(ctx context.Context) (oidc.Token, []Finding) {
	const mend = "run it in the job that signs, with permissions: {id-token: write}, or give one with --identity-token"
	if x.Tokens == nil {
		return oidc.Token{}, unchecked(mend, "there is no identity token here: %v", x.NoToken)
	}
	token, err := x.Tokens.Token(ctx, oidc.Audience)
	if err == nil {
		err = token.Check(oidc.Audience, x.Now())
	}
	if err != nil {
		return oidc.Token{}, failed(err, mend)
	}
	return token, nil
}

func checkToken(ctx context.Context, x *examination) []Finding {
	token, no := x.token(ctx)
	if no != nil {
		return no
	}
	c, want := token.Claims(), x.Policy.Identity
	subject, err := regexp.Compile(want.SubjectRegexp())
	if err != nil {
		return failed(err, "mend identity in hallmark.yaml")
	}
	switch {
	case c.Issuer != want.Issuer:
		return []Finding{broken("check identity.issuer in hallmark.yaml, or sign where that issuer vouches", "the token is of the issuer %s, hallmark.yaml names %s", c.Issuer, want.Issuer)}
	case !subject.MatchString(c.Identity()):
		return []Finding{broken("check identity.workflow and identity.ref in hallmark.yaml, or call the workflow that it names", "the token is for %s, hallmark.yaml wants %s", c.Identity(), want.SubjectRegexp())}
	case want.Repository != "" && c.Repository != want.Repository:
		return []Finding{broken("check identity.repository in hallmark.yaml", "the token is of the repository %s, hallmark.yaml names %s", c.Repository, want.Repository)}
	case want.Ref != "" && c.IsWorkflow() && !refMatches(want, c.Ref):
		return []Finding{broken("release from the ref that hallmark.yaml names", "the token is of the ref %s, hallmark.yaml names %s", c.Ref, want.Ref)}
	}
	f := ok("a token for %s, until %s", c.Identity(), token.Expiry().UTC().Format(time.RFC3339))
	f[0].Facts = []string{"subject " + c.Subject, "issuer " + c.Issuer}
	return f
}

func refMatches(want policy.Identity, ref string) bool {
	expression, err := regexp.Compile(want.SourceRefRegexp())
	return err == nil && expression.MatchString(ref)
}

// checkAWSTrust compares the token's claims with the conditions of a role's
// trust policy, as STS does.
func checkAWSTrust(ctx context.Context, x *examination) []Finding {
	if x.TrustPolicy == nil {
		return unchecked("give the role's trust policy with --trust-policy: aws iam get-role --role-name NAME --query Role.AssumeRolePolicyDocument", "no trust policy was given")
	}
	var document struct {
		Statement []struct {
			Effect    string
			Action    any
			Condition map[string]map[string]any
		}
	}
	if err := json.Unmarshal(x.TrustPolicy, &document); err != nil {
		return failed(fmt.Errorf("reading the trust policy: %w", err), "give it as JSON, as IAM shows it")
	}
	token, no := x.token(ctx)
	if no != nil {
		return no
	}
	claims, err := claimsOf(token)
	if err != nil {
		return failed(err, "")
	}
	var reasons []string
	for _, s := range document.Statement {
		if s.Effect != "Allow" || !strings.Contains(fmt.Sprint(s.Action), "AssumeRoleWithWebIdentity") {
			continue
		}
		conditions := s.Condition["StringEquals"]
		if _, bound := value(conditions, "sub"); !bound {
			return []Finding{broken("add a condition on sub, as terraform/modules/identity writes it", "the trust policy has no StringEquals on sub: any repository may take the role")}
		}
		reason := unmet(conditions, claims)
		if reason == "" {
			return ok("the trust policy lets the token in, by %s", strings.Join(slices.Sorted(maps.Keys(conditions)), ", "))
		}
		reasons = append(reasons, reason)
	}
	if len(reasons) == 0 {
		return []Finding{broken("write the trust as terraform/modules/identity does", "the trust policy allows no sts:AssumeRoleWithWebIdentity")}
	}
	return []Finding{broken("compare the values with the token's claims; GitHub's subjects changed their form for new repositories", "STS would refuse the token: %s", strings.Join(reasons, "; "))}
}

// value gives a condition's values by the claim its key ends in.
func value(conditions map[string]any, claim string) ([]string, bool) {
	for key, v := range conditions {
		if !strings.HasSuffix(key, ":"+claim) {
			continue
		}
		if list, ok := v.([]any); ok {
			var out []string
			for _, one := range list {
				out = append(out, fmt.Sprint(one))
			}
			return out, true
		}
		return []string{fmt.Sprint(v)}, true
	}
	return nil, false
}

// unmet is the first condition that the claims do not meet; STS asks for all.
// The audience for AWS is another one than for signing, and is not compared.
func unmet(conditions map[string]any, claims map[string]any) string {
	for _, key := range slices.Sorted(maps.Keys(conditions)) {
		claim := key[strings.LastIndexByte(key, ':')+1:]
		if claim == "aud" {
			continue
		}
		want, _ := value(conditions, claim)
		if got, ok := claims[claim].(string); !ok || !slices.Contains(want, got) {
			return fmt.Sprintf("%s is %q, the trust policy wants %q", claim, got, want)
		}
	}
	return ""
}

// claimsOf gives a token's claims by their names.
func claimsOf(t oidc.Token) (map[string]any, error) {
	raw, err := json.Marshal(t.Claims())
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	return out, json.Unmarshal(raw, &out)
}

// soon is how long before an end it is told of.
const soon = 30 * 24 * time.Hour

func checkRoot(ctx context.Context, x *examination) []Finding {
	a, err := x.anchor(ctx)
	if err != nil {
		return failed(err, "check trust in hallmark.yaml")
	}
	now := x.Now()
	var out []Finding
	switch {
	case a.Expires.IsZero():
	case !now.Before(a.Expires):
		out = append(out, broken("see that the TUF repository can be reached and is renewed", "the trust root's metadata expired at %s", a.Expires.UTC().Format(time.RFC3339)))
	case a.Expires.Sub(now) < 24*time.Hour:
		out = append(out, warning("see that the TUF repository is renewed", "the trust root's metadata expires at %s", a.Expires.UTC().Format(time.RFC3339)))
	}
	if end, living := a.Authorities(now); !living {
		out = append(out, broken("fetch the trust root anew; its owner rotated or forgot it", "no certificate authority of the trust root is valid now: the last ended at %s", end.UTC().Format(time.RFC3339)))
	} else if end.Sub(now) < soon {
		out = append(out, warning("ask whoever runs the authority when the next root comes", "the last certificate authority of the trust root ends at %s", end.UTC().Format(time.RFC3339)))
	}
	if len(out) > 0 {
		return out
	}
	f := ok("the %s root, from %s", x.Policy.Trust.Root, a.Source)
	if !a.Checked.IsZero() {
		f[0].Facts = append(f[0].Facts, fmt.Sprintf("asked for %s ago", a.Age(now).Round(time.Second)))
	}
	return f
}

func checkServices(ctx context.Context, x *examination) []Finding {
	if x.Services == nil {
		return unchecked("", "nothing is signed with them here")
	}
	s, err := x.services(ctx)
	if err != nil {
		return failed(err, "check trust in hallmark.yaml")
	}
	client := &http.Client{Transport: s.Transport}
	var reached []string
	var out []Finding
	for _, service := range append(append([]trust.Service{s.Fulcio}, s.Rekor...), s.TSA...) {
		if service.URL == "" {
			continue
		}
		if err := x.reach(ctx, client, service.URL); err != nil {
			out = append(out, broken("see whether a proxy or a firewall is in the way; a release waits and can be run again", "%s does not answer: %v", service.URL, err))
			continue
		}
		reached = append(reached, service.URL)
	}
	if len(out) > 0 {
		return out
	}
	return ok("%s answer", strings.Join(slices.Compact(slices.Sorted(slices.Values(reached))), ", "))
}

// reach says whether a service answers at all; what it says to a GET of its
// base does not matter, unless it is in trouble.
func (x *examination) reach(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("it says %s", resp.Status)
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		x.clocks.add(address, at.Sub(x.Now()))
	}
	return nil
}

// clocks collects how far other clocks are ahead of this one.
type clocks struct {
	mu    sync.Mutex
	ahead map[string]time.Duration
}

func (c *clocks) add(of string, ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead == nil {
		c.ahead = map[string]time.Duration{}
	}
	c.ahead[of] = ahead
}
