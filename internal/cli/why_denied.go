package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/denial"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// maxDenial bounds what is read of a message, in bytes.
const maxDenial = 32 << 20

type whyFlags struct {
	file      string
	namespace string
	noVerify  bool
	cluster   clusterFlags
}

func (a *app) whyDeniedCommand() *cobra.Command {
	var f whyFlags
	cmd := &cobra.Command{
		Use:   "why-denied MESSAGE | KIND/NAME | -f FILE",
		Short: "Say which link failed when a cluster refused something, and why",
		Long: `why-denied reads the refusal that kubectl, Helm or an event shows, says which policy
and which link refused which image, and asks verify about that image: what is wrong,
what to do, and whether verify agrees. It tells a refusal from a failure of Kyverno,
of the registry or of the trust root, and from other people's policies.

A MESSAGE may be pasted with everything around it; -f reads a file, or - standard
input: an error, kubectl describe, or kubectl get events -o yaml. KIND/NAME asks the
cluster for the events of a workload and of what it made.

Exit codes: 0 the reason is told; 1 it could not be; 2 misuse.`,
		Example: `  hallmark why-denied deployment/web -n shop
  kubectl apply -f pod.yaml 2>&1 | hallmark why-denied -f -
  kubectl -n shop get events -o yaml | hallmark why-denied -f -
  hallmark why-denied 'admission webhook "ivpol.validate.kyverno.svc-…" denied the request: …'`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.whyDenied(cmd.Context(), args, f) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "filename", "f", "", "read the message from `file`, or - for standard input")
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "`namespace` of KIND/NAME")
	flags.BoolVar(&f.noVerify, "no-verify", false, "tell only what the message says, and ask no registry")
	f.cluster.add(flags)
	return cmd
}

// whyAnswer is the answer in JSON; docs/schemas has its schema.
type whyAnswer struct {
	Denials []toldDenial `json:"denials"`
}

type toldDenial struct {
	denial.Denial
	// Why and Next are told of what could not be decided.
	Why  string `json:"why,omitempty"`
	Next string `json:"next,omitempty"`
	// Verdicts are what verify says now of each image.
	Verdicts []verdict.Verdict `json:"verdicts,omitempty"`
	// Unjudged says why an image has no verdict.
	Unjudged []string `json:"unjudged,omitempty"`
}

func (a *app) whyDenied(ctx context.Context, args []string, f whyFlags) error {
	text, err := a.denialText(ctx, args, f)
	if err != nil {
		return err
	}
	found := denial.Read(text)
	if len(found) == 0 {
		err := errors.New("no refusal by an admission policy is in it")
		return hint.Add(err, "paste the whole error, from \"admission webhook\" or \"ValidatingAdmissionPolicy\" on; a quota or missing rights refuse in other words, and mean what they say")
	}
	judge, err := a.denialJudge(ctx, found, f)
	if err != nil {
		return err
	}
	var answer whyAnswer
	known := false
	for _, d := range found {
		t := toldDenial{Denial: d}
		switch d.Kind {
		case denial.Rule:
			t.judge(ctx, judge)
		case denial.Foreign:
			t.Why, t.Next = "it is not a policy that hallmark rendered", "ask whoever wrote it; hallmark policy lint --context tells of its weaknesses"
		default:
			t.Why, t.Next = d.Cause()
		}
		known = known || d.Kind != denial.Foreign
		answer.Denials = append(answer.Denials, t)
	}
	if a.flags.json {
		err = a.screen.json(answer)
	} else {
		a.printDenials(answer)
	}
	if err == nil && !known {
		return hint.Add(errors.New("no policy of hallmark's refused it"), "the message above is all there is to know here")
	}
	return err
}

var objectName = regexp.MustCompile(`^[A-Za-z][A-Za-z.]*/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// denialText takes the message from where it is.
func (a *app) denialText(ctx context.Context, args []string, f whyFlags) (string, error) {
	text := strings.Join(args, " ")
	switch {
	case f.file != "" && len(args) > 0:
		return "", misuse{errors.New("the message is given or read with -f, not both")}
	case f.file == "-":
		raw, err := io.ReadAll(io.LimitReader(a.screen.In, maxDenial))
		return string(raw), err
	case f.file != "":
		raw, err := readBounded(f.file, maxDenial)
		if err != nil {
			return "", fmt.Errorf("reading the message: %w", err)
		}
		return string(raw), nil
	case text == "":
		return "", misuse{hint.Add(errors.New("nothing was refused"), "paste the message, name a workload as KIND/NAME, or read a file with -f")}
	case objectName.MatchString(text):
		c, err := a.openCluster(f.cluster)
		if err != nil {
			return "", err
		}
		kind, object, _ := strings.Cut(text, "/")
		messages, err := c.Denials(ctx, f.namespace, kind, object)
		if err != nil {
			return "", err
		}
		return strings.Join(messages, "\n\n"), nil
	}
	return text, nil
}

// denialJudge verifies images by hallmark.yaml. There is none when nothing is
// to be asked, or when there is no policy file here.
func (a *app) denialJudge(ctx context.Context, found []denial.Denial, f whyFlags) (func(context.Context, name.Reference) (verdict.Verdict, error), error) {
	asked := false
	for _, d := range found {
		asked = asked || d.Kind == denial.Rule && aboutEvidence(d)
	}
	if f.noVerify || !asked {
		return nil, nil
	}
	options, err := a.verifyOptions(ctx, verifyFlags{explain: true})
	switch {
	case errors.Is(err, fs.ErrNotExist) && a.flags.config == "":
		a.screen.note("hallmark: there is no hallmark.yaml here, so nothing is verified")
		return nil, nil
	case err != nil:
		return nil, err
	}
	var client *registry.Client
	if client, err = a.openRegistry(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, ref name.Reference) (verdict.Verdict, error) {
		a.screen.progress("verify", ref.Name(), 0)
		return verify.Image(ctx, client, ref, options)
	}, nil
}

// aboutEvidence says that verify has an opinion about what was refused.
func aboutEvidence(d denial.Denial) bool {
	return d.Link == "digest" || slices.Contains(policy.AllEvidence(), d.Link)
}

// judge asks verify about each image.
func (t *toldDenial) judge(ctx context.Context, judge func(context.Context, name.Reference) (verdict.Verdict, error)) {
	if judge == nil || !aboutEvidence(t.Denial) {
		return
	}
	for _, image := range t.Images {
		ref, err := name.ParseReference(image, name.WeakValidation)
		if err == nil {
			var v verdict.Verdict
			if v, err = judge(ctx, ref); err == nil {
				t.Verdicts = append(t.Verdicts, v)
				continue
			}
		}
		t.Unjudged = append(t.Unjudged, fmt.Sprintf("%s: %v", image, err))
	}
}

func (a *app) printDenials(answer whyAnswer) {
	words := map[denial.Kind]string{
		denial.Rule: "REFUSED", denial.Undecided: "UNDECIDED", denial.Unreachable: "NO ANSWER", denial.Foreign: "REFUSED",
	}
	for i, d := range answer.Denials {
		if i > 0 {
			a.screen.printf("\n")
		}
		what := ""
		if d.Link != "" {
			what = ", " + d.Link
		}
		a.screen.printf("%s  by %s%s\n", a.screen.out(red, words[d.Kind]), clean(d.Policy), what)
		for _, image := range d.Images {
			a.screen.printf("  image       %s\n", clean(image))
		}
		a.screen.printf("  said        %s\n", clean(d.Message))
		if d.Why != "" {
			a.screen.printf("  why         %s\n  next: %s\n", d.Why, d.Next)
		}
		for _, v := range d.Verdicts {
			a.printAgreement(d.Link, v)
		}
		for _, u := range d.Unjudged {
			a.screen.printf("  verify      %s  %s\n", a.screen.out(yellow, "UNKNOWN"), clean(u))
		}
	}
}

// printAgreement says whether verify finds the same link broken.
func (a *app) printAgreement(link string, v verdict.Verdict) {
	a.screen.printf("\n")
	a.printVerdict(v)
	c, judged := v.Find(link)
	switch {
	case link == "digest" && v.Digest != "":
		image, _, _ := strings.Cut(v.Subject, "@")
		a.screen.printf("  deploy %s@%s, which the name stands for now\n", clean(image), v.Digest)
	case v.Passed():
		a.screen.printf("  verify finds nothing wrong now: the evidence came after the refusal, or the cluster has policies of another hallmark.yaml.\n  next: apply it again; if it is refused again, compare hallmark policy render with what the cluster has\n")
	case judged && c.Outcome == verdict.Pass:
		a.screen.printf("  verify finds another link broken, and %s whole: the cluster has policies of another hallmark.yaml, or the evidence changed\n", link)
	default:
		a.screen.printf("  verify agrees; hallmark verify %s --explain tells all that was found\n", clean(v.Subject))
	}
}
