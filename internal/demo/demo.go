// Package demo shows the whole chain on one machine with no account: two
// commits are released, the first is refused, the second goes through, and
// five forgeries of it are refused by name.
//
// Nothing is staged: it runs the release and the verifier that everybody runs,
// against a registry and a local trust on loopback. The only things of its own
// are the repository it makes and the forgeries it tries.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/advisory/sample"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/localregistry"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/release"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// repositoryName and workflowPath are who the demonstration's policy trusts.
const (
	repositoryName = "acme/demo"
	workflowPath   = ".github/workflows/release.yml"
	branch         = "refs/heads/main"
)

// Options sets up a demonstration.
type Options struct {
	// Dir is a folder to keep everything in; it must be missing or empty.
	Dir string
	// Listen is the loopback address of the registry.
	Listen string
	// Version is hallmark's own.
	Version string
	// Env is the environment of the build, in the form of os.Environ.
	Env []string
	// Scene is told when a scene begins; the others what came of it. All are
	// called in order, from one goroutine.
	Scene    func(title string)
	Refused  func(r release.Result, requests int)
	Released func(release.Result)
	Verified func(verdict.Verdict)
	Tried    func(Attempt)
	// Progress is told what is being done, from any goroutine.
	Progress func(release.Step)
}

// Summary is what the demonstration saw.
type Summary struct {
	Dir      string
	Address  string
	Policy   string
	Refused  release.Result
	Requests int // what the registry had seen when the first was refused
	Released release.Result
	Verdict  verdict.Verdict
	Forgery  []Attempt
	Took     time.Duration
}

// Holds says that everything went as a demonstration promises.
func (s Summary) Holds() bool {
	for _, f := range s.Forgery {
		if !f.Refused() {
			return false
		}
	}
	return s.Refused.Decision.Refused && s.Requests == 0 && s.Verdict.Passed() && len(s.Forgery) == 5
}

// stage is everything that stands on the stage.
type stage struct {
	Options
	address string
	access  access
	local   *localtrust.Local
	client  *registry.Client
	repo    *repository
	policy  policy.Policy
	anchor  trust.Anchor
}

// Run plays the demonstration. An error means that it could not be played;
// whether what it saw is right is the Summary's Holds.
func Run(ctx context.Context, o Options) (Summary, error) {
	began := time.Now()
	s := &stage{Options: o}
	stop, err := s.set(ctx)
	if err != nil {
		return Summary{}, err
	}
	defer stop()
	sum := Summary{Dir: o.Dir, Address: s.address, Policy: s.policy.Path}
	o.Scene("The first commit carries a critical vulnerability")
	sum.Refused, err = s.release(ctx, "first", "Answer over SSH")
	if !errors.Is(err, release.ErrRefused) {
		return sum, fmt.Errorf("releasing the first commit: wanted a refusal, got %w", orNil(err))
	}
	sum.Requests = s.access.count()
	o.Refused(sum.Refused, sum.Requests)
	o.Scene("The second commit carries the fix")
	if sum.Released, err = s.release(ctx, "second", "Update golang.org/x/crypto"); err != nil {
		return sum, fmt.Errorf("releasing the second commit: %w", err)
	}
	o.Released(sum.Released)
	o.Scene("Anybody can verify it, from the registry")
	if sum.Verdict, err = s.verify(ctx, sum.Released.Image); err != nil {
		return sum, err
	}
	o.Verified(sum.Verdict)
	o.Scene("Five forgeries")
	if sum.Forgery, err = s.forge(ctx, sum.Released); err != nil {
		return sum, fmt.Errorf("forging: %w", err)
	}
	sum.Took = time.Since(began)
	return sum, nil
}

// errReleased stands for a release that should not have gone through.
var errReleased = errors.New("a release")

func orNil(err error) error {
	if err == nil {
		return errReleased
	}
	return err
}

// set builds the stage: registry, local trust, repository, advisories, policy.
func (s *stage) set(ctx context.Context) (stop func(), err error) {
	if entries, err := os.ReadDir(s.Dir); err == nil && len(entries) > 0 {
		return nil, hint.Add(fmt.Errorf("folder %s is not empty", s.Dir), "name another with --dir")
	}
	if s.local, err = localtrust.Open(ctx, filepath.Join(s.Dir, "trust"), localtrust.Options{}); err != nil {
		return nil, err
	}
	store, err := localregistry.Open(filepath.Join(s.Dir, "registry"), localregistry.Options{OnAccess: s.access.saw})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", s.Listen, err)
	}
	server := &http.Server{Handler: store, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	s.address = listener.Addr().String()
	stop = func() { server.Close(); s.local.Close(); s.sweep() }
	if err := s.furnish(ctx); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

func (s *stage) furnish(ctx context.Context) (err error) {
	if s.client, err = registry.New(registry.Options{UserAgent: "hallmark/" + s.Version}); err != nil {
		return err
	}
	if s.repo, err = newRepository(ctx, filepath.Join(s.Dir, "repository"), "https://github.com/"+repositoryName); err != nil {
		return fmt.Errorf("making a git repository: %w", err)
	}
	if _, err = advisory.Build(ctx, advisory.BuildOptions{Sources: sample.Sources(), Out: s.advisories(), Time: time.Now()}); err != nil {
		return fmt.Errorf("making the advisory database: %w", err)
	}
	if s.policy, err = policy.Parse(filepath.Join(s.repo.dir, "hallmark.yaml"), []byte(s.policyFile())); err != nil {
		return err
	}
	s.anchor, err = trust.Load(ctx, s.policy.Trust, trust.Options{PolicyDir: s.repo.dir})
	return err
}

// sweep removes the layouts, which the forgeries were copied from.
func (s *stage) sweep() {
	left, _ := filepath.Glob(filepath.Join(s.Dir, "work-*"))
	for _, dir := range left {
		os.RemoveAll(dir)
	}
}

func (s *stage) advisories() string { return filepath.Join(s.Dir, "advisories") }

func (s *stage) policyFile() string {
	return strings.Join([]string{
		"version: 1",
		"image: " + s.address + "/" + repositoryName,
		"build:",
		"  go: {package: .}",
		"identity:",
		"  issuer: " + localtrust.Issuer,
		"  repository: " + repositoryName,
		"  workflow: " + workflowPath,
		"  ref: " + branch,
		"trust:",
		"  root: local",
		"  state: ../trust",
		"advisories:",
		"  from: ../advisories",
		"",
	}, "\n")
}

// release commits a stage of the story and releases it.
func (s *stage) release(ctx context.Context, commit, message string) (release.Result, error) {
	if err := s.repo.commit(ctx, commit, message, map[string]string{"hallmark.yaml": s.policyFile()}); err != nil {
		return release.Result{}, err
	}
	src, err := source.Open(ctx, s.repo.dir)
	if err != nil {
		return release.Result{}, err
	}
	work, err := os.MkdirTemp(s.Dir, "work-")
	if err != nil {
		return release.Result{}, err
	}
	return release.Run(ctx, release.Settings{
		Source: src, Policy: s.policy, Work: work, Env: s.Env, Version: s.Version,
		Advisories: advisory.Options{From: s.advisories()},
		Registry:   s.client,
		Signer:     s.signer(repositoryName, src.Commit),
		Anchor:     func(context.Context) (trust.Anchor, error) { return s.anchor, nil },
		Now:        time.Now,
		Progress:   s.Progress,
	})
}

// signer signs as the release workflow of a repository at a commit.
func (s *stage) signer(repository, commit string) *sign.Signer {
	claims := localtrust.GitHubClaims(repository, workflowPath, branch, commit)
	return sign.New(sign.Config{Services: s.local.Services(), Tokens: s.local.As(claims)})
}

func (s *stage) judge() verify.Options {
	return verify.Options{Policy: s.policy, Anchor: s.anchor, Now: time.Now()}
}

func (s *stage) verify(ctx context.Context, ref name.Reference) (verdict.Verdict, error) {
	return verify.Image(ctx, s.client, ref, s.judge())
}

// access counts what the registry was asked.
type access struct {
	mu   sync.Mutex
	seen []localregistry.Access
}

func (a *access) saw(one localregistry.Access) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, one)
}

func (a *access) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}
