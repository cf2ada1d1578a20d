package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/admission"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/verify"
	"github.com/hallmark-sh/hallmark/internal/workload"
)

func (a *app) policyTestCommand() *cobra.Command {
	var files []string
	var namespace string
	cmd := &cobra.Command{
		Use:   "test -f MANIFEST...",
		Short: "Say of Kubernetes manifests what a cluster would admit, without one",
		Long: `test reads manifests (Pods and everything that makes Pods, Lists of them, as YAML
or JSON) and says of each image whether the rendered policies admit it, and if
not, which rule or link of evidence decides. Images of the policy's repository
are verified in their registry, each once. The policy's mode makes no
difference: what audit would only report is a denial here.

Exit code 3 when any image is denied.`,
		Example: `  hallmark policy test -f deploy/
  hallmark policy test -f pod.yaml -f cronjob.yaml
  helm template ./chart | hallmark policy test -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.policyTest(cmd.Context(), cmd.InOrStdin(), files, namespace)
		},
	}
	cmd.Flags().StringSliceVarP(&files, "filename", "f", nil, "manifest `file`, folder of *.yaml, *.yml and *.json, or - for standard input; may be repeated")
	cmd.Flags().StringVar(&namespace, "namespace", "default", "`namespace` of objects that name none")
	return cmd
}

// policyTestAnswer is the answer in JSON; docs/schemas has its schema.
type policyTestAnswer struct {
	Admitted bool               `json:"admitted"`
	Objects  int                `json:"objects"`
	Denied   int                `json:"denied"`
	Results  []admission.Result `json:"results"`
}

func (a *app) policyTest(ctx context.Context, stdin io.Reader, files []string, namespace string) error {
	if len(files) == 0 {
		return misuse{hint.Add(errors.New("no manifest is named"), "name files or folders with -f, or - for standard input")}
	}
	p, err := a.policy(".")
	if err != nil {
		return err
	}
	list, err := readManifests(stdin, files, namespace)
	if err != nil {
		return err
	}
	judge, err := a.admissionJudge(ctx, p)
	if err != nil {
		return err
	}
	results, err := admission.Decide(ctx, p, list.Workloads, judge, time.Now())
	if err != nil {
		return err
	}
	denied := admission.Denied(results)
	if a.flags.json {
		err = a.screen.json(policyTestAnswer{denied == 0, list.Objects, denied, results})
	} else {
		a.printAdmission(list, results, denied)
	}
	if err == nil && denied > 0 {
		err = errNo
	}
	return err
}

// readManifests reads every file before anything is judged, so that a mistake
// in the last one is told at once.
func readManifests(stdin io.Reader, files []string, namespace string) (workload.List, error) {
	var all workload.List
	paths, err := manifestFiles(files)
	if err != nil {
		return all, err
	}
	for _, path := range paths {
		list, err := readManifest(stdin, path, namespace)
		if err != nil {
			return all, misuse{hint.Add(err, "give manifests as kubectl apply takes them; helm template writes such")}
		}
		all.Objects += list.Objects
		all.Workloads = append(all.Workloads, list.Workloads...)
	}
	return all, nil
}

func readManifest(stdin io.Reader, path, namespace string) (workload.List, error) {
	if path == "-" {
		return workload.Read("standard input", stdin, namespace)
	}
	f, err := os.Open(path)
	if err != nil {
		return workload.List{}, fmt.Errorf("reading manifests: %w", err)
	}
	defer f.Close()
	return workload.Read(path, f, namespace)
}

// admissionJudge verifies images by the policy. The trust root is loaded before
// any is judged: without one nothing could be.
func (a *app) admissionJudge(ctx context.Context, p policy.Policy) (admission.Judge, error) {
	options, err := a.verifyOptions(ctx, verifyFlags{})
	if err != nil {
		return nil, err
	}
	options.Policy = p
	client, err := a.openRegistry()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, ref name.Reference) (verdict.Verdict, error) {
		a.screen.progress("verify", ref.Name(), time.Since(options.Now))
		return verify.Image(ctx, client, ref, options)
	}, nil
}

func (a *app) printAdmission(list workload.List, results []admission.Result, denied int) {
	a.screen.endProgress()
	images := 0
	for _, r := range results {
		a.screen.printf("%s %s/%s\n", clean(r.Kind), clean(r.Namespace), clean(r.Name))
		for _, d := range r.Images {
			images++
			word := a.screen.out(green, "ALLOW")
			if !d.Allowed {
				word = a.screen.out(red, "DENY ")
			}
			a.screen.printf("  %s  %s\n         %s: %s\n", word, clean(d.Image), d.Link, clean(d.Reason))
			if d.Next != "" {
				a.screen.printf("         next: %s\n", clean(d.Next))
			}
		}
	}
	a.screen.printf("%d objects, %d of them run images; %d images, %d denied\n", list.Objects, len(results), images, denied)
}
