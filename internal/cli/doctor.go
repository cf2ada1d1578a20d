package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/cluster"
	"github.com/hallmark-sh/hallmark/internal/doctor"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/manifest"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// maxTrustPolicy bounds a role's trust policy, in bytes; IAM's own bound is
// 4,096 characters.
const maxTrustPolicy = 64 << 10

type doctorFlags struct {
	identity    identityFlags
	cluster     clusterFlags
	memory      memoryFlags
	advisories  string
	trustPolicy string
	only        []string
	write       bool
}

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine the whole chain, and say what mends what is broken",
		Long: `doctor examines every part that a release and its admission rest on: the policy,
the identity token, an AWS role's trust in it, the registry, the trust root and the
services behind it, the clock, the advisories, the memory, and the policies of a
cluster. Of each it says what it saw, and what to do when it is not as it must be.

It changes nothing; with --write it also tries an upload and a tag in the registry,
and takes them back. What was not examined is said, and is never called ok.

Exit codes: 0 nothing is broken; 3 something is; 1 it could not be examined at all.`,
		Example: `  hallmark doctor
  hallmark doctor --context production --server https://hallmark.acme.example
  hallmark doctor --only registry,trust-root --write
  hallmark doctor --trust-policy role.json           in the job that assumes the role`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	f.identity.bind(flags)
	f.cluster.add(flags)
	flags.StringVar(&f.memory.server, "server", "", "`address` of the memory service (default HALLMARK_SERVER)")
	flags.StringVar(&f.advisories, "advisories", "", "advisory database: a `file`, folder or URL, instead of the policy's")
	flags.StringVar(&f.trustPolicy, "trust-policy", "", "`file` with an AWS role's trust policy, to compare with the token")
	flags.StringSliceVar(&f.only, "only", nil, "examine only these `checks`: "+strings.Join(doctor.Names(), ", "))
	flags.BoolVar(&f.write, "write", false, "try whether the registry may be written to, and whether tags can be moved")
	return cmd
}

// doctorAnswer is the answer in JSON; docs/schemas has its schema.
type doctorAnswer struct {
	Healthy  bool             `json:"healthy"`
	Findings []doctor.Finding `json:"findings"`
}

func (a *app) doctor(ctx context.Context, f doctorFlags) error {
	p, err := a.policy(".")
	if err != nil {
		return err
	}
	chain, shut, err := a.chain(ctx, p, f)
	if err != nil {
		return err
	}
	defer shut()
	began := time.Now()
	found, err := doctor.Examine(ctx, chain, f.only, func(check string) { a.screen.progress("doctor", check, time.Since(began)) })
	if err != nil {
		if ctx.Err() == nil {
			err = misuse{err}
		}
		return err
	}
	answer := doctorAnswer{Healthy: true, Findings: found}
	for _, one := range found {
		answer.Healthy = answer.Healthy && one.Status != doctor.Broken
	}
	if a.flags.json {
		err = a.screen.json(answer)
	} else {
		a.printDoctor(answer)
	}
	if err == nil && !answer.Healthy {
		return errNo
	}
	return err
}

// chain gathers what there is to examine. What isn't there is left out, and
// then told as unchecked.
func (a *app) chain(ctx context.Context, p policy.Policy, f doctorFlags) (c doctor.Chain, shut func(), err error) {
	c = doctor.Chain{Policy: p, Write: f.write, Anchor: a.anchor(p), Now: time.Now, Advisories: a.advisoryOptions(p, f.advisories)}
	c.Advisories.Progress = func(string) {}
	if c.Registry, err = a.openRegistry(); err != nil {
		return c, nil, err
	}
	if f.trustPolicy != "" {
		if c.TrustPolicy, err = readBounded(f.trustPolicy, maxTrustPolicy); err != nil {
			return c, nil, fmt.Errorf("reading the trust policy: %w", err)
		}
	}
	local, shut, err := a.signingServices(ctx, p, &c)
	if err != nil {
		return c, nil, err
	}
	if c.Tokens, err = a.tokens(f.identity, trust.Services{}, local); err != nil {
		c.Tokens, c.NoToken = nil, err
	}
	c.Memory = a.memoryCheck(f.memory)
	if c.Cluster, c.Rendered, err = a.clusterOf(p, f.cluster); err != nil {
		shut()
		return c, nil, err
	}
	return c, shut, nil
}

// signingServices says how to find what signs. A local trust that isn't there
// is not made.
func (a *app) signingServices(ctx context.Context, p policy.Policy, c *doctor.Chain) (local oidc.Source, shut func(), err error) {
	if p.Trust.Root != policy.RootLocal {
		c.Services = func(ctx context.Context) (trust.Services, error) {
			return trust.LoadServices(ctx, p.Trust, a.trustOptions(p))
		}
		return nil, func() {}, nil
	}
	if _, err := os.Stat(localState(p)); err != nil {
		return nil, func() {}, nil // the check of the root tells it
	}
	opened, err := localtrust.Open(ctx, localState(p), localtrust.Options{Issuer: p.Identity.Issuer})
	if err != nil {
		return nil, nil, err
	}
	c.Services = func(context.Context) (trust.Services, error) { return opened.Services(), nil }
	src := source.Source{Ref: cmp.Or(p.Identity.Ref, "refs/heads/main"), Commit: strings.Repeat("0", 40)}
	return opened.As(localClaims(p, src)), func() { opened.Close() }, nil
}

// memoryCheck asks the service whether it answers this caller; nil when none
// is named.
func (a *app) memoryCheck(f memoryFlags) func(context.Context) error {
	if f.server == "" && a.env.get("HALLMARK_SERVER") == "" {
		return nil
	}
	return func(ctx context.Context) error {
		client, shut, err := a.client(ctx, f, toAsk)
		if err != nil {
			return err
		}
		defer shut()
		var answer any
		return client.Ask(ctx, "/v1/top", url.Values{"limit": {"1"}}, &answer)
	}
}

// clusterOf finds the cluster that is named, and what it should have.
func (a *app) clusterOf(p policy.Policy, f clusterFlags) (*cluster.Cluster, []manifest.Object, error) {
	if f == (clusterFlags{}) {
		return nil, nil, nil
	}
	c, err := a.openCluster(f)
	if err != nil {
		return nil, nil, err
	}
	files, err := a.renderPolicies(p)
	if err != nil {
		return nil, nil, err
	}
	var rendered []manifest.Object
	for _, file := range files {
		objects, err := manifest.Read(file.Name, bytes.NewReader(file.Data))
		if err != nil {
			return nil, nil, err
		}
		rendered = append(rendered, objects...)
	}
	return c, rendered, nil
}

func (a *app) printDoctor(answer doctorAnswer) {
	counts := map[doctor.Status]int{}
	in := map[doctor.Status]paint{doctor.OK: green, doctor.Warning: yellow, doctor.Broken: red, doctor.Unchecked: dim}
	for _, f := range answer.Findings {
		counts[f.Status]++
		word := fmt.Sprintf("%-9s", f.Status)
		a.screen.printf("%-18s  %s  %s\n", f.Check, a.screen.out(in[f.Status], word), clean(f.Seen))
		for _, fact := range f.Facts {
			a.screen.printf("%-18s             %s\n", "", clean(fact))
		}
		if f.Mend != "" {
			a.screen.printf("%-18s             mend: %s\n", "", clean(f.Mend))
		}
	}
	word := a.screen.out(green, "NOTHING BROKEN")
	if !answer.Healthy {
		word = a.screen.out(red, "BROKEN")
	}
	a.screen.printf("\n%s  %d ok, %d warnings, %d broken, %d unchecked\n", word, counts[doctor.OK], counts[doctor.Warning], counts[doctor.Broken], counts[doctor.Unchecked])
}
