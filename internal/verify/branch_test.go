package verify_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// TestStrangeBranches: a certificate writes workflow and builder as URLs, with
// some characters of a branch escaped, and the provenance writes them as they
// are. They are the same; another branch is not.
func TestStrangeBranches(t *testing.T) {
	w := newWorld(t, nil)
	o := w.options()
	o.Policy.Identity.Ref = ""
	for _, branch := range []string{"feature/(new)", "a&b", `it's"$(x)`, "50%25", "grün", "a+b", "a#b"} {
		c := localtrust.GitHubClaims(repo, workflow, "refs/heads/"+branch, commit)
		v := verify.Judge(subject, w.sign(t, c, release(t, c)...), o)
		if diff := cmp.Diff(allPass, outcomes(v)); diff != "" {
			t.Errorf("branch %s (-want +got):\n%s\n%s", branch, diff, explain(v))
		}
		lying := release(t, c)
		lying[3].Predicate = []byte(strings.ReplaceAll(string(lying[3].Predicate), "refs/heads/", "refs/heads/x"))
		if v := verify.Judge(subject, w.sign(t, c, lying...), o); v.Passed() {
			t.Errorf("branch %s: provenance of another branch passes", branch)
		}
	}
}
