// Command hallmark proves that what runs in production is exactly what was
// built from a commit. Everything is decided in package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/hallmark-sh/hallmark/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: the first only asks.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Standard(), os.Environ()))
}
