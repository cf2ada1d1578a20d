package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

type verifyFlags struct {
	identity, issuer string
	trustedRoot      string
	bundles          []string
	key              string
	offline          bool
	allowDirty       bool
	save             string
	explain          bool
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify IMAGE | FILE",
		Short: "Prove that an image, or a file, is what it says it is",
		Long: `verify fetches an image's evidence from its registry and judges it by the policy
in hallmark.yaml, or by the identity given with flags: the signature by the name
of its predicate, the SBOM, the scan, the provenance, and the provenance against
the certificate that signed it. Anything unknown is not a pass.

With --explain every link comes with the facts behind it: whose certificate, by
which log entry or timestamp it is dated, which predicates were found, on which
digest, and why one that was found does not count.

With --bundle it judges evidence from files and needs no registry; with --offline
it needs no network at all. A FILE is verified by the bundle that signs it.

Exit codes: 0 proven; 3 not proven; 1 could not be judged.`,
		Example: `  hallmark verify ghcr.io/acme/app:4f2c9d1…                 by hallmark.yaml
  hallmark verify ghcr.io/acme/app@sha256:… --explain        why, link by link
  hallmark verify ghcr.io/acme/app@sha256:… --json
  hallmark verify ghcr.io/acme/app@sha256:… --save evidence.jsonl
  hallmark verify ghcr.io/acme/app@sha256:… --offline --bundle evidence.jsonl --trusted-root root.json
  hallmark verify app.tar.gz --bundle app.tar.gz.sigstore.json \
      --certificate-identity dev@acme.example --certificate-oidc-issuer https://accounts.acme.example`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.verify(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.identity, "certificate-identity", "", "exact `subject` the certificate must name, instead of the policy's")
	flags.StringVar(&f.issuer, "certificate-oidc-issuer", "", "exact OIDC `issuer` the certificate must name")
	flags.StringVar(&f.trustedRoot, "trusted-root", "", "Sigstore trusted root `file`, instead of the policy's")
	flags.StringSliceVar(&f.bundles, "bundle", nil, "Sigstore bundle `file`s, or JSON lines of bundles")
	flags.StringVar(&f.key, "key", "", "PEM public key `file`, for a file signed with a key")
	flags.BoolVar(&f.offline, "offline", false, "use no network: an IMAGE by digest, its --bundle files, and a root that is on this machine")
	flags.BoolVar(&f.allowDirty, "allow-dirty", false, "accept an image made from a working tree that was not exactly its commit")
	flags.BoolVar(&f.explain, "explain", false, "tell the facts behind every link, and all evidence found, whether it counts or not")
	flags.StringVar(&f.save, "save", "", "also write the image's evidence to `file`, for --offline")
	return cmd
}

func (a *app) verify(ctx context.Context, subject string, f verifyFlags) error {
	options, err := a.verifyOptions(ctx, f)
	if err != nil {
		return err
	}
	judged, err := a.judge(ctx, subject, f, options)
	if err != nil {
		return err
	}
	switch {
	case a.flags.json:
		if err := a.screen.json(judged); err != nil {
			return err
		}
	case f.explain:
		a.printExplained(judged)
	default:
		a.printVerdict(judged)
	}
	if !judged.Passed() {
		return errNo
	}
	return nil
}

// isFile says whether the subject is a file of this machine rather than an
// image: it exists, and no image name can begin as a path does.
func isFile(subject string) bool {
	info, err := os.Stat(subject)
	return err == nil && info.Mode().IsRegular()
}

func (a *app) printOutcome(v verdict.Verdict) {
	word := a.screen.out(green, "PROVEN")
	if !v.Passed() {
		word = a.screen.out(red, "NOT PROVEN")
	}
	a.screen.printf("%s  %s\n", word, clean(v.Subject))
}

func (a *app) printVerdict(v verdict.Verdict) {
	a.printOutcome(v)
	a.printChecks(v)
	if a.flags.verbose {
		for _, c := range v.Checks {
			for _, d := range c.Details {
				a.screen.note("  %-11s %s: %s", c.Name, d.Name, clean(d.Value))
			}
		}
	}
}

// verifyOptions says what to judge by: the policy file, or what flags put in
// its place.
func (a *app) verifyOptions(ctx context.Context, f verifyFlags) (verify.Options, error) {
	o := verify.Options{Now: time.Now(), AllowDirty: f.allowDirty, Explain: f.explain}
	byFlags := f.identity != "" || f.issuer != "" || f.key != ""
	if f.key == "" && byFlags && (f.identity == "" || f.issuer == "") {
		err := errors.New("--certificate-identity and --certificate-oidc-issuer go together")
		return o, misuse{hint.Add(err, "an identity means nothing without the issuer that vouches for it")}
	}
	p, err := a.policy(".")
	switch {
	case err == nil:
		o.Policy = p
	case !byFlags || !errors.Is(err, fs.ErrNotExist):
		return o, err
	default:
		o.Policy.Evidence = policy.AllEvidence()
		o.Policy.Trust.Root = policy.RootPublic
	}
	if byFlags {
		o.Policy.Identity = policy.Identity{Issuer: f.issuer, Subject: f.identity}
		o.Policy.Digest = ""
	}
	if f.trustedRoot != "" {
		path, err := filepath.Abs(f.trustedRoot)
		if err != nil {
			return o, err
		}
		o.Policy.Trust = policy.Trust{Root: policy.RootPrivate, TrustedRoot: path}
	}
	if f.key != "" {
		return o, nil
	}
	to := a.trustOptions(o.Policy)
	to.Offline = f.offline
	o.Anchor, err = trust.Load(ctx, o.Policy.Trust, to)
	return o, err
}

// judge chooses what kind of subject it is and has it judged.
func (a *app) judge(ctx context.Context, subject string, f verifyFlags, o verify.Options) (verdict.Verdict, error) {
	if isFile(subject) {
		return a.judgeFile(ctx, subject, f, o)
	}
	ref, err := name.ParseReference(subject, name.StrictValidation)
	if err != nil {
		err := fmt.Errorf("%s is neither a file here nor an image by tag or digest: %w", subject, err)
		return verdict.Verdict{}, misuse{hint.Add(err, "write REGISTRY/REPOSITORY@sha256:… or REGISTRY/REPOSITORY:TAG")}
	}
	digest, byDigest := ref.(name.Digest)
	if f.offline || len(f.bundles) > 0 {
		if !byDigest || len(f.bundles) == 0 {
			err := errors.New("evidence from files is about a digest")
			return verdict.Verdict{}, misuse{hint.Add(err, "name the image as REPOSITORY@sha256:… and its evidence with --bundle; --save writes one")}
		}
		return verify.Bundles(digest, f.bundles, o)
	}
	client, err := a.openRegistry()
	if err != nil {
		return verdict.Verdict{}, err
	}
	judged, err := verify.Image(ctx, client, ref, o)
	if err == nil && f.save != "" {
		err = saveEvidence(ctx, client, ref.Context().Digest(judged.Digest), f.save)
	}
	return judged, err
}

// saveEvidence writes an image's bundles as JSON lines, whole or not at all.
func saveEvidence(ctx context.Context, client *registry.Client, image name.Digest, path string) error {
	signed, err := client.Evidence(ctx, image)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	if err := evidence.WriteLines(&lines, signed); err != nil {
		return fmt.Errorf("writing the evidence of %s: %w", image, err)
	}
	if err := replaceFile(path, lines.Bytes()); err != nil {
		return fmt.Errorf("writing the evidence of %s: %w", image, err)
	}
	return nil
}
