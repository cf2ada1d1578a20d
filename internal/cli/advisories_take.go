package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// databaseAnswer is the stable JSON answer about a vulnerability database.
type databaseAnswer struct {
	Schema   string           `json:"schema"`
	Dir      string           `json:"dir"`
	AgeHours float64          `json:"ageHours"`
	Database finding.Database `json:"database"`
	// Holds counts what is inside; status only.
	Holds *advisory.Summary `json:"holds,omitempty"`
}

func (a *app) advisoriesImportCommand() *cobra.Command {
	var f memoryImport
	cmd := &cobra.Command{
		Use:   "import [FROM]",
		Short: "Make a database the default one, or bring advisories into a memory",
		Long: `import takes a database file, an archive, a folder or a URL, checks it, and makes it
what releases use when nothing else is named. When hallmark.yaml names a signer, the
archive must carry that signer's signature.

With --server or --db the advisories go into a memory instead (hallmark serve): from
the database FROM, or from OSV records with --osv. They replace what the memory has of
the same providers; --partial adds and replaces, and ends none. What newly affects
images is told by the service.`,
		Example: `  hallmark advisories import ./db/v6/vulnerability-db.tar.zst
  hallmark advisories import https://advisories.acme.example
  hallmark advisories import ./db --server https://hallmark.acme.example
  hallmark advisories import --osv GHSA-jfh8-c2jp-5v3q.json --partial --server http://127.0.0.1:8470`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.chosen() {
				return a.importIntoMemory(cmd.Context(), args, f)
			}
			if len(args) == 0 || len(f.osv) > 0 || f.partial || f.source != "" {
				return misuse{hint.Add(errors.New("the default database is made from one FROM"), "--osv, --source and --partial are for a memory, named with --server or --db")}
			}
			o, err := a.databaseOptions(args[0])
			if err != nil {
				return err
			}
			dir, db, err := advisory.Import(cmd.Context(), o)
			if err != nil {
				return err
			}
			return a.answerDatabase("IMPORTED", dir, db, nil)
		},
	}
	f.bind(cmd.Flags())
	cmd.Flags().StringArrayVar(&f.osv, "osv", nil, "bring in these OSV `records`, a file, folder or archive; repeat for more")
	cmd.Flags().StringVar(&f.source, "source", "", "`name` of the source in the memory (default database, or osv and the file's name)")
	cmd.Flags().BoolVar(&f.partial, "partial", false, "add and replace advisories of these providers, and end none")
	return cmd
}

func (a *app) advisoriesStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status [FROM]",
		Short:   "Say what a database holds and how old it is",
		Example: "  hallmark advisories status\n  hallmark advisories status ./db --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := a.databaseOptions(strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.advisoriesStatus(cmd.Context(), o)
		},
	}
}

func (a *app) advisoriesStatus(ctx context.Context, o advisory.Options) error {
	dir, db, err := advisory.Open(ctx, o)
	if err != nil {
		return err
	}
	held, err := advisory.Status(ctx, dir)
	if err != nil {
		return err
	}
	return a.answerDatabase("USABLE", dir, db, &held)
}

func (a *app) advisoriesVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "verify ARCHIVE",
		Short:   "Check the signature beside a database archive",
		Example: "  hallmark advisories verify ./db/v6/vulnerability-db.tar.zst",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.policy(".")
			if err != nil {
				return err
			}
			signer := p.Identity
			if p.Advisories.Signer != nil {
				signer = *p.Advisories.Signer
			}
			digest, err := advisory.Verify(cmd.Context(), args[0], signer, a.verifyArchive(p))
			if err != nil {
				return err
			}
			a.screen.printf("%s  %s\n  %s\n  signed by %s\n", a.screen.out(green, "SIGNED"), args[0], digest, signer.SubjectRegexp())
			return nil
		},
	}
}

// databaseOptions are the policy's where there is a policy, and need none.
func (a *app) databaseOptions(from string) (advisory.Options, error) {
	p, err := a.policy(".")
	if err != nil && a.flags.config != "" {
		return advisory.Options{}, err
	}
	if err != nil {
		p = policy.Policy{}
	}
	return a.advisoryOptions(p, from), nil
}

func (a *app) answerDatabase(word, dir string, db finding.Database, held *advisory.Summary) error {
	age := time.Since(db.Built)
	if a.flags.json {
		return a.screen.json(databaseAnswer{"hallmark.advisories/v1", dir, age.Hours(), db, held})
	}
	s := a.screen
	s.printf("%s  %s\n", s.out(green, word), dir)
	s.printf("  built     %s, %.1f days ago\n", db.Built.Format(time.RFC3339), age.Hours()/24)
	s.printf("  schema    %s\n  digest    %s\n", db.Schema, db.Digest)
	s.printf("  providers %s\n", clean(strings.Join(db.Providers, ", ")))
	if db.Signed {
		s.printf("  signed    yes, by whom hallmark.yaml names\n")
	}
	if held != nil {
		s.printf("  holds     %d advisories, %d rows, %d known to be exploited\n", held.Advisories, held.Rows, held.KEV)
		s.printf("  severity  %s\n", countsText(held.Severities))
	}
	return nil
}
