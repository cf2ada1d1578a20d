package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// profile releases the image once from each source with the profiling build of hallmark, and prints where the CPU time
// went, by function including what it called.
func profile(ctx context.Context, in *input, program string) error {
	for _, source := range []string{fromLayout, fromArchive} {
		path := filepath.Join(filepath.Dir(program), "profile-"+strings.ReplaceAll(source, " ", "-")+".pprof")
		released, err := profileOne(ctx, in, program, source, path)
		if err != nil {
			return fmt.Errorf("profiling a release from %s: %w", source, err)
		}
		text, _, err := measure(ctx, command{step: "go tool pprof", path: "go", env: os.Environ(),
			args: []string{"tool", "pprof", "-top", "-cum", "-nodecount", "45", path}})
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s wall, %s CPU, %s peak; profile in %s\n%s\n",
			source, seconds(released.Wall), seconds(released.CPU), mega(released.Peak), path, text)
	}
	return nil
}

func profileOne(ctx context.Context, in *input, program, source, path string) (released step, err error) {
	s, err := startServers(ctx, in, in.commits[source], 0)
	if err != nil {
		return step{}, err
	}
	defer func() {
		if stopErr := s.stop(); err == nil {
			err = stopErr
		}
	}()
	c := in.command("hallmark release", in.repos[source], path, "release", "--identity-token", s.token, "--advisories", in.advisories)
	c.path = program
	_, released, err = measure(ctx, c)
	return released, err
}
