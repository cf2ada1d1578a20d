package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// policyName is the name of the policy file.
const policyName = "hallmark.yaml"

// policy reads the policy that --config names, or the one in dir, or the
// nearest above it up to the repository's top folder.
func (a *app) policy(dir string) (policy.Policy, error) {
	path := a.flags.config
	if path == "" {
		var err error
		if path, err = findPolicy(dir); err != nil {
			return policy.Policy{}, err
		}
	}
	p, err := policy.Read(path)
	if wrong := (*policy.Error)(nil); errors.As(err, &wrong) {
		return p, misuse{err}
	}
	if err != nil {
		return p, err
	}
	p.Path, err = filepath.Abs(path)
	return p, err
}

func findPolicy(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := start; ; at = filepath.Dir(at) {
		path := filepath.Join(at, policyName)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		_, err := os.Stat(filepath.Join(at, ".git"))
		if top := err == nil; top || at == filepath.Dir(at) {
			return "", hint.Add(fmt.Errorf("looking for %s from %s upwards: %w", policyName, start, fs.ErrNotExist),
				"write one (docs/policy.md has a complete example), or name one with --config")
		}
	}
}

// identityFlags say where the identity token comes from.
type identityFlags struct {
	tokenFile string
	tokenEnv  string
}

func (f *identityFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.tokenFile, "identity-token", "", "`file` with the OIDC token to sign with (default: the CI's, the local trust's, or a browser)")
	flags.StringVar(&f.tokenEnv, "identity-token-env", "", "environment `variable` with the OIDC token to sign with")
}

// rooms are what a release speaks to.
type rooms struct {
	registry *registry.Client
	signer   *sign.Signer
	anchor   func(context.Context) (trust.Anchor, error)
	close    func()
}

func (a *app) openRegistry() (*registry.Client, error) {
	return registry.New(registry.Options{
		CAFile:    a.flags.caFile,
		Insecure:  a.flags.insecure,
		UserAgent: "hallmark/" + version,
		Log: func(line string) {
			if a.flags.verbose {
				a.screen.note("registry: %s", clean(line))
			}
		},
	})
}

// openReadRooms opens what a check speaks to: it signs nothing, and the job it
// runs in may have no identity.
func (a *app) openReadRooms(p policy.Policy) (*rooms, error) {
	client, err := a.openRegistry()
	if err != nil {
		return nil, err
	}
	return &rooms{registry: client, close: func() {}, anchor: a.anchor(p)}, nil
}

func (a *app) openRooms(ctx context.Context, p policy.Policy, src source.Source, f identityFlags) (*rooms, error) {
	r, err := a.openReadRooms(p)
	if err != nil {
		return nil, err
	}
	var services trust.Services
	var local oidc.Source
	if p.Trust.Root == policy.RootLocal {
		opened, err := localtrust.Open(ctx, localState(p), localtrust.Options{Issuer: p.Identity.Issuer})
		if err != nil {
			return nil, err
		}
		r.close = func() { opened.Close() }
		services, local = opened.Services(), opened.As(localClaims(p, src))
	} else if services, err = trust.LoadServices(ctx, p.Trust, a.trustOptions(p)); err != nil {
		return nil, err
	}
	tokens, err := a.tokens(f, services, local)
	if err != nil {
		r.close()
		return nil, err
	}
	r.signer = sign.New(sign.Config{Services: services, Tokens: tokens})
	return r, nil
}

// localClaims is who the local trust is asked to certify: whom the policy
// expects. The local trust is a stand-in for everybody on this machine.
func localClaims(p policy.Policy, src source.Source) oidc.Claims {
	if p.Identity.Repository == "" {
		return oidc.Claims{Email: p.Identity.Subject, Subject: p.Identity.Subject}
	}
	return localtrust.GitHubClaims(p.Identity.Repository, p.Identity.Workflow, src.Ref, src.Commit)
}

func localState(p policy.Policy) string {
	if filepath.IsAbs(p.Trust.State) {
		return p.Trust.State
	}
	return filepath.Join(filepath.Dir(p.Path), p.Trust.State)
}

func (a *app) trustOptions(p policy.Policy) trust.Options {
	return trust.Options{PolicyDir: filepath.Dir(p.Path), CacheDir: a.cacheDir("trust")}
}

func (a *app) anchor(p policy.Policy) func(context.Context) (trust.Anchor, error) {
	return func(ctx context.Context) (trust.Anchor, error) { return trust.Load(ctx, p.Trust, a.trustOptions(p)) }
}

// cacheDir is a folder of the user's cache, by the XDG base directory
// specification.
func (a *app) cacheDir(name string) string {
	base := a.env.get("XDG_CACHE_HOME")
	if base == "" {
		base = filepath.Join(a.env.get("HOME"), ".cache")
	}
	return filepath.Join(base, "hallmark", name)
}

// advisoryOptions says where the database comes from: the flag, the policy, or
// grype's usual place.
func (a *app) advisoryOptions(p policy.Policy, flag string) advisory.Options {
	from := flag
	if from == "" && p.Advisories.From != "" {
		from = p.Advisories.From
		if !filepath.IsAbs(from) && !isURL(from) {
			from = filepath.Join(filepath.Dir(p.Path), from)
		}
	}
	return advisory.Options{
		From:     from,
		CacheDir: a.cacheDir("advisories"),
		GrypeDir: advisory.GrypeDir(a.env.get),
		Signer:   p.Advisories.Signer,
		Verify:   a.verifyArchive(p),
		Progress: func(line string) { a.screen.note("advisories: %s", clean(line)) },
	}
}

// tokens chooses where identity tokens come from; see oidc.Detect.
func (a *app) tokens(f identityFlags, services trust.Services, local oidc.Source) (oidc.Source, error) {
	o := oidc.Options{File: f.tokenFile, EnvName: f.tokenEnv, Env: a.env.get, Local: local}
	if a.screen.InTTY && services.Issuer != "" {
		o.Login = &oidc.Login{Issuer: services.Issuer, Browse: oidc.Browse, Out: a.screen.Err}
	}
	return oidc.Detect(o)
}

// isURL says that a database is to be fetched.
func isURL(from string) bool { return strings.Contains(from, "://") }
