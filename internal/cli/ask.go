package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/query"
)

// ask asks a question and prints its answer: as it came with --json, else by
// show.
func ask[T any](a *app, ctx context.Context, f askFlags, show func(T), address func(index.Options) (string, url.Values)) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	client, done, err := a.client(ctx, f.memoryFlags, toAsk)
	if err != nil {
		return err
	}
	defer done()
	path, q := address(o)
	var raw json.RawMessage
	if err := client.Ask(ctx, path, q, &raw); err != nil {
		return unanswered(err)
	}
	if a.flags.json {
		return a.screen.json(raw)
	}
	var answer T
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if !o.AsOf.IsZero() {
		a.screen.note("as of %s", o.AsOf.Format(time.RFC3339))
	}
	show(answer)
	return nil
}

// unanswered adds the next step to a question that has no answer.
func unanswered(err error) error {
	var refused *query.Error
	if !errors.As(err, &refused) || hint.Of(err) != "" {
		return err
	}
	switch {
	case refused.Status == http.StatusBadRequest || refused.Status == http.StatusUnprocessableEntity:
		return misuse{err}
	case strings.Contains(refused.Detail, index.ErrUnknownAdvisory.Error()):
		return hint.Add(err, "the memory has no such advisory, which says nothing about the images; hallmark advisories import brings more in")
	case strings.Contains(refused.Detail, index.ErrUnknownImage.Error()):
		return hint.Add(err, "hallmark ingest takes an image in")
	case strings.Contains(refused.Detail, index.ErrUnknownPackage.Error()):
		return hint.Add(err, "no image ever held it, by this name; a part of the name, or another type, may be what documents call it")
	}
	return err
}

func (a *app) whoHasCommand() *cobra.Command {
	var f askFlags
	var q index.PackageQuery
	cmd := &cobra.Command{
		Use:   "who-has NAME[@RANGE] | PURL",
		Short: "Which images hold a package",
		Long: `who-has names the images that hold a package: by its name or the last part of it,
with a range of versions if wanted, or by a package URL, which means every package
that is equal to it or more special.`,
		Example: `  hallmark who-has openssl
  hallmark who-has 'org.apache.logging.log4j:log4j-core@<2.17.1'
  hallmark who-has pkg:deb/debian/libssl3 --distro debian-12 --as-of 2026-03-01`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Text = args[0]
			return ask(a, cmd.Context(), f, a.printWhoHas, func(o index.Options) (string, url.Values) { return query.WhoHas(q, o) })
		},
	}
	f.bind(cmd.Flags(), true)
	cmd.Flags().StringVar(&q.Type, "type", "", "only packages of this package URL `type`, such as deb, golang or npm")
	cmd.Flags().StringVar(&q.Distro, "distro", "", "only packages of this `distribution`, as debian-12 or debian")
	return cmd
}

func (a *app) affectedCommand() *cobra.Command {
	var f askFlags
	var severity string
	var fixable, kev bool
	cmd := &cobra.Command{
		Use:   "affected CVE | GHSA | …",
		Short: "Which images an advisory hits",
		Long: `affected names the images that a vulnerability hits, under any of its names, with
the package and version that is hit, the version that fixes it, the severity and who
gave it, and what VEX says. An advisory the memory does not have is an error and not
"no image".`,
		Example: `  hallmark affected CVE-2021-44228
  hallmark affected GHSA-jfh8-c2jp-5v3q --fixable --vex
  hallmark affected CVE-2024-3094 --as-of 2024-03-28 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if severity != "" {
				if _, err := finding.ParseSeverity(severity); err != nil {
					return misuse{fmt.Errorf("--severity: %w", err)}
				}
			}
			return ask(a, cmd.Context(), f, a.printAffected, func(o index.Options) (string, url.Values) {
				return query.Affected(args[0], strings.ToLower(severity), fixable, kev, o)
			})
		},
	}
	f.bind(cmd.Flags(), true)
	cmd.Flags().StringVar(&severity, "severity", "", "only hits of this `severity` or worse; unknown ones are left out then, and counted")
	cmd.Flags().BoolVar(&fixable, "fixable", false, "only where a fix is known")
	cmd.Flags().BoolVar(&kev, "kev", false, "only what is known to be exploited")
	return cmd
}

func (a *app) imageCommand() *cobra.Command {
	var f askFlags
	cmd := &cobra.Command{
		Use:   "image DIGEST | REF",
		Short: "What an image holds and what is found in it",
		Long: `image tells what the memory knows of an image: its packages, its findings, the
evidence they rest on, and the commit it was built from.`,
		Example: `  hallmark image ghcr.io/acme/app:4f2c9d1…
  hallmark image sha256:3f1c… --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(a, cmd.Context(), f, a.printImage, func(o index.Options) (string, url.Values) { return query.Image(args[0], o) })
		},
	}
	f.bind(cmd.Flags(), false)
	return cmd
}

func (a *app) licencesCommand() *cobra.Command {
	var f askFlags
	cmd := &cobra.Command{
		Use:     "licences [LICENCE]",
		Aliases: []string{"licenses"},
		Short:   "Which licences the images' packages carry",
		Long: `licences counts the packages and images of each licence, as documents declare them;
with a LICENCE it names the packages. Packages of which no document declares one are
counted.`,
		Example: "  hallmark licences\n  hallmark licences AGPL-3.0-only",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(a, cmd.Context(), f, a.printLicences, func(o index.Options) (string, url.Values) { return query.Licences(strings.Join(args, ""), o) })
		},
	}
	f.bind(cmd.Flags(), true)
	return cmd
}

func (a *app) topCommand() *cobra.Command {
	var f askFlags
	cmd := &cobra.Command{
		Use:       "top [images | packages | oldest]",
		Short:     "The worst images, the commonest packages, the oldest images",
		Example:   "  hallmark top\n  hallmark top packages --limit 50",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{index.TopImages, index.TopPackages, index.TopOldest},
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(a, cmd.Context(), f, a.printTop, func(o index.Options) (string, url.Values) {
				return query.Top(strings.Join(args, ""), o)
			})
		},
	}
	f.memoryFlags.bind(cmd.Flags())
	cmd.Flags().IntVar(&f.limit, "limit", 0, "`number` of places (default 20)")
	cmd.Flags().StringVar(&f.asOf, "as-of", "", "answer with what was known at this `time`: 2026-03-01, or RFC 3339")
	return cmd
}

func (a *app) explainCommand() *cobra.Command {
	var f askFlags
	cmd := &cobra.Command{
		Use:   "explain CVE PURL",
		Short: "Why an advisory does or does not hit a package",
		Long: `explain shows which row of which database decided, since when the memory has it, and
the comparison that was made. The package need not be in any image.`,
		Example: "  hallmark explain CVE-2021-44228 pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(a, cmd.Context(), f, a.printExplanation, func(o index.Options) (string, url.Values) { return query.Explain(args[0], args[1], o) })
		},
	}
	f.memoryFlags.bind(cmd.Flags())
	cmd.Flags().StringVar(&f.asOf, "as-of", "", "answer with what was known at this `time`: 2026-03-01, or RFC 3339")
	return cmd
}
