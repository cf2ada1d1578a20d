// Command profile shows where the time of a release goes: it runs one `hallmark release` inside itself under Go's CPU
// profiler, in a folder given by bench, and writes the profile.
//
// It is a program of its own because bench must stay small: the kernel counts a program's peak memory from what its parent
// occupied.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/hallmark-sh/hallmark/internal/cli"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: profile FILE ARGUMENT...   (the arguments of hallmark)")
		os.Exit(2)
	}
	code, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(path string, args []string) (code int, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := pprof.StartCPUProfile(f); err != nil {
		return 0, err
	}
	defer pprof.StopCPUProfile()
	return cli.Main(context.Background(), args, cli.Standard(), os.Environ()), nil
}
