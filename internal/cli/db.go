package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

func (a *app) dbCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "db",
		Short:   "Back up the memory's store, or move it",
		Example: "  hallmark db backup --db hallmark.db backup.db\n  hallmark db copy --from hallmark.db --to postgres://hallmark@db.internal/hallmark",
		Args:    a.noVerb,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.dbBackupCommand(), a.dbCopyCommand())
	return cmd
}

func (a *app) dbBackupCommand() *cobra.Command {
	var db string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the store, as it stands at one instant, into a file, while it is used",
		Long: `backup writes a SQLite store that hallmark can serve from at once, whatever the store
is that it is made of. Services go on reading and writing meanwhile. To put it back:
serve from the file, or hallmark db copy it into an empty database.`,
		Example: "  hallmark db backup --db hallmark.db backup-$(date +%F).db\n  hallmark db backup --db postgres://hallmark@db.internal/hallmark backup.db",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.dbBackup(cmd.Context(), db, args[0]) },
	}
	cmd.Flags().StringVar(&db, "db", "", "the `store` (default HALLMARK_DB, else hallmark.db)")
	return cmd
}

func (a *app) dbName(flag string) string {
	if flag == "" {
		flag = a.env.get("HALLMARK_DB")
	}
	if flag == "" {
		flag = "hallmark.db"
	}
	return flag
}

func (a *app) dbBackup(ctx context.Context, db, path string) error {
	s, err := openStore(ctx, a.dbName(db), false)
	if err != nil {
		return err
	}
	defer s.Close()
	if file, ok := s.(*sqlite.Store); ok {
		err = file.Backup(ctx, path)
	} else {
		err = copyToFile(ctx, s, path)
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.screen.json(backupAnswer{"hallmark.db-backup/v1", path, info.Size()})
	}
	a.screen.printf("%s  %s, %d bytes\n", a.screen.out(green, "WROTE"), clean(path), info.Size())
	return nil
}

// backupAnswer is the stable JSON answer of hallmark db backup; its schema is
// docs/schemas/db-backup-v1.schema.json.
type backupAnswer struct {
	Schema string `json:"schema"`
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
}

// copyToFile writes a store into a new file, whole or not at all.
func copyToFile(ctx context.Context, from store.Store, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return hint.Add(fmt.Errorf("writing backup %s: the file exists", path), "name a new file: a backup never overwrites another")
	}
	to, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	_, err = store.Copy(ctx, to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			err = errors.Join(err, ignoreMissing(os.Remove(path+suffix)))
		}
		return fmt.Errorf("writing backup %s: %w", path, err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (a *app) dbCopyCommand() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy a store into an empty one, as when one machine is outgrown",
		Long: `copy puts everything that is in one store into another, which must be empty: from a
file into PostgreSQL, or a backup back. Stop the services that write to the store
first, and start them on the new one.`,
		Example: "  hallmark db copy --from hallmark.db --to postgres://hallmark@db.internal/hallmark",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if from == "" || to == "" {
				return misuse{errors.New("--from and --to are needed")}
			}
			source, err := openStore(ctx, from, false)
			if err != nil {
				return err
			}
			defer source.Close()
			target, err := openStore(ctx, to, true)
			if err != nil {
				return err
			}
			defer target.Close()
			n, err := store.Copy(ctx, target, source)
			if err != nil {
				return err
			}
			a.screen.printf("%s  %d rows\n", a.screen.out(green, "COPIED"), n)
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the `store` to copy")
	cmd.Flags().StringVar(&to, "to", "", "the empty `store` to copy it into")
	return cmd
}
