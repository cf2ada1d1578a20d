package image

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// temporaryName is the repository of the name an image has in the engine while
// it is being taken out. The name is gone when the build ends.
const temporaryName = "hallmark-build"

// cleanupLimit is how long removing the temporary name may take once the build
// has ended, for whatever reason it ended.
const cleanupLimit = 30 * time.Second

// dockerBuild builds a Dockerfile through an engine and takes the image out.
//
// The engine sees an export of the source, never the working tree. Times in
// the image's config become the commit's; times of files that a RUN step writes
// stay what the clock said, so only a Dockerfile without such steps gives the
// same digest twice.
type dockerBuild struct {
	store    *store
	src      source.Source
	settings policy.DockerBuild
	opts     Options
	engine   *dockerEngine
}

// recipe is where a Dockerfile and its context are in the exported source.
type recipe struct {
	context    string
	dockerfile string
}

func buildDocker(ctx context.Context, s *store, src source.Source, settings policy.DockerBuild, opts Options) (outcome, error) {
	e, err := openEngine(ctx, opts)
	if err != nil {
		return outcome{}, err
	}
	defer e.close()
	d := dockerBuild{store: s, src: src, settings: settings, opts: opts, engine: e}
	r, err := d.prepare(ctx)
	if err != nil {
		return outcome{}, err
	}
	opts.say("docker build of %s with engine %s at %s", cmp.Or(opts.Repository, "the image"), e.version, e.host)
	tag := temporaryName + ":" + strings.ToLower(rand.Text())
	defer e.forget(context.WithoutCancel(ctx), tag)
	materials, err := d.solve(ctx, r, tag)
	if err != nil {
		return outcome{}, err
	}
	out, err := d.fetch(ctx, tag)
	if err != nil {
		return outcome{}, fmt.Errorf("taking the image out of the engine: %w", err)
	}
	out.materials, out.tools = materials, map[string]string{"docker": e.version}
	return out, nil
}

// prepare exports the source and finds the Dockerfile in it.
func (d dockerBuild) prepare(ctx context.Context) (recipe, error) {
	root := filepath.Join(d.store.dir, scratchDir, "source")
	if err := d.src.Export(ctx, root); err != nil {
		return recipe{}, err
	}
	within, err := sourceDir(d.src, d.opts.PolicyDir)
	if err != nil {
		return recipe{}, err
	}
	folder := path.Join(within, d.settings.Context)
	file := path.Join(folder, d.settings.File)
	if d.settings.File == "" {
		file = path.Join(folder, "Dockerfile")
	}
	inside, err := os.OpenRoot(root)
	if err != nil {
		return recipe{}, err
	}
	defer inside.Close()
	// A Root refuses what leads out of the source, by dots or by links.
	if info, err := inside.Stat(folder); err != nil || !info.IsDir() {
		return recipe{}, hint.Add(fmt.Errorf("the build context %s is no folder of the source", folder),
			"set context under build.docker to a folder that is committed, relative to the policy file")
	}
	info, err := inside.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return recipe{}, hint.Add(fmt.Errorf("the source has no %s", file),
			"commit a Dockerfile, or set file under build.docker; without one, use build.go or build.layout")
	}
	if err != nil || !info.Mode().IsRegular() {
		return recipe{}, hint.Add(fmt.Errorf("%s is not a file of the source", file), "set file under build.docker to a committed file")
	}
	return recipe{
		context:    filepath.Join(root, filepath.FromSlash(folder)),
		dockerfile: filepath.Join(root, filepath.FromSlash(file)),
	}, nil
}

// epoch is the commit's time as SOURCE_DATE_EPOCH has it
// (reproducible-builds.org/specs/source-date-epoch).
func (d dockerBuild) epoch() string { return strconv.FormatInt(d.src.CommitTime.Unix(), 10) }

// fetch takes the named image out of the engine and into the store.
func (d dockerBuild) fetch(ctx context.Context, tag string) (outcome, error) {
	saved, err := d.engine.client.ImageSave(ctx, []string{tag})
	if err != nil {
		return outcome{}, err
	}
	defer saved.Close()
	p, err := d.store.create()
	if err != nil {
		return outcome{}, err
	}
	defer p.discard()
	if _, err := io.Copy(p, withContext{ctx, saved}); err != nil {
		return outcome{}, err
	}
	tar, err := openArchive(ctx, d.store, p.path)
	if err != nil {
		return outcome{}, err
	}
	defer tar.close()
	archive := dockerArchive{
		tar:         tar,
		store:       d.store,
		rewrite:     func(config []byte) ([]byte, error) { return settleConfig(config, d.src.CommitTime) },
		annotations: annotations(d.src),
	}
	return archive.read(ctx, "")
}

// forget removes the temporary name, and with it the image when it has no
// other. It runs also after the build was cancelled.
func (e *dockerEngine) forget(ctx context.Context, tag string) {
	ctx, cancel := context.WithTimeout(ctx, cleanupLimit)
	defer cancel()
	_, _ = e.client.ImageRemove(ctx, tag, client.ImageRemoveOptions{PruneChildren: true})
}
