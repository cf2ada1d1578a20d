package advisory

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// SignFunc signs an archive: the file at path, whose SHA-256 is digest. It
// returns a Sigstore bundle's JSON.
type SignFunc func(ctx context.Context, path string, digest v1.Hash) (bundle []byte, err error)

// BuildOptions says what to build a database from, and where.
type BuildOptions struct {
	Sources []Source
	// Out is the folder that gets the result; see Result.
	Out string
	// Time is the build time the database tells; required, because the same
	// inputs and Time give the same bytes.
	Time time.Time
	// Sign, when set, makes the archive's signature bundle.
	Sign SignFunc
	// Progress is told what is being done; may be nil.
	Progress func(string)
}

// Result is what a build made and what it made of its input. Out/6 holds the
// database as grype keeps it, so Out can be its GRYPE_DB_CACHE_DIR; Out/v6 holds
// the archive and latest.json, so a web server of Out can be its
// GRYPE_DB_UPDATE_URL.
type Result struct {
	Dir     string `json:"dir"`
	Archive string `json:"archive"`
	Latest  string `json:"latest"`
	// Bundle is the signature beside the archive; empty when not signed.
	Bundle string `json:"bundle,omitempty"`
	// Digest is the SHA-256 of the archive.
	Digest   v1.Hash          `json:"digest"`
	Database finding.Database `json:"database"`

	// Read counts records found; each is Written, or one of Withdrawn,
	// Duplicates, Merged and Unusable. Records of distributions are joined by
	// CVE, so that Written is not the difference.
	Read       int `json:"read"`
	Written    int `json:"written"`
	Rows       int `json:"rows"`
	Withdrawn  int `json:"withdrawn"`
	Duplicates int `json:"duplicates"`
	Merged     int `json:"merged"`
	Unusable   int `json:"unusable"`
	KEV        int `json:"kev"`
	// Severities counts the records written by the link of the chain that
	// gave their severity.
	Severities map[string]int `json:"severities"`
	Problems   []Problem      `json:"problems,omitempty"`
}

// Build makes a database, its archive and latest.json. Nothing in Out changes
// until all of it is made.
func Build(ctx context.Context, o BuildOptions) (Result, error) {
	progress := o.Progress
	if progress == nil {
		progress = func(string) {}
	}
	if o.Time.IsZero() || o.Out == "" {
		return Result{}, errors.New("building advisories: no time or no output folder given")
	}
	var res Result
	g, err := gather(ctx, o.Sources, progress)
	if err != nil {
		return res, err
	}
	vulns, err := g.settle(&res)
	if err != nil {
		return res, err
	}
	c := content{built: o.Time, vulns: vulns, chain: newChain(vulns, g.table), kev: g.kev}
	c.providers = g.providers(vulns, o.Time.UTC().Truncate(time.Second))
	res.Written, res.KEV = len(vulns), len(g.kev)
	for _, v := range vulns {
		res.Rows += len(v.rows)
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return res, fmt.Errorf("making output folder: %w", err)
	}
	tmp, err := os.MkdirTemp(o.Out, ".build-")
	if err != nil {
		return res, fmt.Errorf("making output folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	progress(fmt.Sprintf("writing %d advisories", len(vulns)))
	if res.Severities, err = write(ctx, tmp, c); err != nil {
		return res, err
	}
	return res, publish(ctx, o, tmp, &res, progress)
}

// publish packs the database in tmp and moves everything to its place.
func publish(ctx context.Context, o BuildOptions, tmp string, res *Result, progress func(string)) error {
	if err := writeImport(tmp, "hallmark advisories build"); err != nil {
		return err
	}
	progress("packing the archive")
	name := archiveName(o.Time)
	packed := filepath.Join(tmp, name)
	digest, err := pack(ctx, tmp, packed, o.Time)
	if err != nil {
		return err
	}
	res.Digest = digest
	var bundle []byte
	if o.Sign != nil {
		progress("signing the archive")
		if bundle, err = o.Sign(ctx, packed, digest); err != nil {
			return fmt.Errorf("signing %s: %w", name, err)
		}
	}
	latest, err := latestDocument(name, digest, o.Time)
	if err != nil {
		return err
	}
	return place(ctx, o.Out, tmp, name, bundle, latest, res)
}

// place moves the finished files: the archive before latest.json, which names
// it, so that a server of Out never points at nothing.
func place(ctx context.Context, out, tmp, name string, bundle, latest []byte, res *Result) error {
	res.Dir = filepath.Join(out, "6")
	served := filepath.Join(out, "v6")
	res.Archive, res.Latest = filepath.Join(served, name), filepath.Join(served, latestName)
	if err := os.MkdirAll(served, 0o755); err != nil {
		return fmt.Errorf("making output folder: %w", err)
	}
	if bundle != nil {
		res.Bundle = res.Archive + bundleSuffix
		if err := writeWhole(res.Bundle, bundle); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(tmp, name), res.Archive); err != nil {
		return fmt.Errorf("placing archive: %w", err)
	}
	if err := writeWhole(res.Latest, latest); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("placing database: %w", err)
	}
	if err := swap(tmp, res.Dir); err != nil {
		return err
	}
	db, err := inspect(ctx, res.Dir)
	if err != nil {
		return err
	}
	db.Source = res.Archive
	res.Database = db
	return nil
}

// swap puts folder tmp at dir, in the place of what was there.
func swap(tmp, dir string) error {
	old := tmp + ".old"
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("placing database: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("placing database: %w", err)
	}
	return os.RemoveAll(old)
}

// providers lists the data sets, sorted, with a digest of what was read.
func (g *gathered) providers(vulns []*vulnerability, built time.Time) []provider {
	inputs := map[string]hash.Hash{}
	for _, v := range vulns {
		if inputs[v.provider] == nil {
			inputs[v.provider] = sha256.New()
		}
		fmt.Fprintf(inputs[v.provider], "%s %x\n", v.id, v.input)
	}
	var out []provider
	for id, sum := range inputs {
		out = append(out, provider{id: id, captured: built, digest: fmt.Sprintf("sha256:%x", sum.Sum(nil))})
	}
	for id, sum := range g.digests {
		if id != string(DebianList) { // its rows are the provider debian's
			out = append(out, provider{id: id, captured: built, digest: fmt.Sprintf("sha256:%x", sum)})
		}
	}
	slices.SortFunc(out, func(a, b provider) int { return strings.Compare(a.id, b.id) })
	return out
}
