package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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
	var f tryFlags
	cmd := &cobra.Command{
		Use:   "test -f MANIFEST... | --would-block",
		Short: "Say of Kubernetes manifests, or of what runs now, what a cluster would admit",
		Long: `test reads manifests (Pods and everything that makes Pods, Lists of them, as YAML
or JSON) and says of each image whether the rendered policies admit it, and if
not, which rule or link of evidence decides. Images of the policy's repository
are verified in their registry, each once. The policy's mode makes no
difference: what audit would only report is a denial here.

With --would-block it asks the same of everything that now runs in a cluster: the
report to read before the policies begin to refuse. An object that another one
made is told with that one. It only reads; docs/admission.md has the rights.

Exit code 3 when any image is denied.`,
		Example: `  hallmark policy test -f deploy/
  hallmark policy test -f pod.yaml -f cronjob.yaml
  helm template ./chart | hallmark policy test -f -
  hallmark policy test --would-block --context production`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.policyTest(cmd.Context(), cmd.InOrStdin(), f) },
	}
	cmd.Flags().BoolVar(&f.wouldBlock, "would-block", false, "judge what runs now in a cluster, of all namespaces unless --namespace names one")
	f.cluster.add(cmd.Flags())
	cmd.Flags().StringSliceVarP(&f.files, "filename", "f", nil, "manifest `file`, folder of *.yaml, *.yml and *.json, or - for standard input; may be repeated")
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", "`namespace` of objects that name none, default unless given")
	return cmd
}

type tryFlags struct {
	files      []string
	namespace  string
	wouldBlock bool
	cluster    clusterFlags
}

// tried reads what is to be judged: manifests, or what runs in a cluster.
func (a *app) tried(ctx context.Context, stdin io.Reader, f tryFlags) (workload.List, error) {
	switch {
	case f.wouldBlock && len(f.files) > 0:
		return workload.List{}, misuse{errors.New("--would-block is about a cluster and -f about manifests; give one of the two")}
	case f.wouldBlock:
		c, err := a.openCluster(f.cluster)
		if err != nil {
			return workload.List{}, err
		}
		a.screen.progress("cluster", "reading what runs at "+c.Server, 0)
		return c.Workloads(ctx, f.namespace)
	case f.cluster != clusterFlags{}:
		return workload.List{}, misuse{hint.Add(errors.New("a cluster is named and nothing is asked about it"), "add --would-block to judge what runs there")}
	case len(f.files) == 0:
		return workload.List{}, misuse{hint.Add(errors.New("no manifest is named"), "name files or folders with -f, or - for standard input; or ask about a cluster with --would-block")}
	}
	return readManifests(stdin, f.files, cmp.Or(f.namespace, "default"))
}

// policyTestAnswer is the answer in JSON; docs/schemas has its schema.
type policyTestAnswer struct {
	Admitted bool               `json:"admitted"`
	Objects  int                `json:"objects"`
	Denied   int                `json:"denied"`
	Results  []admission.Result `json:"results"`
}

func (a *app) policyTest(ctx context.Context, stdin io.Reader, f tryFlags) error {
	p, err := a.policy(".")
	if err != nil {
		return err
	}
	list, err := a.tried(ctx, stdin, f)
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
			if d.Drifted() {
				a.screen.printf("         runs: %s, and not what the name stands for now\n", clean(strings.Join(d.Running, ", ")))
			}
		}
	}
	a.screen.printf("%d objects, %d of them run images; %d images, %d denied\n", list.Objects, len(results), images, denied)
}
