package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

func TestFiles(t *testing.T) {
	p := policy.Policy{Trust: policy.Trust{TrustedRoot: "root.json", SigningConfig: "config.json", TUFRoot: "tuf.json"}}
	p.Gate.VEX = []string{"a.json", "b.json"}
	if diff := cmp.Diff([]string{"a.json", "b.json", "root.json", "config.json", "tuf.json"}, p.Files()); diff != "" {
		t.Error(diff)
	}
	if got := (policy.Policy{}).Files(); len(got) != 0 {
		t.Errorf("a policy that names none gives %q", got)
	}
}
