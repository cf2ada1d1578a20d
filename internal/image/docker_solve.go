package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/tonistiigi/fsutil"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// solve has the engine build the recipe and keep the image by the name tag. It
// gives the images the build read.
func (d dockerBuild) solve(ctx context.Context, r recipe, tag string) ([]Material, error) {
	request, err := d.request(r, tag)
	if err != nil {
		return nil, err
	}
	bk, err := d.engine.buildkit(ctx)
	if err != nil {
		return nil, d.engine.explain(ctx, err)
	}
	defer bk.Close()

	watch := newWatch(d.opts)
	status := make(chan *buildkit.SolveStatus)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for s := range status {
			watch.see(s)
		}
	}()
	_, err = bk.Solve(ctx, nil, request, status)
	<-watched
	if err != nil {
		return nil, d.explainSolve(ctx, err, watch)
	}
	return d.engine.materials(ctx, watch.bases())
}

// request says what to build. The Dockerfile frontend reads .dockerignore from
// the context by itself.
func (d dockerBuild) request(r recipe, tag string) (buildkit.SolveOpt, error) {
	folder, err := fsutil.NewFS(r.context)
	if err != nil {
		return buildkit.SolveOpt{}, fmt.Errorf("reading the build context: %w", err)
	}
	dockerfile, err := fsutil.NewFS(filepath.Dir(r.dockerfile))
	if err != nil {
		return buildkit.SolveOpt{}, fmt.Errorf("reading the Dockerfile: %w", err)
	}
	attrs := map[string]string{
		"filename":                    filepath.Base(r.dockerfile),
		"build-arg:SOURCE_DATE_EPOCH": d.epoch(),
	}
	for name, value := range d.settings.Args {
		attrs["build-arg:"+name] = value
	}
	if d.settings.Target != "" {
		attrs["target"] = d.settings.Target
	}
	if d.settings.Platform != "" {
		attrs["platform"] = d.settings.Platform
	}
	return buildkit.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: attrs,
		LocalMounts:   map[string]fsutil.FS{"context": folder, "dockerfile": dockerfile},
		// BuildKit keeps the files of a build for the next one with this key,
		// and takes a file of the same size and time for the same file. All
		// files here have the time of their commit, so that two commits of one
		// second would be mixed: no two builds share a key.
		SharedKey: rand.Text(),
		// moby is the exporter of an engine's own BuildKit: into its images.
		Exports: []buildkit.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": tag}}},
		Session: []session.Attachable{credentials{keychain: d.opts.Keychain}},
	}, nil
}

// explainSolve says which step failed, with the last of what it printed.
func (d dockerBuild) explainSolve(ctx context.Context, err error, w *watch) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if strings.Contains(err.Error(), "unable to upgrade to h2c") {
		return hint.Add(fmt.Errorf("the engine at %s has no BuildKit: %w", d.engine.host, err),
			"use Docker 19.03 or later; an image that Podman or another tool built is taken by build.layout")
	}
	step, said := w.failed()
	reason := strings.TrimPrefix(rootMessage(err), "failed to solve: ")
	if step == "" {
		return hint.Add(fmt.Errorf("docker build: %s", reason), "see that docker build works on a fresh clone of the commit: only committed files are in the context")
	}
	if said != "" {
		said = "\n" + said
	}
	return hint.Add(fmt.Errorf("docker build: step %s: %s%s", step, reason, said),
		"see that docker build works on a fresh clone of the commit: only committed files are in the context")
}

// rootMessage drops the gRPC wording in front of what BuildKit says.
func rootMessage(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	_, text, found := strings.Cut(err.Error(), "desc = ")
	if !found {
		return clean(err.Error())
	}
	return clean(text)
}
