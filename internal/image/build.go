package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// DefaultMaxBytes is how many bytes a build may write unless told otherwise.
const DefaultMaxBytes = 50 << 30

// Options are what a build needs to know beside source and policy.
type Options struct {
	// Dir is the folder to make. It must not exist, or be empty. Until the
	// image is whole it is called Dir with the ending .partial; two builds
	// must not share it.
	Dir string
	// PolicyDir is the folder of the policy file, to which the paths in the
	// policy are relative; empty for the folder the source was opened at.
	PolicyDir string
	// Repository is what the image is built for, without tag. It stands in
	// progress lines only: the digest must not depend on where an image goes.
	Repository string
	// DockerHost is the engine's address, such as unix:///var/run/docker.sock;
	// empty for DOCKER_HOST in Env or else the usual socket.
	DockerHost string
	// Env is the environment of the caller, as os.Environ gives it, of which
	// the builders pass on or read what they name in their own comments.
	Env []string
	// Progress is told what goes on, one line at a time, possibly from several
	// goroutines at once; nil for nobody.
	Progress func(line string)
	// Transport and Keychain reach the registry that a base image is in; nil
	// for the default transport and for no credentials.
	Transport http.RoundTripper
	Keychain  authn.Keychain
	// MaxBytes bounds what the build writes to Dir; zero for DefaultMaxBytes.
	MaxBytes int64
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// getenv gives the last value of a variable in Env.
func (o Options) getenv(name string) string {
	value := ""
	for _, kv := range o.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// Build makes the image that b describes from src, in opts.Dir. When it fails
// or ctx ends, nothing is left behind.
//
// The docker and go builders read an export of src, never the working tree
// itself; the layout builder takes what is at its path and does not look at
// src at all.
func Build(ctx context.Context, src source.Source, b policy.Build, opts Options) (Built, error) {
	built, err := build(ctx, src, b, opts)
	if errors.Is(err, syscall.ENOSPC) {
		err = hint.Add(err, "free space on the disk that holds %s", filepath.Dir(opts.Dir))
	}
	if err != nil {
		return Built{}, fmt.Errorf("building image: %w", err)
	}
	return built, nil
}

func build(ctx context.Context, src source.Source, b policy.Build, opts Options) (_ Built, err error) {
	if opts.PolicyDir == "" {
		opts.PolicyDir = filepath.Join(src.Dir, filepath.FromSlash(src.Subdir))
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	if b, err = withDefault(b, opts.PolicyDir); err != nil {
		return Built{}, err
	}
	if there, err := os.ReadDir(opts.Dir); err == nil && len(there) > 0 {
		return Built{}, fmt.Errorf("the folder %s is not empty", opts.Dir)
	}
	partial := opts.Dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return Built{}, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(partial)
		}
	}()
	s, err := newStore(partial, opts.MaxBytes)
	if err != nil {
		return Built{}, err
	}
	out, built, err := dispatch(ctx, s, src, b, opts)
	if err != nil {
		return Built{}, err
	}
	if err := s.finish(out.subject); err != nil {
		return Built{}, err
	}
	if ctx.Err() != nil {
		return Built{}, context.Cause(ctx)
	}
	if err := os.Rename(partial, opts.Dir); err != nil {
		return Built{}, err
	}
	built.Dir, built.flat = filepath.Join(opts.Dir, layoutDir), filepath.Join(opts.Dir, flatDir)
	built.Digest, built.Platforms = out.subject.Digest, out.platforms
	built.Materials, built.Tools = out.materials, out.tools
	return built, nil
}

// withDefault fills in the builder when the policy names none.
func withDefault(b policy.Build, dir string) (policy.Build, error) {
	named := 0
	for _, set := range []bool{b.Docker != nil, b.Go != nil, b.Layout != nil} {
		if set {
			named++
		}
	}
	switch {
	case named > 1:
		return b, hint.Add(errors.New("the policy names more than one builder"), "keep one of docker, go and layout under build")
	case named == 1:
		return b, nil
	}
	if _, err := os.Stat(filepath.Join(dir, "Dockerfile")); err != nil {
		return b, hint.Add(fmt.Errorf("the policy names no builder, and there is no Dockerfile in %s", dir),
			"set docker, go or layout under build")
	}
	return policy.Build{Docker: &policy.DockerBuild{}}, nil
}

func dispatch(ctx context.Context, s *store, src source.Source, b policy.Build, opts Options) (outcome, Built, error) {
	switch {
	case b.Layout != nil:
		out, err := buildLayout(ctx, s, *b.Layout, opts)
		return out, Built{Builder: "layout", Parameters: parameters(b.Layout)}, err
	case b.Docker != nil:
		out, err := buildDocker(ctx, s, src, *b.Docker, opts)
		return out, Built{Builder: "docker", Parameters: parameters(b.Docker)}, err
	case b.Go != nil:
		out, err := buildGo(ctx, s, src, *b.Go, opts)
		return out, Built{Builder: "go", Parameters: parameters(b.Go)}, err
	}
	return outcome{}, Built{}, errors.New("no builder")
}
