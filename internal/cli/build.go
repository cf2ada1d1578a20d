package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/release"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// builtAnswer is the stable JSON answer of hallmark build; its schema is
// docs/schemas/build-v1.schema.json.
type builtAnswer struct {
	Schema   string            `json:"schema"`
	Layout   string            `json:"layout"`
	Digest   string            `json:"digest"`
	Platform map[string]string `json:"platforms"`
	Source   sourceAnswer      `json:"source"`
}

type layoutFlags struct {
	out        string
	allowDirty bool
}

func (a *app) buildCommand() *cobra.Command {
	var f layoutFlags
	cmd := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Build the image of the commit in a folder as an OCI layout, and nothing more",
		Long: `build makes the image that hallmark.yaml describes and leaves it as an OCI image
layout. It talks to no registry but the base image's, needs no identity, and
examines nothing: that is for another job, which has rights that code of the
repository should not have, and which runs hallmark release --layout --digest.

On GitHub Actions it sets the step's output digest.`,
		Example: `  hallmark build
  hallmark build --out ../layout --json | jq -r .digest
  hallmark release --layout ../layout --digest sha256:…`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.build(cmd.Context(), dir, f)
		},
	}
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the layout, which must not exist or be empty (default .hallmark/layout beside hallmark.yaml)")
	cmd.Flags().BoolVar(&f.allowDirty, "allow-dirty", false, "build a working tree that is not exactly its commit")
	return cmd
}

func (a *app) build(ctx context.Context, dir string, f layoutFlags) error {
	p, err := a.policy(dir)
	if err != nil {
		return err
	}
	src, err := source.Open(ctx, dir)
	if err != nil {
		return err
	}
	if err := release.MayStart(src, f.allowDirty); err != nil {
		return err
	}
	client, err := a.openRegistry()
	if err != nil {
		return err
	}
	if f.out == "" {
		// A place that git ignores: the tree stays clean for the release.
		if err := makeState(stateDir(p)); err != nil {
			return err
		}
		f.out = filepath.Join(stateDir(p), "layout")
	}
	out, err := filepath.Abs(f.out)
	if err != nil {
		return err
	}
	if there, err := os.ReadDir(out); err == nil && len(there) > 0 || err != nil && !os.IsNotExist(err) {
		return hint.Add(fmt.Errorf("%s is not an empty folder", f.out), "name another one with --out, or remove it")
	}
	// Beside the result, so that moving it there copies nothing.
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(filepath.Dir(out), ".hallmark-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	began := time.Now()
	built, err := image.Build(ctx, src, p.Build, image.Options{
		Dir:        filepath.Join(scratch, "image"),
		PolicyDir:  filepath.Dir(p.Path),
		Repository: p.Image,
		Env:        a.env.list,
		Keychain:   client.Keychain(),
		Transport:  client.Transport(),
		Progress:   func(line string) { a.screen.progress("build", line, time.Since(began)) },
	})
	if err != nil {
		return err
	}
	// An empty folder gives way; one that has filled meanwhile does not.
	if err := os.Remove(out); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Rename(built.Dir, out); err != nil {
		return fmt.Errorf("moving the layout to %s: %w", f.out, err)
	}
	return a.answerBuild(f.out, src, built)
}

func (a *app) answerBuild(out string, src source.Source, built image.Built) error {
	if path := a.env.get("GITHUB_OUTPUT"); path != "" {
		if err := appendFile(path, fmt.Sprintf("digest=%s\n", built.Digest)); err != nil {
			return fmt.Errorf("writing the GitHub step output: %w", err)
		}
	}
	answer := builtAnswer{
		Schema: "hallmark.build/v1", Layout: out, Digest: built.Digest.String(), Platform: map[string]string{},
		Source: sourceAnswer{src.Remote, src.Commit, src.Ref, src.Dirty},
	}
	for _, platform := range built.Platforms {
		answer.Platform[platform.Name] = platform.Digest.String()
	}
	if a.flags.json {
		return a.screen.json(answer)
	}
	a.screen.printf("%s  %s of commit %.12s\n", a.screen.out(green, "BUILT"), built.Digest, src.Commit)
	a.screen.printf("  layout    %s\n", clean(out))
	a.screen.printf("\nnext: hallmark release --layout %s --digest %s\n", clean(out), built.Digest)
	return nil
}
