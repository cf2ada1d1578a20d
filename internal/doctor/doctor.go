// Package doctor examines the whole chain, from the identity token to the
// policies in the cluster, and says of each part whether it is as hallmark.yaml
// needs it, what was seen, and what mends it.
//
// A part that could not be examined, or that nobody asked about, is unchecked
// and never ok. The package changes nothing, except that the registry is tried
// by writing when that is asked for. Its limits: it sees what the credentials
// it is given may see, and at one moment.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/cluster"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/manifest"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// Status is the state of one part.
type Status string

// The states. Only OK is good; Warning works today and should be mended;
// Unchecked was not examined, and Seen says why.
const (
	OK        Status = "ok"
	Warning   Status = "warning"
	Broken    Status = "broken"
	Unchecked Status = "unchecked"
)

// Finding is what an examination gave.
type Finding struct {
	// Check is the examination's name, such as token or cluster-policies.
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Seen says in one sentence what was found.
	Seen string `json:"seen"`
	// Mend is what to do about it; empty for OK.
	Mend string `json:"mend,omitempty"`
	// Facts are further details.
	Facts []string `json:"facts,omitempty"`
}

// Chain is everything there is to examine. What is nil is unchecked.
type Chain struct {
	Policy policy.Policy
	// Tokens gives the identity token, and NoToken says why there is none.
	Tokens  oidc.Source
	NoToken error
	// TrustPolicy is an AWS role's trust policy, as JSON.
	TrustPolicy []byte
	Registry    *registry.Client
	// Write lets the registry be tried by writing.
	Write bool
	// Anchor loads the trust root, and Services finds the services to sign
	// with.
	Anchor   func(context.Context) (trust.Anchor, error)
	Services func(context.Context) (trust.Services, error)
	// Advisories says where the database comes from.
	Advisories advisory.Options
	// Memory asks the service whether it is ready and answers this caller.
	Memory func(context.Context) error
	// Cluster is the cluster, and Rendered the policies it should have.
	Cluster  *cluster.Cluster
	Rendered []manifest.Object
	Now      func() time.Time
}

// check is one examination.
type check struct {
	name string
	run  func(context.Context, *examination) []Finding
}

// checks are all examinations, in the order of the chain.
var checks = []check{
	{"policy", checkPolicy},
	{"token", checkToken},
	{"aws-trust", checkAWSTrust},
	{"registry", checkRegistry},
	{"trust-root", checkRoot},
	{"services", checkServices},
	{"clock", checkClock},
	{"advisories", checkAdvisories},
	{"memory", checkMemory},
	{"cluster", checkCluster},
	{"cluster-policies", checkPolicies},
	{"cluster-weaknesses", checkWeaknesses},
	{"cluster-webhooks", checkWebhooks},
}

// Names lists the examinations.
func Names() []string {
	var names []string
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// patience bounds one examination.
const patience = time.Minute

// examination is one run; what several checks need is fetched once.
type examination struct {
	Chain
	probe    func(context.Context) (registry.Probe, error)
	anchor   func(context.Context) (trust.Anchor, error)
	services func(context.Context) (trust.Services, error)
	policies func(context.Context) (cluster.Policies, error)
	clocks   clocks
}

// Examine makes the named examinations, or all, side by side. The findings are
// in the order of the chain. It ends early only with ctx.
func Examine(ctx context.Context, c Chain, only []string, progress func(string)) ([]Finding, error) {
	for _, name := range only {
		if !slices.Contains(Names(), name) {
			return nil, hint.Add(fmt.Errorf("there is no check %q", name), "the checks are %v", Names())
		}
	}
	x := &examination{Chain: c}
	x.probe = once(func(ctx context.Context) (registry.Probe, error) {
		repo, err := name.NewRepository(c.Policy.Image, name.StrictValidation)
		if err != nil {
			return registry.Probe{}, err
		}
		return c.Registry.Probe(ctx, repo, c.Write)
	})
	x.anchor, x.services = once(c.Anchor), once(c.Services)
	x.policies = once(func(ctx context.Context) (cluster.Policies, error) { return c.Cluster.Policies(ctx) })
	found := make([][]Finding, len(checks))
	var group sync.WaitGroup
	for i, check := range checks {
		if len(only) > 0 && !slices.Contains(only, check.name) {
			continue
		}
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			progress(check.name)
			found[i] = check.run(ctx, x)
			for n := range found[i] {
				found[i][n].Check = check.name
			}
		})
	}
	group.Wait()
	return slices.Concat(found...), ctx.Err()
}

// once remembers what f gave; whoever comes second waits for the first.
func once[T any](f func(context.Context) (T, error)) func(context.Context) (T, error) {
	var first sync.Once
	var value T
	var err error
	return func(ctx context.Context) (T, error) {
		first.Do(func() { value, err = f(ctx) })
		return value, err
	}
}

func ok(format string, args ...any) []Finding {
	return []Finding{{Status: OK, Seen: fmt.Sprintf(format, args...)}}
}

func unchecked(mend, format string, args ...any) []Finding {
	return []Finding{{Status: Unchecked, Seen: fmt.Sprintf(format, args...), Mend: mend}}
}

func warning(mend, format string, args ...any) Finding {
	return Finding{Status: Warning, Seen: fmt.Sprintf(format, args...), Mend: mend}
}

func broken(mend, format string, args ...any) Finding {
	return Finding{Status: Broken, Seen: fmt.Sprintf(format, args...), Mend: mend}
}

// failed is a broken part that says by itself what mends it.
func failed(err error, otherwise string) []Finding {
	mend := hint.Of(err)
	if mend == "" {
		mend = otherwise
	}
	return []Finding{broken(mend, "%v", err)}
}
