package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// objectName is a commit in full: SHA-1 or SHA-256, in lower-case hex.
var objectName = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// transports are how git may reach a repository that Fetch names; whatever else
// git could be talked into, such as a remote helper, is a program to run.
var transports = []string{"protocol.allow=never", "protocol.https.allow=always", "protocol.http.allow=always", "protocol.file.allow=always"}

// Fetch reads one commit of the repository at address into dir, a bare
// repository that it makes there; dir must not exist or be empty. No file is
// checked out and none of the commit's files is fetched until File asks for it.
// Git checks every object against its name, so what File gives is what commit
// stands for, whoever answers at address.
//
// The source has no ref and is never dirty. Its Dir is dir, which Open, Export
// and the builders do not take.
//
// The address is an https URL without credentials, or on this machine http or
// file. Git's own configuration gives the credentials and any proxy.
func Fetch(ctx context.Context, dir, address, commit string) (Source, error) {
	if err := fetchable(address, commit); err != nil {
		return Source{}, fmt.Errorf("fetching source: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Source{}, fmt.Errorf("fetching source: %w", err)
	}
	if err := emptyDir(dir); err != nil {
		return Source{}, fmt.Errorf("fetching source: %w", err)
	}
	s := Source{Dir: dir, Commit: commit, Remote: normalizeRemote(address), Shallow: true}
	if err := s.fetch(ctx, address); err != nil {
		return Source{}, fmt.Errorf("fetching commit %s of %s: %w", commit, s.Remote, err)
	}
	return s, nil
}

// fetchable refuses an address that is not one of Fetch's.
func fetchable(address, commit string) error {
	if !objectName.MatchString(commit) {
		return hint.Add(fmt.Errorf("%q is not a commit's full name", commit), "name it by all its 40 or 64 hex digits; a branch or tag can move")
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("the repository's address is not a URL")
	case u.User != nil:
		return hint.Add(errors.New("the repository's address holds credentials (not shown)"), "give them to git, with a credential helper")
	case u.Scheme == "file" && u.Host == "", u.Scheme == "https" && u.Host != "", u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "localhost"):
		return nil
	}
	return hint.Add(fmt.Errorf("a repository cannot be fetched from %q", address), "give an https URL")
}

func (s *Source) fetch(ctx context.Context, address string) error {
	g := s.bare()
	format := "sha1"
	if len(s.Commit) == 64 {
		format = "sha256"
	}
	if _, err := g.run(ctx, nil, "init", "--quiet", "--bare", "--template=", "--object-format="+format); err != nil {
		return err
	}
	if _, err := g.run(ctx, nil, "remote", "add", "origin", address); err != nil {
		return err
	}
	if _, err := g.run(ctx, nil, "fetch", "--quiet", "--no-tags", "--depth=1", "--filter=blob:none", "origin", s.Commit); err != nil {
		return hint.Add(err, "the commit must be in the repository, and this machine must be allowed to read it")
	}
	return g.commit(ctx, s)
}

// bare is git in the repository that Fetch made.
func (s Source) bare() git {
	return git{dir: s.Dir, config: transports, env: []string{"GIT_DIR=" + s.Dir}}
}

// File gives a file of the commit, as git stores it: no filter and no line
// ending is applied. The path is slash-separated from the repository's top. It
// gives an error that is fs.ErrNotExist where the commit has no such file, and
// refuses a folder, a symbolic link and a file over limit bytes.
//
// Only a source that Fetch made has it.
func (s Source) File(ctx context.Context, name string, limit int64) ([]byte, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, fmt.Errorf("reading %q of commit %.12s: it is not a path in the repository", name, s.Commit)
	}
	data, err := s.file(ctx, name, limit)
	if err != nil {
		return nil, fmt.Errorf("reading %s of commit %.12s: %w", name, s.Commit, err)
	}
	return data, nil
}

func (s Source) file(ctx context.Context, name string, limit int64) ([]byte, error) {
	g := s.bare()
	entry, err := g.line(ctx, "ls-tree", "-z", "--full-tree", s.Commit, "--", name)
	if err != nil {
		return nil, err
	}
	entry = strings.TrimSuffix(entry, "\x00")
	if entry == "" {
		return nil, fs.ErrNotExist
	}
	meta, _, _ := strings.Cut(entry, "\t")
	f := strings.Fields(meta)
	if len(f) != 3 || f[1] != "blob" || f[0] == "120000" {
		return nil, errors.New("it is not a regular file")
	}
	text, err := g.line(ctx, "cat-file", "-s", f[2])
	if err != nil {
		return nil, err
	}
	if size, err := strconv.ParseInt(text, 10, 64); err != nil || size > limit {
		return nil, fmt.Errorf("it has %s bytes, more than %d", text, limit)
	}
	return g.run(ctx, nil, "cat-file", "blob", f[2])
}
