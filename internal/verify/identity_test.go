package verify_test

import (
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

func TestIdentities(t *testing.T) {
	w := newWorld(t, nil)
	reusable := claims()
	reusable.JobWorkflowRef = "acme/build/.github/workflows/image.yml@refs/tags/v3"
	signedBy := func(t *testing.T, c oidc.Claims) []evidence.Signed { return w.sign(t, c, release(t, c)...) }
	tests := []struct {
		name     string
		claims   oidc.Claims
		identity policy.Identity
		want     string
	}{
		{"person", person(), policy.Identity{Issuer: localtrust.Issuer, Subject: localtrust.Identity}, "pass"},
		{"person with a dot for any letter", oidc.Claims{Email: "a@acmeXtest"}, policy.Identity{Issuer: localtrust.Issuer, Subject: "a@acme.test"}, "fail identity-mismatch"},
		{"other issuer", person(), policy.Identity{Issuer: "https://accounts.test", Subject: localtrust.Identity}, "fail issuer-mismatch"},
		{"issuer that begins alike", person(), policy.Identity{Issuer: strings.TrimSuffix(localtrust.Issuer, "t"), Subject: localtrust.Identity}, "fail issuer-mismatch"},
		{"GitHub's issuer asked", claims(), policy.Identity{Issuer: oidc.GitHubIssuer, Repository: repo, Workflow: workflow, Ref: ref}, "fail issuer-mismatch"},
		{"no issuer", person(), policy.Identity{Subject: localtrust.Identity}, "fail issuer-mismatch"},
		{"nobody", person(), policy.Identity{Issuer: localtrust.Issuer}, "fail identity-mismatch"},
		{"any ref", claims(), policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: workflow}, "pass"},
		{"refs that begin alike", claims(), policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: workflow, Ref: "refs/heads/*"}, "pass"},
		{"tags only", claims(), policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: workflow, Ref: "refs/tags/*"}, "fail identity-mismatch"},
		{"reusable workflow", reusable, policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: "acme/build/.github/workflows/image.yml@refs/tags/v3", Ref: ref}, "pass"},
		{"reusable workflow, source at another ref", reusable, policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: "acme/build/.github/workflows/image.yml@refs/tags/v3", Ref: "refs/heads/prod"}, "fail identity-mismatch"},
		{"reusable workflow for another source", reusable, policy.Identity{Issuer: localtrust.Issuer, Repository: "acme/other", Workflow: "acme/build/.github/workflows/image.yml@refs/tags/v3"}, "fail identity-mismatch"},
		{"subject and repository", claims(), policy.Identity{Issuer: localtrust.Issuer, Subject: "https://github.com/" + claims().JobWorkflowRef, Repository: "acme/other"}, "fail identity-mismatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := w.options()
			o.Policy.Identity = tt.identity
			v := verify.Judge(subject, signedBy(t, tt.claims), o)
			if got := outcomes(v)["signature"]; got != tt.want || v.Passed() != (tt.want == "pass") {
				t.Errorf("signature: %s, passed %v, want %s\n%s", got, v.Passed(), tt.want, explain(v))
			}
			complete(t, v)
		})
	}
}
