package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/lint"
	"github.com/hallmark-sh/hallmark/internal/manifest"
)

func (a *app) policyLintCommand() *cobra.Command {
	var f lintFlags
	cmd := &cobra.Command{
		Use:   "lint [FILE|FOLDER...]",
		Short: "Find the known weaknesses of admission policies",
		Long: `lint reads policies of Kyverno, of both generations, exceptions from them, native
ValidatingAdmissionPolicies, and Kyverno's own settings, and reports each known
weakness: what it lets happen, and what to write instead. Policies are judged
together, so give all that a cluster has. docs/policy-lint.md lists the codes
with the experiment that shows each.

A folder stands for its .yaml, .yml and .json files, and - for standard input.
With --context, or --kubeconfig, the policies that a cluster has are read from it;
docs/admission.md has the rights that takes.

Exit codes: 0 none found; 3 found, of the severity asked for or graver; 2 what was
named cannot be read as policies; 1 there is no policy in it.`,
		Example: `  hallmark policy lint policies/
  helm template kyverno kyverno/kyverno | hallmark policy lint policies/ -
  hallmark policy lint --context production
  hallmark policy lint policies/ --severity high --sarif lint.sarif`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.policyLint(cmd.Context(), args, f) },
	}
	cmd.Flags().StringVar(&f.severity, "severity", string(lint.Low), "the least `severity` to exit 3 for: high, medium or low")
	cmd.Flags().StringVar(&f.sarif, "sarif", "", "also write the findings to `file` as SARIF, for code scanning")
	f.cluster.add(cmd.Flags())
	return cmd
}

type lintFlags struct {
	severity, sarif string
	cluster         clusterFlags
}

// lintObjects takes the policies from files or from a cluster.
func (a *app) lintObjects(ctx context.Context, paths []string, f lintFlags) ([]manifest.Object, error) {
	fromCluster := f.cluster != clusterFlags{}
	switch {
	case fromCluster && len(paths) > 0:
		return nil, misuse{errors.New("policies are read from files or from a cluster, not from both")}
	case fromCluster:
		return a.clusterPolicies(ctx, f.cluster)
	case len(paths) == 0:
		return nil, misuse{hint.Add(errors.New("no policy is named"), "name files or folders, - for standard input, or a cluster with --context")}
	}
	return a.readObjects(paths)
}

func (a *app) policyLint(ctx context.Context, paths []string, f lintFlags) error {
	least := lint.Severity(f.severity)
	if !slices.Contains(lint.Severities(), least) {
		return misuse{fmt.Errorf("--severity %s is none of high, medium and low", f.severity)}
	}
	objects, err := a.lintObjects(ctx, paths, f)
	if err != nil {
		return err
	}
	found, err := lint.Run(objects)
	if err != nil {
		return misuse{hint.Add(err, "an API server would not take it either; kubectl apply --dry-run=server says the same")}
	}
	if found.Policies == 0 {
		err := errors.New("there is no policy among what was read")
		return hint.Add(err, "name files with policies of Kyverno or ValidatingAdmissionPolicies; hallmark policy render writes them")
	}
	if f.sarif != "" {
		log, err := lint.SARIF(found)
		if err == nil {
			err = replaceFile(f.sarif, log)
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w", f.sarif, err)
		}
	}
	if a.flags.json {
		if err := a.screen.json(found); err != nil {
			return err
		}
	} else {
		a.printLint(found)
	}
	if found.Worst(least) {
		return errNo
	}
	return nil
}

func (a *app) printLint(r lint.Report) {
	if len(r.Findings) == 0 {
		a.screen.printf("%s  no known weakness in %s\n", a.screen.out(green, "CLEAN"), plural(r.Policies, "object", "objects"))
		return
	}
	a.screen.printf("%s  %s in %s\n", a.screen.out(red, "WEAK"), plural(len(r.Findings), "finding", "findings"), plural(r.Policies, "object", "objects"))
	in := map[lint.Severity]paint{lint.High: red, lint.Medium: yellow, lint.Low: dim}
	told := map[string]bool{}
	for _, f := range r.Findings {
		a.screen.printf("\n%s:%d  %s  %s\n", clean(f.File), f.Line, a.screen.out(in[f.Severity], string(f.Severity)), a.screen.out(bold, f.Code))
		a.screen.printf("  %s  %s\n", clean(f.Object), clean(f.Path))
		a.screen.printf("  %s\n", clean(f.Detail))
		if !told[f.Code] {
			told[f.Code] = true
			a.screen.printf("  why: %s\n  fix: %s\n", f.Why, f.Fix)
		}
	}
}

// readObjects reads Kubernetes objects from files, folders and standard input,
// all of them before any is judged.
func (a *app) readObjects(named []string) ([]manifest.Object, error) {
	paths, err := manifestFiles(named)
	if err != nil {
		return nil, err
	}
	var all []manifest.Object
	for _, path := range paths {
		objects, err := a.readObjectsOf(path)
		if err != nil {
			return nil, misuse{hint.Add(err, "give policies as kubectl apply takes them; hallmark policy render writes such")}
		}
		all = append(all, objects...)
	}
	return all, nil
}

func (a *app) readObjectsOf(path string) ([]manifest.Object, error) {
	if path == "-" {
		return manifest.Read("standard input", a.screen.In)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading policies: %w", err)
	}
	defer f.Close()
	return manifest.Read(filepath.ToSlash(path), f)
}
