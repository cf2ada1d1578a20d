// Package cli is the command line: it turns flags and environment into the
// settings of the rooms behind it, calls them, and prints what they answer.
//
// It is the only package that knows cobra, the environment and the standard
// streams, and it holds no rule about images, signatures or findings. A verb
// is one file. Exit codes are those of this file and no others.
package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// The exit codes. A script may rely on them: only 0 means yes.
const (
	exitYes         = 0   // done, or the answer is yes
	exitCannot      = 1   // could not be done or could not be known
	exitMisuse      = 2   // the command line or the policy file is wrong
	exitNo          = 3   // the answer is no: refused by the gate, or not proven
	exitInterrupted = 130 // ended by a signal
)

// errNo says that a verb did its work, printed its answer, and the answer is
// no.
var errNo = errors.New("the answer is no")

// misuse marks an error as the caller's: wrong flags, wrong arguments, or a
// policy file that does not parse.
type misuse struct{ error }

func (m misuse) Unwrap() error { return m.error }

// Main runs one command line and gives the exit code. args leaves out the
// program's name; environ is in the form of os.Environ. It returns when the
// command has ended or ctx is done and everything begun is put away.
func Main(ctx context.Context, args []string, std Streams, environ []string) int {
	env := newEnvironment(environ)
	a := &app{env: env, screen: newScreen(std, env)}
	root := a.command()
	root.SetArgs(args)
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	return a.exit(ctx, root.ExecuteContext(ctx))
}

// app is one run of the command line.
type app struct {
	env    environment
	screen *screen
	flags  globalFlags
}

type globalFlags struct {
	config   string
	json     bool
	caFile   string
	insecure bool
	verbose  bool
}

// exit prints err, if any, and chooses the exit code.
func (a *app) exit(ctx context.Context, err error) int {
	a.screen.endProgress()
	var wrong misuse
	switch {
	case err == nil:
		return exitYes
	case errors.Is(err, errNo):
		return exitNo
	case ctx.Err() != nil:
		a.screen.problem(fmt.Errorf("interrupted: %w", err), "")
		return exitInterrupted
	case errors.As(err, &wrong):
		a.screen.problem(err, hint.Of(err))
		return exitMisuse
	default:
		a.screen.problem(err, hint.Of(err))
		return exitCannot
	}
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "hallmark",
		Short: "Prove that what runs is exactly what was built from a commit",
		Long: `hallmark takes a commit to a signed, attested and verified container image in
one command, and answers later, with proof, whether what runs is exactly that.

Exit codes: 0 yes; 1 could not; 2 the command line or the policy file is wrong;
3 the answer is no; 130 interrupted.`,
		Example: `  hallmark demo                        see the whole chain work, with no account
  hallmark release                     release the commit in this folder
  hallmark verify ghcr.io/acme/app:TAG is this image what it says it is?`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          a.noVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return misuse{hint.Add(err, "%s --help shows the flags with examples", cmd.CommandPath())}
	})
	pf := root.PersistentFlags()
	pf.StringVar(&a.flags.config, "config", "", "policy `file` (default hallmark.yaml in the folder, or above it in the repository)")
	pf.BoolVar(&a.flags.json, "json", false, "answer with one JSON document on standard output")
	pf.StringVar(&a.flags.caFile, "registry-ca", "", "PEM `file` of certificate authorities to trust for registries, besides the system's")
	pf.BoolVar(&a.flags.insecure, "INSECURE-registry", false, "talk to registries that are not on this machine without TLS or with a false certificate")
	pf.BoolVarP(&a.flags.verbose, "verbose", "v", false, "show every step, with times")
	root.AddCommand(a.initCommand(), a.releaseCommand(), a.buildCommand(), a.attestCommand(), a.verifyCommand(), a.diffCommand(), a.demoCommand(), a.localCommand(), a.advisoriesCommand(), a.policyCommand(), a.whyDeniedCommand(), a.doctorCommand(), a.versionCommand())
	root.AddCommand(a.serveCommand(), a.ingestCommand(), a.whoHasCommand(), a.affectedCommand(), a.imageCommand(), a.licencesCommand(), a.topCommand(), a.explainCommand(), a.dbCommand())
	for _, cmd := range root.Commands() {
		explainMisuse(cmd)
	}
	return root
}

// noVerb refuses a word that is no verb and names the nearest ones.
func (a *app) noVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("%q is not a verb of %s", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return misuse{hint.Add(err, "did you mean %s", strings.Join(near, " or "))}
	}
	return misuse{hint.Add(err, "%s --help lists the verbs", cmd.CommandPath())}
}

// explainMisuse makes a wrong number of arguments exit as misuse, for cmd and
// all below it.
func explainMisuse(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			var already misuse
			if err == nil || errors.As(err, &already) {
				return err
			}
			return misuse{hint.Add(err, "usage: %s", c.UseLine())}
		}
	}
	for _, sub := range cmd.Commands() {
		explainMisuse(sub)
	}
}
