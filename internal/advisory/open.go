// Package advisory makes, takes in, inspects and locates vulnerability
// databases in the format of grype's schema 6, so that a scan can be run on
// data of one's own, from an archive whose signature was verified, without any
// network.
//
// Build makes a database out of OSV records, Debian's advisory lists, CISA's
// catalogue and a CVSS table. Open finds the database a scan is to use: a file,
// a folder, an archive, a URL, or grype's own cache. Import keeps one as the
// default, Status counts what is inside, Verify checks an archive's signature
// bundle. Open downloads nothing unless it is given a URL.
//
// Limits: the age of a database is told, not judged; the gate does that.
// Advisories by CPE and those of Red Hat, SUSE and their kin have to come from
// grype's own database. The package knows no Sigstore: what signs and verifies
// is handed in.
package advisory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// VerifyFunc checks that bundle, a Sigstore bundle's JSON, is the signer's
// signature on a file whose SHA-256 is digest.
type VerifyFunc func(ctx context.Context, bundle []byte, digest v1.Hash, signer policy.Identity) error

// Options says which database to open.
type Options struct {
	// From is a database file, an archive, a folder or a URL of an archive or
	// of a base that serves v6/latest.json. Empty means the database that was
	// imported last, else the one in grype's cache.
	From string
	// CacheDir holds what was downloaded and unpacked, under its digest.
	CacheDir string
	// GrypeDir is grype's cache, the folder above "6"; see GrypeDir.
	GrypeDir string
	// Signer, when set, is who must have signed the database. Nothing is
	// unpacked or used before Verify said so.
	Signer *policy.Identity
	Verify VerifyFunc
	// Transport carries requests; nil for http.DefaultTransport, which honours
	// the proxy variables.
	Transport http.RoundTripper
	// Progress is told what is being done and what was passed over; may be nil.
	Progress func(string)

	patience patience
}

// GrypeDir is where grype keeps its database, by its own environment.
func GrypeDir(getenv func(string) string) string {
	if dir := getenv("GRYPE_DB_CACHE_DIR"); dir != "" {
		return dir
	}
	if dir := getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "grype", "db")
	}
	return filepath.Join(getenv("HOME"), ".cache", "grype", "db")
}

// Open finds and checks a database and returns the folder that holds its
// vulnerability.db. What cannot be used is an *Error, with a hint.
func Open(ctx context.Context, o Options) (dir string, db finding.Database, err error) {
	e, err := o.open(ctx)
	return e.dir, e.db, err
}

// Import opens a database and makes it the one that Open finds when From is
// empty. A folder or file is copied, so that it may go away.
func Import(ctx context.Context, o Options) (dir string, db finding.Database, err error) {
	if o.From == "" {
		return "", db, errors.New("importing advisories: no source given")
	}
	e, err := o.open(ctx)
	if err != nil {
		return "", db, err
	}
	c := cache{o.CacheDir}
	if !c.holds(e.dir) {
		a := artifact{file: filepath.Join(e.dir, v6.VulnerabilityDBFileName), digest: e.db.Digest, source: e.db.Source, bundle: e.bundle}
		signed := e.db.Signed
		if e, err = c.take(ctx, a); err != nil {
			return "", db, err
		}
		e.db.Signed = signed
	}
	return e.dir, e.db, c.setDefault(e.dir)
}

// entry is a database that was found.
type entry struct {
	dir    string
	db     finding.Database
	bundle []byte
}

func (o *Options) open(ctx context.Context) (entry, error) {
	if o.Signer != nil && o.Verify == nil {
		return entry{}, errors.New("opening advisories: a signer is named but nothing to verify with")
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	switch {
	case o.From == "":
		return o.usual(ctx)
	case strings.Contains(o.From, "://"):
		return o.fetch(ctx)
	}
	info, err := os.Stat(o.From)
	switch {
	case errors.Is(err, os.ErrNotExist):
		err := &Error{Code: Missing, Path: o.From}
		return entry{}, hint.Add(err, "check the path of --advisories or of advisories.from in hallmark.yaml")
	case err != nil:
		return entry{}, fmt.Errorf("opening advisories: %w", err)
	case info.IsDir():
		return o.folder(ctx, o.From, o.From)
	}
	return o.file(ctx, o.From)
}

// usual opens the imported database, or grype's.
func (o *Options) usual(ctx context.Context) (entry, error) {
	digest, err := cache{o.CacheDir}.byDefault()
	if err != nil {
		return entry{}, err
	}
	if digest != "" {
		return o.cached(ctx, digest)
	}
	return o.folder(ctx, o.GrypeDir, o.GrypeDir)
}

// folder opens a folder that holds vulnerability.db or 6/vulnerability.db.
func (o *Options) folder(ctx context.Context, dir, source string) (entry, error) {
	for _, sub := range []string{"", "6"} {
		file := filepath.Join(dir, sub, v6.VulnerabilityDBFileName)
		if _, err := os.Stat(file); err == nil {
			return o.inPlace(ctx, file, source)
		}
	}
	err := &Error{Code: Missing, Path: dir}
	return entry{}, hint.Add(err, "get one with grype db update or hallmark advisories import SOURCE, or name one with --advisories")
}

// file opens an archive or a database file. A database is used where it lies
// if grype can read it there, by its name.
func (o *Options) file(ctx context.Context, file string) (entry, error) {
	if filepath.Base(file) == v6.VulnerabilityDBFileName {
		return o.inPlace(ctx, file, file)
	}
	a := artifact{file: file, source: file}
	if err := o.checkFile(ctx, &a); err != nil {
		return entry{}, err
	}
	return o.take(ctx, a)
}

// inPlace uses a database where it lies.
func (o *Options) inPlace(ctx context.Context, file, source string) (entry, error) {
	a := artifact{file: file, source: source}
	if o.Signer != nil {
		if err := o.checkFile(ctx, &a); err != nil {
			return entry{}, err
		}
	}
	db, err := inspect(ctx, filepath.Dir(file))
	db.Source, db.Signed = source, o.Signer != nil
	if err == nil && a.digest != "" && a.digest != db.Digest {
		err = hint.Add(&Error{Code: Corrupt, Path: file, Err: errors.New("it changed while it was read")}, "try again when nothing writes to it")
	}
	return entry{dir: filepath.Dir(file), db: db, bundle: a.bundle}, err
}

// cached opens a database of the cache by the digest of its artifact.
func (o *Options) cached(ctx context.Context, digest string) (entry, error) {
	e, err := cache{o.CacheDir}.find(ctx, digest)
	if err != nil || o.Signer == nil {
		return e, err
	}
	a := artifact{source: e.db.Source, digest: digest, bundle: e.bundle}
	e.db.Signed = true
	return e, o.checkBundle(ctx, a)
}

// take puts an artifact, its signature checked, into the cache.
func (o *Options) take(ctx context.Context, a artifact) (entry, error) {
	o.Progress("taking in " + a.source)
	e, err := cache{o.CacheDir}.take(ctx, a)
	e.db.Signed = o.Signer != nil
	return e, err
}
