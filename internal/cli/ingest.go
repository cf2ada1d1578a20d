package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/query"
)

// ingestAnswer is the stable JSON answer of hallmark ingest; its schema is
// docs/schemas/ingest-v1.schema.json.
type ingestAnswer struct {
	Schema   string           `json:"schema"`
	Results  []intake.Result  `json:"results"`
	Problems []intake.Problem `json:"problems,omitempty"`
}

type ingestFlags struct {
	memoryFlags
	sweeps     []string
	unverified string
}

func (a *app) ingestCommand() *cobra.Command {
	var f ingestFlags
	cmd := &cobra.Command{
		Use:   "ingest IMAGE…",
		Short: "Let the memory take images in, once their evidence is proven",
		Long: `ingest has the memory fetch an image's evidence by digest, verify it by the policy of
its repository, and remember what its SBOM lists. What does not verify is recorded as
refused, with the reason, and not believed.

--sweep takes in a whole repository by its tags and referrers. --unverified takes in a
loose SBOM about one IMAGE@DIGEST that nobody vouches for: every answer that rests on
it says so, and verified evidence takes its place.

Exit codes: 0 all were taken in; 3 some were refused; 1 could not.`,
		Example: `  hallmark ingest ghcr.io/acme/app:4f2c9d1…
  hallmark ingest --sweep ghcr.io/acme/app --server https://hallmark.acme.example
  hallmark ingest ghcr.io/acme/app@sha256:… --db hallmark.db --policy policies/
  hallmark ingest vendor.example/db@sha256:… --unverified vendor-sbom.json`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.ingest(cmd.Context(), args, f) },
	}
	f.bind(cmd.Flags())
	cmd.Flags().StringArrayVar(&f.policies, "policy", nil, "with --db: hallmark.yaml of a repository that may come in, or a `folder` of such (default: the one here)")
	cmd.Flags().StringArrayVar(&f.sweeps, "sweep", nil, "take in all images of this `repository`; repeat for more")
	cmd.Flags().StringVar(&f.unverified, "unverified", "", "take in this SBOM `file` about IMAGE, though nobody vouches for it")
	return cmd
}

func (a *app) ingest(ctx context.Context, images []string, f ingestFlags) error {
	if len(images)+len(f.sweeps) == 0 {
		return misuse{hint.Add(errors.New("nothing to take in"), "name images, or a repository with --sweep")}
	}
	if f.unverified != "" && (len(images) != 1 || len(f.sweeps) > 0) {
		return misuse{errors.New("--unverified is about one IMAGE@DIGEST")}
	}
	use := toVerify
	if f.unverified != "" {
		use = toWrite
	}
	client, done, err := a.client(ctx, f.memoryFlags, use)
	if err != nil {
		return err
	}
	defer done()
	answer, err := a.ingestAll(ctx, client, images, f)
	if err != nil {
		return unanswered(err)
	}
	if a.flags.json {
		if err := a.screen.json(answer); err != nil {
			return err
		}
	}
	if len(answer.Problems) > 0 {
		return fmt.Errorf("taking in %s: %s", answer.Problems[0].Image, answer.Problems[0].Error)
	}
	for _, r := range answer.Results {
		if r.Result == intake.Refused {
			return errNo
		}
	}
	return nil
}

func (a *app) ingestAll(ctx context.Context, client *query.Client, images []string, f ingestFlags) (ingestAnswer, error) {
	answer := ingestAnswer{Schema: "hallmark.ingest/v1", Results: []intake.Result{}}
	start := time.Now()
	took := func(r intake.Result) {
		answer.Results = append(answer.Results, r)
		if !a.flags.json {
			a.printIntake(r)
		}
	}
	for n, image := range images {
		a.screen.progress("ingest", fmt.Sprintf("%s (%d of %d)", image, n+1, len(images)), time.Since(start))
		r, err := a.ingestOne(ctx, client, image, f.unverified)
		if err != nil {
			return answer, err
		}
		took(r)
	}
	for _, repository := range f.sweeps {
		a.screen.progress("ingest", "sweeping "+repository, time.Since(start))
		s, err := client.Sweep(ctx, repository)
		if err != nil {
			return answer, err
		}
		for _, r := range s.Results {
			took(r)
		}
		answer.Problems = append(answer.Problems, s.Problems...)
	}
	return answer, nil
}

func (a *app) ingestOne(ctx context.Context, client *query.Client, image, unverified string) (intake.Result, error) {
	if unverified == "" {
		return client.Ingest(ctx, image)
	}
	file, err := os.Open(unverified)
	if err != nil {
		return intake.Result{}, err
	}
	defer file.Close()
	a.screen.note("%s: nobody vouches for %s; every answer that rests on it will say so", a.screen.out(yellow, "UNVERIFIED"), unverified)
	return client.Document(ctx, image, file)
}

func (a *app) printIntake(r intake.Result) {
	s := a.screen
	switch r.Result {
	case intake.Refused:
		s.printf("%s  %s\n  %s: %s\n", s.out(red, "REFUSED"), clean(r.Image), clean(r.Code), clean(r.Reason))
	default:
		word := s.out(green, string(r.Result))
		if !r.Verified {
			word += " " + s.out(yellow, "UNVERIFIED")
		}
		s.printf("%s  %s\n  %s, %d never seen before; evidence %s\n", word, clean(r.Image), several(r.Packages, "package"), r.NewPackages, clean(r.Evidence))
	}
}
