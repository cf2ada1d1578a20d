package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// nonroot is the user an image runs as when neither it nor its base says
// another: a number, so that Kubernetes can tell it is not root, and the one
// distroless images use.
const nonroot = "65532"

// goBuild makes an image of one Go program: one layer with one file, upon a
// base or upon nothing. The result depends on the commit, the policy's settings
// and the version of the go tool, and on nothing else: not on the folder, the
// time, the machine or the user's go settings.
type goBuild struct {
	store    *store
	src      source.Source
	settings policy.GoBuild
	opts     Options
	tool     goTool
	base     *base
}

func buildGo(ctx context.Context, s *store, src source.Source, settings policy.GoBuild, opts Options) (outcome, error) {
	if settings.Package == "" {
		settings.Package = "."
	}
	if len(settings.Platforms) == 0 {
		settings.Platforms = []string{"linux/amd64"}
	}
	platforms, err := parsePlatforms(settings.Platforms)
	if err != nil {
		return outcome{}, err
	}
	root := filepath.Join(s.dir, scratchDir, "source")
	if err := src.Export(ctx, root); err != nil {
		return outcome{}, err
	}
	within, err := sourceDir(src, opts.PolicyDir)
	if err != nil {
		return outcome{}, err
	}
	g := &goBuild{store: s, src: src, settings: settings, opts: opts}
	if g.tool, err = findGo(ctx, root, filepath.Join(root, filepath.FromSlash(within)), settings, opts); err != nil {
		return outcome{}, err
	}
	out := outcome{tools: map[string]string{"go": g.tool.version}}
	if settings.Base != "" {
		if g.base, err = openBase(ctx, s, settings.Base, opts); err != nil {
			return outcome{}, fmt.Errorf("reading base image: %w", err)
		}
		out.materials = []Material{g.base.material}
	}
	descs, err := g.all(ctx, platforms)
	if err != nil {
		return outcome{}, err
	}
	for i, d := range descs {
		out.platforms = append(out.platforms, Platform{Name: settings.Platforms[i], Digest: d.Digest})
	}
	if out.subject = descs[0]; len(descs) > 1 {
		out.subject, err = s.putJSON(types.OCIImageIndex, v1.IndexManifest{
			SchemaVersion: 2,
			MediaType:     types.OCIImageIndex,
			Manifests:     descs,
			Annotations:   annotations(src),
		})
	}
	return out, err
}

// all builds the platforms side by side.
func (g *goBuild) all(ctx context.Context, platforms []v1.Platform) ([]v1.Descriptor, error) {
	descs := make([]v1.Descriptor, len(platforms))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range platforms {
		work.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			d, err := g.one(ctx, p)
			if err != nil {
				return fmt.Errorf("building for %s: %w", p, err)
			}
			d.Platform = &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
			descs[i] = d
			return nil
		})
	}
	return descs, work.Wait()
}

// one makes the image of one platform.
func (g *goBuild) one(ctx context.Context, p v1.Platform) (v1.Descriptor, error) {
	below := baseImage{config: &v1.ConfigFile{}}
	if g.base != nil {
		var err error
		if below, err = g.base.image(ctx, p); err != nil {
			return v1.Descriptor{}, fmt.Errorf("reading base image: %w", err)
		}
	}
	g.opts.say("go build %s for %s with %s", g.settings.Package, p, g.tool.version)
	program, err := g.tool.build(ctx, g.settings, p, filepath.Join(g.store.dir, scratchDir, strings.ReplaceAll(p.String(), "/", "-")))
	if err != nil {
		return v1.Descriptor{}, err
	}
	l, err := g.layer(ctx, program)
	if err != nil {
		return v1.Descriptor{}, err
	}
	config, err := json.Marshal(g.config(below.config, p, filepath.Base(program), l.diffID))
	if err != nil {
		return v1.Descriptor{}, err
	}
	return g.store.putImage(config, append(below.layers, l.desc), annotations(g.src))
}

// config describes the image: base's config with the program on top.
func (g *goBuild) config(base *v1.ConfigFile, p v1.Platform, program string, diffID v1.Hash) *v1.ConfigFile {
	created := v1.Time{Time: g.src.CommitTime}
	c := base.DeepCopy()
	c.OS, c.Architecture, c.Variant = p.OS, p.Architecture, p.Variant
	c.Created = created
	c.Config.Entrypoint = []string{path.Join("/", programDir, program)}
	c.Config.Cmd = nil
	if c.Config.User == "" {
		c.Config.User = nonroot
	}
	if c.Config.Labels == nil {
		c.Config.Labels = make(map[string]string)
	}
	for key, value := range annotations(g.src) {
		c.Config.Labels[key] = value
	}
	c.RootFS.Type = "layers"
	c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, diffID)
	c.History = append(c.History, v1.History{
		Created:   created,
		CreatedBy: "go build " + g.settings.Package,
		Comment:   "hallmark",
	})
	return c
}

// annotations say where an image comes from, by the keys of the OCI image
// specification (annotations.md).
func annotations(src source.Source) map[string]string {
	a := map[string]string{
		"org.opencontainers.image.created":  src.CommitTime.Format(time.RFC3339),
		"org.opencontainers.image.revision": src.Tag(),
	}
	// A path on this machine tells nobody anything, and would make the digest
	// depend on where the clone was made from.
	if src.Remote != "" && !strings.HasPrefix(src.Remote, "file:") {
		a["org.opencontainers.image.source"] = src.Remote
	}
	return a
}

// parsePlatforms reads os/arch[/variant] names.
func parsePlatforms(platforms []string) ([]v1.Platform, error) {
	var out []v1.Platform
	for _, s := range platforms {
		p, err := v1.ParsePlatform(s)
		if err != nil {
			return nil, fmt.Errorf("reading platform %q: %w", s, err)
		}
		if p.OS != "linux" || p.Architecture == "" {
			return nil, hint.Add(fmt.Errorf("platform %q is not one of linux", s), "write platforms as linux/amd64 or linux/arm64")
		}
		if _, err := microarchitecture(*p); err != nil {
			return nil, err
		}
		for _, o := range out {
			if o.Equals(*p) {
				return nil, fmt.Errorf("platform %q is named twice", s)
			}
		}
		out = append(out, *p)
	}
	return out, nil
}

// sourceDir gives the place of dir within the source, slash-separated; a
// policy from elsewhere counts as lying where the source was opened.
func sourceDir(src source.Source, dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, os.ErrNotExist) {
		return src.Subdir, nil
	}
	if err != nil {
		return "", err
	}
	if real, err = filepath.Abs(real); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(src.Dir, real)
	if err != nil || !filepath.IsLocal(rel) {
		return src.Subdir, nil
	}
	return filepath.ToSlash(rel), nil
}
