package advisory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// cache keeps databases by the digest of the artifact each came from: an
// archive, or a database file. A folder appears there whole or not at all, and
// none is ever written to again, as grype reads databases as immutable files.
//
//	databases/HEX/vulnerability.db, import.json, origin.json [, bundle.sigstore.json]
//	default          the digest that Open takes when nothing is named
//	downloads/       what is on its way, and what each URL gave last
//
// Whoever can write here can change what a scan finds, as with grype's own
// cache: the folder is made for its owner only.
type cache struct{ dir string }

const (
	originName  = "origin.json"
	bundleName  = "bundle" + bundleSuffix
	defaultName = "default"
	// kept is how many databases stay when a new one comes; those used within
	// the last hour stay in any case.
	kept     = 3
	keptTime = time.Hour
)

// origin tells where a database of the cache came from.
type origin struct {
	Source string `json:"source"`
	// Artifact is the digest of what it was taken from, Database of the file
	// as it was put here.
	Artifact string `json:"artifact"`
	Database string `json:"database"`
}

func (c cache) path(digest string) (string, error) {
	algorithm, hexed, _ := strings.Cut(digest, ":")
	if sum, err := hex.DecodeString(hexed); err != nil || len(sum) != sha256.Size || algorithm != "sha256" {
		return "", fmt.Errorf("%q is no SHA-256 digest", digest)
	}
	if c.dir == "" {
		return "", errors.New("no folder given to keep vulnerability databases in")
	}
	return filepath.Join(c.dir, "databases", strings.ToLower(hexed)), nil
}

// holds says that a database folder is one of the cache's.
func (c cache) holds(dir string) bool {
	return filepath.Dir(dir) == filepath.Join(c.dir, "databases")
}

// find opens the database of an artifact; an *Error with Missing when the cache
// has it not.
func (c cache) find(ctx context.Context, digest string) (entry, error) {
	dir, err := c.path(digest)
	if err != nil {
		return entry{}, err
	}
	data, err := readSmall(filepath.Join(dir, originName))
	if errors.Is(err, os.ErrNotExist) {
		return entry{}, hint.Add(&Error{Code: Missing, Path: dir}, "import it again: hallmark advisories import SOURCE")
	}
	var from origin
	if err == nil {
		err = json.Unmarshal(data, &from)
	}
	if err != nil {
		return entry{}, &Error{Code: Corrupt, Path: dir, Err: err}
	}
	e := entry{dir: dir}
	if e.db, err = inspect(ctx, dir); err != nil {
		return entry{}, err
	}
	e.db.Source = from.Source
	if e.db.Digest != from.Database || digest != from.Artifact {
		err := &Error{Code: Corrupt, Path: dir, Err: errors.New("it is not what was put into the cache")}
		return entry{}, hint.Add(err, "import it again: hallmark advisories import SOURCE")
	}
	if e.bundle, err = readSmall(filepath.Join(dir, bundleName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return entry{}, err
	}
	now := time.Now()
	os.Chtimes(dir, now, now) // tells prune which are in use; no harm when it fails
	return e, nil
}

// take puts an artifact into the cache, unless it is there and sound. What was
// read must have the artifact's digest.
func (c cache) take(ctx context.Context, a artifact) (entry, error) {
	dir, err := c.path(a.digest)
	if err != nil {
		return entry{}, fmt.Errorf("taking in %s: %w", a.source, err)
	}
	if e, err := c.find(ctx, a.digest); err == nil {
		return c.withBundle(e, a.bundle)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return entry{}, fmt.Errorf("taking in %s: %w", a.source, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return entry{}, fmt.Errorf("taking in %s: %w", a.source, err)
	}
	defer os.RemoveAll(tmp)
	if err := c.fill(ctx, tmp, a); err != nil {
		return entry{}, err
	}
	if err := os.Rename(tmp, dir); errors.Is(err, os.ErrExist) {
		// Another process was faster, or what is there is damaged.
		if e, err := c.find(ctx, a.digest); err == nil {
			return c.withBundle(e, a.bundle)
		}
		if err := swap(tmp, dir); err != nil {
			return entry{}, err
		}
	} else if err != nil {
		return entry{}, fmt.Errorf("taking in %s: %w", a.source, err)
	}
	c.prune(dir)
	return c.find(ctx, a.digest)
}

// withBundle keeps the newer bundle of a database that is already there.
func (c cache) withBundle(e entry, bundle []byte) (entry, error) {
	if bundle == nil || bytes.Equal(e.bundle, bundle) {
		return e, nil
	}
	e.bundle = bundle
	return e, writeWhole(filepath.Join(e.dir, bundleName), bundle)
}

// fill makes a cache folder of an artifact.
func (c cache) fill(ctx context.Context, tmp string, a artifact) error {
	if err := c.copyOut(ctx, a, tmp); err != nil {
		return err
	}
	if _, err := inspect(ctx, tmp); err != nil {
		return renamed(err, a.source)
	}
	if err := hydrate(ctx, tmp, a.source); err != nil {
		return fmt.Errorf("taking in %s: %w", a.source, err)
	}
	if _, err := os.Stat(filepath.Join(tmp, v6.ImportMetadataFileName)); err != nil {
		if err := writeImport(tmp, a.source); err != nil {
			return err
		}
	}
	sums, err := hashFile(ctx, filepath.Join(tmp, v6.VulnerabilityDBFileName))
	if err != nil {
		return fmt.Errorf("taking in %s: %w", a.source, err)
	}
	from, err := json.Marshal(origin{Source: a.source, Artifact: a.digest, Database: sums.sha256})
	if err == nil {
		err = writeWhole(filepath.Join(tmp, originName), from)
	}
	if err == nil && a.bundle != nil {
		err = writeWhole(filepath.Join(tmp, bundleName), a.bundle)
	}
	return err
}

// renamed gives an error about a temporary folder the name of the source.
func renamed(err error, source string) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return hint.Add(&Error{Code: e.Code, Path: source, Err: e.Err}, "%s", hint.Of(err))
}

// copyOut copies a database file, or unpacks an archive, and compares what was
// read with the digest.
func (c cache) copyOut(ctx context.Context, a artifact, dir string) error {
	f, err := os.Open(a.file)
	if err != nil {
		return fmt.Errorf("taking in %s: %w", a.source, err)
	}
	defer f.Close()
	sum := sha256.New()
	in := io.TeeReader(reader{ctx, f}, sum)
	head := make([]byte, 16)
	n, err := io.ReadFull(in, head)
	all := io.MultiReader(bytes.NewReader(head[:n]), in)
	if err == nil && string(head) == "SQLite format 3\x00" {
		err = writeNew(filepath.Join(dir, v6.VulnerabilityDBFileName), all)
	} else if err == nil {
		err = unpack(ctx, all, dir)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, all)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && fmt.Sprintf("sha256:%x", sum.Sum(nil)) != a.digest {
		err = errors.New("it changed while it was read")
	}
	return c.blame(err, a.source)
}

// blame tells a fault of our own disk from one of what was read. An archive
// that holds a file twice is the archive's fault.
func (c cache) blame(err error, source string) error {
	var own *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own) && !errors.Is(err, fs.ErrExist):
		return hint.Add(fmt.Errorf("taking in %s: %w", source, err), "check the space and the rights of %s", c.dir)
	}
	return hint.Add(&Error{Code: Corrupt, Path: source, Err: err}, "get it again from where it was published")
}

// byDefault gives the digest of the imported database; empty when none is.
func (c cache) byDefault() (string, error) {
	if c.dir == "" {
		return "", nil
	}
	data, err := readSmall(filepath.Join(c.dir, defaultName))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the default database: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func (c cache) setDefault(dir string) error {
	return writeWhole(filepath.Join(c.dir, defaultName), []byte("sha256:"+filepath.Base(dir)+"\n"))
}

// prune removes the databases that were not used for long, except those kept.
func (c cache) prune(using string) {
	current, _ := c.byDefault()
	keep, _ := c.path(current)
	list, err := os.ReadDir(filepath.Dir(using))
	if err != nil {
		return
	}
	type used struct {
		dir string
		at  time.Time
	}
	var all []used
	for _, d := range list {
		dir := filepath.Join(filepath.Dir(using), d.Name())
		info, err := d.Info()
		switch {
		case err != nil || dir == using || dir == keep:
		case strings.HasPrefix(d.Name(), ".") && time.Since(info.ModTime()) > keptTime:
			os.RemoveAll(dir) // left by a process that was killed
		case !strings.HasPrefix(d.Name(), "."):
			all = append(all, used{dir, info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b used) int { return b.at.Compare(a.at) })
	for i, u := range all {
		if i >= kept-1 && time.Since(u.at) > keptTime {
			os.RemoveAll(u.dir)
		}
	}
}
