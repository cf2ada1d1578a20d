package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// maxPolicyFile bounds a file that a policy names, in bytes.
const maxPolicyFile = 16 << 20

// origin is what a release starts from: a source and the policy for it.
type origin struct {
	source source.Source
	policy policy.Policy
	// fetched is the folder that holds both when they were fetched; empty for
	// a working tree.
	fetched string
}

func (o origin) close() {
	if o.fetched != "" {
		os.RemoveAll(o.fetched)
	}
}

// openOrigin opens the working tree that dir lies in, or fetches what --from
// names.
func (a *app) openOrigin(ctx context.Context, dir, from string) (origin, error) {
	if from != "" {
		return a.fetchOrigin(ctx, dir, from)
	}
	p, err := a.policy(dir)
	if err != nil {
		return origin{}, err
	}
	src, err := source.Open(ctx, dir)
	return origin{source: src, policy: p}, err
}

// fetchOrigin reads one commit of a repository elsewhere: the policy, and the
// files that the policy names, as data. Nothing of it is checked out or run.
func (a *app) fetchOrigin(ctx context.Context, dir, from string) (_ origin, err error) {
	address, commit, ok := cutLast(from, "@")
	if !ok {
		return origin{}, misuse{hint.Add(fmt.Errorf("--from %q is not a repository and a commit", from), "write it as https://github.com/acme/app@COMMIT")}
	}
	o := origin{}
	if o.fetched, err = os.MkdirTemp("", "hallmark-from-"); err != nil {
		return o, err
	}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.source, err = source.Fetch(ctx, filepath.Join(o.fetched, "git"), address, commit); err != nil {
		return o, err
	}
	if a.flags.config != "" {
		o.policy, err = a.policy(dir)
		return o, err
	}
	files := filepath.Join(o.fetched, "files")
	name, data, err := policyIn(ctx, o.source, filepath.ToSlash(filepath.Clean(dir)))
	if err != nil {
		return o, err
	}
	o.policy, err = policy.Parse(o.source.Remote+"@"+commit[:12]+":"+name, data)
	if err != nil {
		return o, misuse{err}
	}
	o.policy.Path = filepath.Join(files, filepath.FromSlash(name))
	return o, placePolicyFiles(ctx, o, name, data)
}

// policyIn finds the policy in a folder of the commit, or above it.
func policyIn(ctx context.Context, src source.Source, dir string) (name string, data []byte, err error) {
	if !fs.ValidPath(dir) {
		err := fmt.Errorf("%q is not a folder of the repository", dir)
		return "", nil, misuse{hint.Add(err, "with --from, DIR is the folder of %s in the repository, without a leading slash", policyName)}
	}
	for at := dir; ; at = path.Dir(at) {
		name := path.Join(at, policyName)
		data, err := src.File(ctx, name, policy.MaxSize)
		if !errors.Is(err, fs.ErrNotExist) {
			return name, data, err
		}
		if at == "." {
			return "", nil, hint.Add(fmt.Errorf("looking for %s in %s of commit %.12s: %w", policyName, dir, src.Commit, fs.ErrNotExist), "commit one; docs/policy.md has a complete example")
		}
	}
}

// placePolicyFiles writes the policy and the files it names where its paths
// lead to.
func placePolicyFiles(ctx context.Context, o origin, name string, data []byte) error {
	place := func(name string, data []byte) error {
		to := filepath.Join(o.fetched, "files", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	}
	if err := place(name, data); err != nil {
		return err
	}
	for _, file := range o.policy.Files() {
		if filepath.IsAbs(file) {
			continue
		}
		at := path.Join(path.Dir(name), filepath.ToSlash(file))
		data, err := o.source.File(ctx, at, maxPolicyFile)
		if err != nil {
			return hint.Add(err, "%s names %s: commit it", name, file)
		}
		if err := place(at, data); err != nil {
			return err
		}
	}
	return nil
}

// reaches refuses a policy that needs a folder of the repository, which is not
// there when the source was fetched.
func (o origin) reaches(f releaseFlags) error {
	if o.fetched == "" || !strings.HasPrefix(o.policy.Path, o.fetched) {
		return nil
	}
	if o.policy.Trust.Root == policy.RootLocal && !f.check && !filepath.IsAbs(o.policy.Trust.State) {
		err := errors.New("the policy trusts a local trust beside it, and with --from there is nothing beside it")
		return hint.Add(err, "name the policy of a working tree with --config, or give trust.state as an absolute path")
	}
	from := o.policy.Advisories.From
	if f.advisories != "" || from == "" || isURL(from) || filepath.IsAbs(from) {
		return nil
	}
	err := fmt.Errorf("the policy takes its advisories from %s, a path beside it, and with --from only single files are fetched", from)
	return hint.Add(err, "name a URL as advisories.from, or a database with --advisories")
}

// cutLast cuts text around the last sep.
func cutLast(text, sep string) (before, after string, found bool) {
	if at := strings.LastIndex(text, sep); at >= 0 {
		return text[:at], text[at+len(sep):], true
	}
	return text, "", false
}
