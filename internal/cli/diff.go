package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/difference"
	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/pullrequest"
	"github.com/hallmark-sh/hallmark/internal/query"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/sbom"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// diffAnswer is the stable JSON answer of hallmark diff; its schema is
// docs/schemas/diff-v1.schema.json.
type diffAnswer struct {
	Schema string `json:"schema"`
	// Outcome is compared, no-base or unproven.
	Outcome string `json:"outcome"`
	// Reason is why there is nothing to compare with.
	Reason     string                 `json:"reason,omitempty"`
	Difference *difference.Difference `json:"difference,omitempty"`
	Comment    string                 `json:"comment,omitempty"`
}

type diffFlags struct {
	dir, from string
	comment   string
}

// errNoBase says that a commit was never released.
var errNoBase = errors.New("there is no released image")

func (a *app) diffCommand() *cobra.Command {
	var f diffFlags
	var known askFlags
	cmd := &cobra.Command{
		Use:   "diff BASE HEAD",
		Short: "Say what changes between two images: packages, licences, findings",
		Long: `diff compares the SBOM and the scan of two images. Each side is one of

  an image      its attested documents, after they are verified by hallmark.yaml
  a commit      the image that hallmark.yaml's repository has for it
  a folder      the documents of a release or of a check (--out)

With --server or --db a memory answers (hallmark serve): BASE and HEAD are then images
it has taken in, and findings are by the advisories it has now, or had --as-of a time.

A finding on a package that does not change is listed apart: then the advisory is
new, not the package.

Exit codes: 0 compared, or nothing was ever released of the commit BASE; 3 an
image's evidence does not verify, so there is nothing to compare; 1 could not.`,
		Example: `  hallmark diff ghcr.io/acme/app:4f2c9d1… ghcr.io/acme/app:9b00e21…
  hallmark release --check --out docs && hallmark diff $(git merge-base HEAD origin/main) docs
  hallmark diff $BASE docs --comment 812      also on a pull request, from GitHub Actions`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if known.chosen() {
				return ask(a, cmd.Context(), known, a.printMemoryDiff, func(o index.Options) (string, url.Values) { return query.Diff(args[0], args[1], o) })
			}
			return a.diff(cmd.Context(), args[0], args[1], f)
		},
	}
	flags := cmd.Flags()
	known.bind(flags, false)
	flags.StringVar(&f.dir, "dir", ".", "`folder` of hallmark.yaml")
	flags.StringVar(&f.from, "from", "", "take the policy from this `repository@commit` instead of a working tree")
	flags.StringVar(&f.comment, "comment", "", "set hallmark's comment on this pull request, by its `number`, in GITHUB_REPOSITORY with GITHUB_TOKEN")
	return cmd
}

func (a *app) diff(ctx context.Context, base, head string, f diffFlags) error {
	number := 0
	if f.comment != "" {
		var err error
		if number, err = strconv.Atoi(f.comment); err != nil || number < 1 {
			return misuse{fmt.Errorf("--comment %q is not the number of a pull request", f.comment)}
		}
	}
	answer, err := a.compare(ctx, base, head, f)
	if err != nil {
		return err
	}
	text := answer.markdown()
	if path := a.env.get("GITHUB_STEP_SUMMARY"); path != "" {
		if err := appendFile(path, text+"\n"); err != nil {
			return fmt.Errorf("writing the GitHub step summary: %w", err)
		}
	}
	if number > 0 {
		api := a.env.get("GITHUB_API_URL")
		if api == "" {
			api = "https://api.github.com"
		}
		answer.Comment, err = pullrequest.Comment(ctx, a.env.get("GITHUB_REPOSITORY"), number, text, pullrequest.Options{API: api, Token: a.env.get("GITHUB_TOKEN")})
		if err != nil {
			return err
		}
	}
	if a.flags.json {
		err = a.screen.json(answer)
	} else {
		a.printDiff(answer)
	}
	if err == nil && answer.Outcome == "unproven" {
		return errNo
	}
	return err
}

func (a *app) compare(ctx context.Context, base, head string, f diffFlags) (diffAnswer, error) {
	answer := diffAnswer{Schema: "hallmark.diff/v1", Outcome: "compared"}
	o := &opened{app: a, flags: f}
	defer o.close()
	var sides [2]difference.Side
	for i, what := range []string{base, head} {
		var err error
		sides[i], err = o.side(ctx, what)
		switch {
		case i == 0 && errors.Is(err, errNoBase):
			answer.Outcome, answer.Reason = "no-base", err.Error()
			return answer, nil
		case errors.Is(err, errNo):
			answer.Outcome, answer.Reason = "unproven", strings.TrimPrefix(err.Error(), errNo.Error()+": ")
			return answer, nil
		case err != nil:
			return answer, err
		}
	}
	d := difference.Of(sides[0], sides[1])
	answer.Difference = &d
	return answer, nil
}

func (d diffAnswer) markdown() string {
	switch d.Outcome {
	case "no-base":
		return "### What changes\n\nNothing to compare with: " + finding.MarkdownText(d.Reason) + ".\n"
	case "unproven":
		return "### What changes\n\n**Unknown.** " + finding.MarkdownText(d.Reason) + ".\n"
	}
	return d.Difference.Markdown()
}

func (a *app) printDiff(answer diffAnswer) {
	s := a.screen
	if answer.Difference == nil {
		word := s.out(yellow, "NO BASE")
		if answer.Outcome == "unproven" {
			word = s.out(red, "NOT PROVEN")
		}
		s.printf("%s  %s\n", word, clean(answer.Reason))
		return
	}
	d := answer.Difference
	s.printf("%s\n", clean(d.Sentence()))
	var rows [][]string
	for _, c := range d.Changed {
		rows = append(rows, []string{"changed", c.Type, c.Name, c.From + " -> " + c.To})
	}
	for _, p := range d.Added {
		rows = append(rows, []string{"added", p.Type, p.Name, p.Version})
	}
	for _, p := range d.Removed {
		rows = append(rows, []string{"removed", p.Type, p.Name, p.Version})
	}
	for _, r := range d.Relicensed {
		rows = append(rows, []string{"relicensed", r.Type, r.Name + " " + r.Version, strings.Join(r.From, ", ") + " -> " + strings.Join(r.To, ", ")})
	}
	for _, part := range []struct {
		word string
		all  []finding.Finding
	}{{"introduced", d.Introduced}, {"learnt", d.Learnt}, {"resolved", d.Resolved}} {
		for _, f := range part.all {
			rows = append(rows, []string{part.word, f.Severity.String(), f.ID, f.Package.Name + " " + f.Package.Version})
		}
	}
	if len(rows) > 0 {
		s.printf("\n")
		s.table(rows)
	}
	if answer.Comment != "" {
		s.printf("\n  comment   %s\n", clean(answer.Comment))
	}
}

// opened is what the sides of a comparison are read with; policy, registry and
// trust root are opened when the first image is met.
type opened struct {
	app     *app
	flags   diffFlags
	from    origin
	client  *registry.Client
	options verify.Options
}

func (o *opened) close() { o.from.close() }

func (o *opened) open(ctx context.Context) error {
	if o.client != nil {
		return nil
	}
	var err error
	if o.flags.from != "" {
		o.from, err = o.app.fetchOrigin(ctx, o.flags.dir, o.flags.from)
	} else {
		o.from.policy, err = o.app.policy(o.flags.dir)
	}
	if err != nil {
		return err
	}
	o.options = verify.Options{Policy: o.from.policy, Now: time.Now()}
	if o.options.Anchor, err = trust.Load(ctx, o.from.policy.Trust, o.app.trustOptions(o.from.policy)); err != nil {
		return err
	}
	o.client, err = o.app.openRegistry()
	return err
}

// wholeCommit is how a side names the image of a commit.
var wholeCommit = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

func (o *opened) side(ctx context.Context, what string) (difference.Side, error) {
	if info, err := os.Stat(what); err == nil && info.IsDir() {
		return sideOfFolder(what)
	}
	if err := o.open(ctx); err != nil {
		return difference.Side{}, err
	}
	if wholeCommit.MatchString(what) {
		tag := o.from.policy.Repository().Tag(what)
		side, err := o.sideOfImage(ctx, tag)
		if registry.IsNotFound(err) {
			err = fmt.Errorf("%w of commit %s in %s", errNoBase, what, o.from.policy.Image)
		}
		return side, err
	}
	ref, err := name.ParseReference(what, name.StrictValidation)
	if err != nil {
		err := fmt.Errorf("%s is neither a folder here, nor a whole commit, nor an image by tag or digest", what)
		return difference.Side{}, misuse{hint.Add(err, "write REGISTRY/REPOSITORY@sha256:… or REGISTRY/REPOSITORY:TAG, or name a folder of documents")}
	}
	return o.sideOfImage(ctx, ref)
}

// sideOfFolder reads the documents that a release wrote.
func sideOfFolder(dir string) (difference.Side, error) {
	document, err := readBounded(filepath.Join(dir, "sbom.cdx.json"), sbom.MaxSize)
	if err != nil {
		return difference.Side{}, hint.Add(err, "name the folder that hallmark release wrote its documents to (--out)")
	}
	report, err := readBounded(filepath.Join(dir, "scan.json"), finding.MaxReport)
	if err != nil {
		return difference.Side{}, hint.Add(err, "name the folder that hallmark release wrote its documents to (--out)")
	}
	return sideOf(dir, document, report)
}

func sideOf(what string, document, report []byte) (side difference.Side, err error) {
	side.Name = what
	inventory, err := sbom.Read(bytes.NewReader(document), sbom.Limits{})
	if err != nil {
		return side, fmt.Errorf("%s: %w", what, err)
	}
	side.Packages = inventory.Packages
	if side.Report, err = finding.Decode(report); err != nil {
		return side, fmt.Errorf("%s: %w", what, err)
	}
	if digest := side.Report.Subject.String(); side.Report.Image != "" && !strings.Contains(what, "@") {
		side.Name = side.Report.Image + "@" + digest
	}
	return side, nil
}

// sideOfImage reads what is attested about an image, by the policy's identity
// and no other. An image that does not verify gives errNo with the reason.
func (o *opened) sideOfImage(ctx context.Context, ref name.Reference) (difference.Side, error) {
	judged, err := verify.Image(ctx, o.client, ref, o.options)
	if err != nil {
		return difference.Side{}, err
	}
	if !judged.Passed() {
		first := judged.Failing()[0]
		return difference.Side{}, fmt.Errorf("%w: the evidence of %s does not verify: %s: %s", errNo, ref, first.Name, first.Reason)
	}
	image := ref.Context().Digest(judged.Digest)
	documents, err := o.attested(ctx, image)
	if err != nil {
		return difference.Side{}, err
	}
	return sideOf(image.String(), documents[evidence.CycloneDX], documents[evidence.Scan])
}

// attested gives the SBOM and the scan that the policy's identity attests.
func (o *opened) attested(ctx context.Context, image name.Digest) (map[string][]byte, error) {
	signed, err := o.client.Evidence(ctx, image)
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for _, kind := range []struct{ predicate, link string }{{evidence.CycloneDX, policy.SBOMLink}, {evidence.Scan, policy.Scan}} {
		alone := o.options
		alone.Policy.Evidence = []string{kind.link}
		for _, s := range signed {
			if s.PredicateType != kind.predicate || found[kind.predicate] != nil {
				continue
			}
			if hash, err := v1.NewHash(image.DigestStr()); err != nil || !verify.Judge(hash, []evidence.Signed{s}, alone).Passed() {
				continue
			}
			statement, err := s.Statement()
			if err != nil {
				return nil, err
			}
			found[kind.predicate] = statement.Predicate
		}
		if found[kind.predicate] == nil {
			return nil, hint.Add(fmt.Errorf("nothing attests the %s of %s", kind.link, image), "add %s to the key evidence in hallmark.yaml and release the commit again", kind.link)
		}
	}
	return found, nil
}
