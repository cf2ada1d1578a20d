package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

func (a *app) advisoriesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "advisories",
		Short: "Make, take in and inspect vulnerability databases",
		Long: `advisories handles vulnerability databases in grype's format, version 6: make one
from OSV records and other lists, sign it, make one the default, and see what it
holds. Any stock grype can use what build makes, and hallmark what grype has.`,
		Example: `  hallmark advisories build --osv ./osv --kev kev.json --cvss cvss.tsv --out ./db
  hallmark advisories import ./db/v6/vulnerability-db.tar.zst
  hallmark advisories status`,
		Args: a.noVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.advisoriesBuildCommand(), a.advisoriesImportCommand(), a.advisoriesStatusCommand(), a.advisoriesVerifyCommand())
	return cmd
}

type buildFlags struct {
	osv, debian, kev, cvss []string
	out, time              string
	sign                   bool
	identity               identityFlags
}

func (a *app) advisoriesBuildCommand() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Make a database from OSV records and other lists",
		Long: `build reads OSV records (JSON or YAML; folders or archives), Debian's lists of
advisories, CISA's catalogue of known exploited vulnerabilities and a table of CVSS
scores, and writes a database, its archive and latest.json. A record's severity is
the first known of: its own, an alias in the same build, the CVSS table; otherwise
it stays unknown. What cannot be used is counted and listed, never dropped.

The same input and --time give the same bytes.`,
		Example: `  hallmark advisories build --osv ./pypa --osv go-vulndb.tar.zst --kev kev.json --cvss cvss.tsv --out ./db
  hallmark advisories build --osv ./osv --out ./db --sign`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.advisoriesBuild(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.osv, "osv", nil, "folder or archive of OSV `records`; repeat for more")
	flags.StringArrayVar(&f.debian, "debian", nil, "Debian DSA or DLA `list`, or a folder or archive of such")
	flags.StringArrayVar(&f.kev, "kev", nil, "CISA's known exploited vulnerabilities, JSON `file`")
	flags.StringArrayVar(&f.cvss, "cvss", nil, "`table` of CVE, vector, score and severity, separated by tabs")
	flags.StringVar(&f.out, "out", "advisories", "`folder` for the result")
	flags.StringVar(&f.time, "time", "", "build `time` the database tells, RFC 3339 (default now)")
	flags.BoolVar(&f.sign, "sign", false, "sign the archive, by the trust that hallmark.yaml names")
	f.identity.bind(flags)
	return cmd
}

func (a *app) advisoriesBuild(ctx context.Context, f buildFlags) error {
	o := advisory.BuildOptions{Out: f.out, Time: time.Now()}
	if f.time != "" {
		at, err := time.Parse(time.RFC3339, f.time)
		if err != nil {
			return misuse{fmt.Errorf("reading --time: %w", err)}
		}
		o.Time = at
	}
	for _, list := range []struct {
		kind  advisory.Kind
		paths []string
	}{{advisory.OSV, f.osv}, {advisory.DebianList, f.debian}, {advisory.KEV, f.kev}, {advisory.CVSS, f.cvss}} {
		for _, path := range list.paths {
			o.Sources = append(o.Sources, advisory.Source{Kind: list.kind, Path: path})
		}
	}
	if len(o.Sources) == 0 {
		return misuse{hint.Add(errors.New("nothing to build from"), "name OSV records with --osv; hallmark advisories build --help shows the rest")}
	}
	began := time.Now()
	o.Progress = func(line string) { a.screen.progress("build", line, time.Since(began)) }
	if f.sign {
		sign, done, err := a.archiveSigner(ctx, f.identity)
		if err != nil {
			return err
		}
		defer done()
		o.Sign = sign
	}
	result, err := advisory.Build(ctx, o)
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.screen.json(result)
	}
	a.printBuild(result)
	return nil
}

// archiveSigner gives what signs an archive with the policy's trust.
func (a *app) archiveSigner(ctx context.Context, f identityFlags) (advisory.SignFunc, func(), error) {
	p, err := a.policy(".")
	if err != nil {
		return nil, nil, err
	}
	rooms, err := a.openRooms(ctx, p, source.Source{}, f)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, path string, _ v1.Hash) ([]byte, error) {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return rooms.signer.SignBlob(ctx, file)
	}, rooms.close, nil
}

// verifyArchive gives what verifies a database archive's signature, by the
// policy's trust root. The root is loaded only when a signer is asked for.
func (a *app) verifyArchive(p policy.Policy) advisory.VerifyFunc {
	return func(ctx context.Context, bundle []byte, digest v1.Hash, signer policy.Identity) error {
		anchor, err := trust.Load(ctx, p.Trust, a.trustOptions(p))
		if err != nil {
			return err
		}
		judged := verify.Digest("the archive", digest, bundle, verify.BlobOptions{Identity: signer, Anchor: anchor, Now: time.Now()})
		if !judged.Passed() {
			return errors.New(judged.Failing()[0].Reason)
		}
		return nil
	}
}

func (a *app) printBuild(r advisory.Result) {
	s := a.screen
	s.printf("%s  %s\n", s.out(green, "BUILT"), r.Dir)
	s.printf("  records   %d read, %d written as %d rows; %d withdrawn, %d duplicates, %d merged, %d unusable\n",
		r.Read, r.Written, r.Rows, r.Withdrawn, r.Duplicates, r.Merged, r.Unusable)
	s.printf("  severity  %s\n", countsText(r.Severities))
	s.printf("  exploited %d\n", r.KEV)
	s.printf("  archive   %s\n            %s\n", r.Archive, r.Digest)
	if r.Bundle != "" {
		s.printf("  signature %s\n", r.Bundle)
	}
	for i, p := range r.Problems {
		if i == 10 && !a.flags.verbose {
			s.note("  … and %d more; -v lists them", len(r.Problems)-i)
			return
		}
		s.note("  %s", clean(fmt.Sprint(p)))
	}
}
