package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/demo"
	"github.com/hallmark-sh/hallmark/internal/release"
)

func (a *app) demoCommand() *cobra.Command {
	var dir, listen string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See the whole chain work on this machine, with no account",
		Long: `demo makes a git repository with two commits and releases both. The first carries
a critical vulnerability and is refused before the registry sees a request. The
second goes through and is verified. Then five forgeries of it are tried, and
each is refused with its reason.

It needs git and the go tool, no container engine, no account, and no network
beyond Go's module proxy. Everything is kept in one folder.`,
		Example: "  hallmark demo\n  hallmark demo --dir /tmp/demo --listen 127.0.0.1:5050",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), dir, listen) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`folder` to keep it in (default a new one in the temporary folder)")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "loopback `address` of the registry; port 0 chooses one")
	return cmd
}

func (a *app) demo(ctx context.Context, dir, listen string) error {
	listener, err := listenLoopback(listen)
	if err != nil {
		return err
	}
	// Only the check that the address is loopback and free is wanted here.
	listen = listener.Addr().String()
	listener.Close()
	if dir == "" {
		if dir, err = os.MkdirTemp("", "hallmark-demo-"); err != nil {
			return fmt.Errorf("making a folder for the demonstration: %w", err)
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	began := time.Now()
	scene := 0
	sum, err := demo.Run(ctx, demo.Options{
		Dir: dir, Listen: listen, Version: version, Env: a.env.list,
		Scene: func(title string) {
			scene++
			if !a.flags.json { // the scenes are told as they end; JSON only at the end
				a.screen.printf("\n%s\n", a.screen.out(bold, fmt.Sprintf("%d. %s", scene, title)))
			}
		},
		Refused:  a.showRefused,
		Released: a.showReleased,
		Verified: a.showVerified,
		Tried:    a.showAttempt,
		Progress: func(s release.Step) { a.screen.step(s, time.Since(began)) },
	})
	if err != nil {
		return err
	}
	if a.flags.json {
		err = a.screen.json(newDemoAnswer(sum))
	} else {
		a.printDemo(sum)
	}
	if err == nil && !sum.Holds() {
		err = errors.New("the demonstration did not go as it must: the chain is broken")
	}
	return err
}
