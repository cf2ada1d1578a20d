package cli

import (
	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check the policy file, render it for a cluster, try it, and lint what a cluster has",
		Long: `hallmark.yaml says what a release must be: where its image lives, how it is
built, what the gate refuses, who may sign, which roots are trusted and which
evidence must exist. Release and verify read the same file.`,
		Example: "  hallmark policy check\n  hallmark policy render -o policies/\n  hallmark policy test -f deploy/\n  hallmark policy lint policies/\n  hallmark policy schema > hallmark.schema.json",
		Args:    a.noVerb,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.policyCheckCommand(), a.policyRenderCommand(), a.policyTestCommand(), a.policyLintCommand(), &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of hallmark.yaml, for editors",
		Example: "  hallmark policy schema > hallmark.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.screen.printf("%s", policy.Schema())
			return nil
		},
	})
	return cmd
}

func (a *app) policyCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "check [DIR]",
		Short:   "Read hallmark.yaml and say what it means, defaults filled in",
		Example: "  hallmark policy check\n  hallmark policy check --config other.yaml --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			p, err := a.policy(dir)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.screen.json(p)
			}
			a.printPolicy(p)
			return nil
		},
	}
}

func (a *app) printPolicy(p policy.Policy) {
	s := a.screen
	s.printf("%s  %s\n", s.out(green, "VALID"), p.Path)
	s.printf("  image     %s\n", p.Image)
	s.printf("  signed by %s\n            of issuer %s\n", p.Identity.SubjectRegexp(), p.Identity.Issuer)
	if p.Identity.Repository != "" && p.Identity.Ref == "" {
		s.printf("  %s   identity.ref is not set: any ref counts, those of pull requests too\n", s.out(yellow, "warning"))
	}
	s.printf("  trusting  the %s root\n", p.Trust.Root)
	s.printf("  evidence  %v\n", p.Evidence)
	s.printf("  gate      refuses %s and worse", p.Gate.Threshold())
	if p.Gate.OnlyFixable {
		s.printf(" with a fix")
	}
	if p.Gate.RefusesKEV() {
		s.printf(", anything known to be exploited")
	}
	s.printf(", and a database older than %s\n", p.Gate.DatabaseAge())
	s.printf("            unknown severity: %s; ecosystem without data: %s; version that does not compare: %s\n",
		p.Gate.OnUnknownSeverity(), p.Gate.OnUncovered(), p.Gate.OnUncomparable())
	for _, e := range p.Gate.Exceptions {
		s.printf("  excepted  %s in %s until %s, by %s: %s\n", clean(e.ID), clean(e.Package), e.Expires.Format("2006-01-02"), clean(e.Author), clean(e.Reason))
	}
}
