package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/hallmark-sh/hallmark/test/debian"
)

// The two forms in which both contenders are given the image.
const (
	fromLayout  = "OCI layout"
	fromArchive = "docker archive"
)

// Who releases it.
const (
	repository          = "acme/storefront"
	workflow            = ".github/workflows/release.yml"
	branch              = "refs/heads/main"
	certificateIdentity = "https://github.com/" + repository + "/" + workflow + "@" + branch
)

// input is everything that is the same for all contenders and rounds.
type input struct {
	dir, home, hallmark string
	// archive and layout are the same image.
	archive, layout string
	// advisories is the vulnerability database, as grype keeps it.
	advisories string
	// state is the folder of the trust services, issuer their OIDC issuer, address where they and the registry listen.
	state, issuer, address string
	// repos are git repositories whose policy releases the image from one source or the other, commits what is checked out.
	repos, commits map[string]string
	// provenance is the predicate the chain attests.
	provenance string
	about      imageFacts
}

// imageFacts describe the image in the report.
type imageFacts struct {
	Debian, Python, Layers, Advisories int
	Archive, Layout                    int64
}

func prepare(ctx context.Context, dir, program string) (*input, error) {
	in := &input{
		dir: dir, hallmark: program,
		home:       filepath.Join(dir, "home"),
		archive:    filepath.Join(dir, "storefront.tar"),
		layout:     filepath.Join(dir, "layout"),
		advisories: filepath.Join(dir, "advisories"),
		state:      filepath.Join(dir, "trust"),
		provenance: filepath.Join(dir, "provenance.json"),
		issuer:     "https://hallmark.localhost",
		repos:      map[string]string{},
		commits:    map[string]string{},
	}
	for _, folder := range []string{in.home, in.state} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			return nil, err
		}
	}
	var err error
	if in.address, err = freeAddress(); err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "building the Debian image (the first time, debootstrap takes two minutes)")
	config, digest, err := in.buildImage(ctx)
	if err != nil {
		return nil, err
	}
	if err := in.buildAdvisories(ctx); err != nil {
		return nil, err
	}
	// The trust services write the files that policies name when they start for the first time.
	s, err := startServers(ctx, in, strings.Repeat("0", 40), 0)
	if err != nil {
		return nil, err
	}
	if err := s.stop(); err != nil {
		return nil, err
	}
	for source, build := range map[string]string{
		fromLayout:  fmt.Sprintf("{path: %s, digest: %s}", in.layout, digest),
		fromArchive: fmt.Sprintf("{path: %s, digest: %s}", in.archive, config),
	} {
		if in.repos[source], err = in.newRepository(ctx, source, build); err != nil {
			return nil, err
		}
		if in.commits[source], err = head(ctx, in.repos[source]); err != nil {
			return nil, err
		}
	}
	predicate, err := provenancePredicate(in.commits[fromLayout])
	if err != nil {
		return nil, err
	}
	return in, os.WriteFile(in.provenance, predicate, 0o644)
}

// buildImage builds the archive and makes the layout of it. It returns the digests that say what each holds.
func (in *input) buildImage(ctx context.Context) (config, digest v1.Hash, err error) {
	if err := debian.Build(ctx, in.archive); err != nil {
		return config, digest, err
	}
	img, err := tarball.ImageFromPath(in.archive, nil)
	if err != nil {
		return config, digest, err
	}
	path, err := layout.Write(in.layout, empty.Index)
	if err != nil {
		return config, digest, err
	}
	if err := path.AppendImage(img); err != nil {
		return config, digest, err
	}
	if config, err = img.ConfigName(); err != nil {
		return config, digest, err
	}
	if digest, err = img.Digest(); err != nil {
		return config, digest, err
	}
	layers, err := img.Layers()
	if err != nil {
		return config, digest, err
	}
	in.about.Layers = len(layers)
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return config, digest, err
		}
		in.about.Layout += size
	}
	stat, err := os.Stat(in.archive)
	if err != nil {
		return config, digest, err
	}
	in.about.Archive = stat.Size()
	return config, digest, nil
}

// newRepository makes a git repository whose policy takes the image from where build says.
func (in *input) newRepository(ctx context.Context, source, build string) (string, error) {
	dir := filepath.Join(in.dir, "repo-"+strings.ReplaceAll(source, " ", "-"))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := debian.WriteApp(dir); err != nil {
		return "", err
	}
	policy := strings.Join([]string{
		"version: 1",
		"image: " + in.address + "/" + repository,
		"build:",
		"  layout: " + build,
		"identity:",
		"  issuer: " + in.issuer,
		"  repository: " + repository,
		"  workflow: " + workflow,
		"  ref: " + branch,
		"trust:",
		"  root: private",
		"  trusted-root: " + filepath.Join(in.state, "trusted-root.json"),
		"  signing-config: " + filepath.Join(in.dir, "signing-config.json"),
		"",
	}, "\n")
	if err := os.WriteFile(filepath.Join(dir, "hallmark.yaml"), []byte(policy), 0o644); err != nil {
		return "", err
	}
	return dir, debian.Commit(ctx, dir, "https://github.com/"+repository)
}

func head(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", "rev-parse", "HEAD")
	cmd.Dir = dir
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// freeAddress finds a loopback port nobody has. Policies name it, so that the servers of every run must have the same.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// buildAdvisories makes a database of the size of a distribution's.
func (in *input) buildAdvisories(ctx context.Context) error {
	base, err := debian.Open(ctx)
	if err != nil {
		return err
	}
	in.about.Debian, in.about.Python = len(base.Debian), len(base.Python)+1 // and the application itself
	records := filepath.Join(in.dir, "osv")
	if in.about.Advisories, err = base.WriteAdvisories(records, 20_000); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "building a database of %d advisories\n", in.about.Advisories)
	_, _, err = measure(ctx, in.command("hallmark advisories build", in.dir, "advisories", "build", "--osv", records, "--out", in.advisories))
	return err
}
