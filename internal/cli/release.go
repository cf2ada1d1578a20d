package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/release"
)

type releaseFlags struct {
	allowDirty bool
	check      bool
	advisories string
	identity   identityFlags
	out        string
	layout     string
	digest     string
	from       string
	valuesOut  string
	report     string
}

func (a *app) releaseCommand() *cobra.Command {
	var f releaseFlags
	cmd := &cobra.Command{
		Use:   "release [DIR]",
		Short: "Build, examine, push, sign, attest and verify the commit in a folder",
		Long: `release takes the commit checked out in DIR (default: this folder) to a signed,
attested and verified image, tagged with the full commit:

  source, build, SBOM, scan, gate    nothing leaves this machine
  push by digest, sign, attach       no name points at the image yet
  verify from the registry, tag      the tag comes last

A critical vulnerability, or whatever else hallmark.yaml's gate names, ends the
release with exit code 3, and the registry has then seen no request at all. A
second run on the same commit completes what is missing and adds nothing twice.`,
		Example: `  hallmark release                              the commit in this folder
  hallmark release --check                      stop after the gate, for pull requests
  hallmark release --advisories ./advisories.db scan with this database
  hallmark release --json | jq -r .image        the image by digest, for the next step
  hallmark release --values-out values.yaml && helm upgrade app ./chart -f values.yaml
  hallmark release --layout ./layout --digest sha256:… --from https://github.com/acme/app@COMMIT
                                                an image another job built, without a working tree`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.release(cmd.Context(), dir, f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.allowDirty, "allow-dirty", false, "release a working tree that is not exactly its commit; the tag and the provenance say so and verify refuses them")
	flags.BoolVar(&f.check, "check", false, "stop after the gate: nothing leaves this machine")
	flags.StringVar(&f.advisories, "advisories", "", "vulnerability database: a `file, folder or URL` (default: hallmark.yaml's, else grype's own)")
	flags.StringVar(&f.out, "out", "", "`folder` for the SBOM, scan report, SARIF and summary (default .hallmark/release/TAG beside hallmark.yaml)")
	flags.StringVar(&f.layout, "layout", "", "release the image in this OCI layout or docker archive, a `folder or file` built elsewhere, instead of building one")
	flags.StringVar(&f.digest, "digest", "", "what the digest of --layout must be, `sha256:…`")
	flags.StringVar(&f.from, "from", "", "with --layout: take the policy from this `repository@commit` instead of a working tree; nothing of it is checked out or run")
	flags.StringVar(&f.valuesOut, "values-out", "", "write the released image, by digest, as Helm values to `file`")
	flags.StringVar(&f.report, "report", "", "`address` of a hallmark serve to tell the outcome to, which counts it (default HALLMARK_REPORT); HALLMARK_TOKEN is the token")
	f.identity.bind(flags)
	return cmd
}

// given puts an image built elsewhere in the place of the policy's build.
func (f releaseFlags) given(p *policy.Policy) error {
	if f.from != "" && f.layout == "" {
		err := errors.New("--from needs --layout and --digest")
		return misuse{hint.Add(err, "without a working tree nothing can be built: let another job run hallmark build")}
	}
	if f.layout == "" && f.digest == "" {
		return nil
	}
	if f.layout == "" || f.digest == "" {
		err := errors.New("--layout and --digest go together")
		return misuse{hint.Add(err, "the digest says which image was meant: the job that built it knows it")}
	}
	path, err := filepath.Abs(f.layout)
	p.Build = policy.Build{Layout: &policy.LayoutBuild{Path: path, Digest: f.digest}}
	return err
}

func (a *app) release(ctx context.Context, dir string, f releaseFlags) error {
	a.collectLate()
	if err := f.given(&policy.Policy{}); err != nil {
		return err
	}
	from, err := a.openOrigin(ctx, dir, f.from)
	if err != nil {
		return err
	}
	defer from.close()
	p, src := from.policy, from.source
	if err := errors.Join(f.given(&p), from.reaches(f)); err != nil {
		return err
	}
	if from.fetched != "" && f.out == "" {
		f.out = filepath.Join(".hallmark", "release", src.Tag())
	}
	work, err := openWorkplace(p)
	if err != nil {
		return err
	}
	defer work.close()
	var rooms *rooms
	if f.check {
		rooms, err = a.openReadRooms(p)
	} else {
		rooms, err = a.openRooms(ctx, p, src, f.identity)
	}
	if err != nil {
		return err
	}
	defer rooms.close()
	began := time.Now()
	result, err := release.Run(ctx, release.Settings{
		Source:     src,
		Policy:     p,
		AllowDirty: f.allowDirty,
		Check:      f.check,
		Work:       work.dir,
		Env:        a.env.list,
		Version:    version,
		Advisories: a.advisoryOptions(p, f.advisories),
		Registry:   rooms.registry,
		Signer:     rooms.signer,
		Anchor:     rooms.anchor,
		Now:        time.Now,
		Progress:   func(s release.Step) { a.screen.step(s, time.Since(began)) },
	})
	a.report(ctx, f, p, result, err)
	return a.answerRelease(p, f, result, err)
}

// answerRelease writes the documents and prints the answer.
func (a *app) answerRelease(p policy.Policy, f releaseFlags, result release.Result, failure error) error {
	refused := errors.Is(failure, release.ErrRefused)
	unproven := errors.Is(failure, release.ErrUnproven)
	var files []string
	if len(result.Report.Coverage) > 0 {
		dir := f.out
		if dir == "" {
			dir = filepath.Join(stateDir(p), "release", result.Source.Tag())
		}
		var err error
		if files, err = writeDocuments(dir, result); err != nil {
			return errors.Join(failure, fmt.Errorf("writing the documents of the release: %w", err))
		}
		if err := a.tellGitHub(result, refused); err != nil {
			return errors.Join(failure, fmt.Errorf("writing the GitHub step summary: %w", err))
		}
	}
	if failure != nil && !refused && !unproven {
		return failure
	}
	if failure == nil && !f.check && f.valuesOut != "" {
		if err := replaceFile(f.valuesOut, helmValues(result.Image)); err != nil {
			return fmt.Errorf("writing Helm values: %w", err)
		}
	}
	if a.flags.json {
		if err := a.screen.json(newReleaseAnswer(result, failure, f.check, files)); err != nil {
			return err
		}
	} else {
		a.printRelease(result, failure, f.check, files)
	}
	if refused {
		return errNo
	}
	if unproven {
		// The verdict's reasons have been printed; the hint has not.
		return failure
	}
	return nil
}
