package advisory

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/cespare/xxhash/v2"
	_ "github.com/glebarez/go-sqlite" // the driver "sqlite", the one grype links

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
)

// checkpoint is what a database file is known to be.
type checkpoint struct {
	file   string
	sha256 string // "sha256:hex"
	xxh64  string // "xxh64:hex", grype's own checksum
}

// hashFile reads a file once for both sums.
func hashFile(ctx context.Context, file string) (checkpoint, error) {
	f, err := os.Open(file)
	if err != nil {
		return checkpoint{}, err
	}
	defer f.Close()
	strong, quick := sha256.New(), xxhash.New()
	if _, err := io.CopyBuffer(io.MultiWriter(strong, quick), reader{ctx, f}, make([]byte, 1<<20)); err != nil {
		return checkpoint{}, err
	}
	return checkpoint{file: file, sha256: "sha256:" + hex.EncodeToString(strong.Sum(nil)),
		xxh64: fmt.Sprintf("xxh64:%x", quick.Sum(nil))}, nil
}

// writeImport writes import.json beside a database, as grype does on import.
func writeImport(dir, source string) error {
	sums, err := hashFile(context.Background(), filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil {
		return fmt.Errorf("writing checksum: %w", err)
	}
	doc, err := json.MarshalIndent(v6.ImportMetadata{Digest: sums.xxh64, Source: source, ClientVersion: schema}, "", " ")
	if err != nil {
		return fmt.Errorf("writing checksum: %w", err)
	}
	return writeWhole(filepath.Join(dir, v6.ImportMetadataFileName), append(doc, '\n'))
}

// inspect checks the database in dir and tells what it is: that the file is a
// whole SQLite database of schema 6 with advisories in it, and that it has the
// checksum its import.json tells, or is sound where there is none.
func inspect(ctx context.Context, dir string) (finding.Database, error) {
	file := filepath.Join(dir, v6.VulnerabilityDBFileName)
	if strings.ContainsAny(file, "?#%") {
		err := &Error{Code: Corrupt, Path: file, Err: errors.New("grype's driver cannot open a path with ?, # or % in it")}
		return finding.Database{}, hint.Add(err, "put the database in another folder")
	}
	if err := checkHeader(file); err != nil {
		return finding.Database{}, err
	}
	sums, err := hashFile(ctx, file)
	if err != nil {
		return finding.Database{}, fmt.Errorf("reading database: %w", err)
	}
	corrupt := func(err error) error {
		return hint.Add(&Error{Code: Corrupt, Path: dir, Err: err}, "import it again: hallmark advisories import SOURCE")
	}
	known, err := checkImport(dir, sums)
	if err != nil {
		return finding.Database{}, corrupt(err)
	}
	db, err := openReadOnly(file)
	if err != nil {
		return finding.Database{}, corrupt(err)
	}
	defer db.Close()
	if !known {
		var result string
		if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
			return finding.Database{}, corrupt(err)
		}
		if result != "ok" {
			return finding.Database{}, corrupt(errors.New(result))
		}
	}
	out, err := identify(ctx, db, dir)
	out.Digest = sums.sha256
	return out, err
}

// checkHeader tells a missing file, a file of another kind and one whose end
// is missing from a database (SQLite file format, section 1.3).
func checkHeader(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		err := &Error{Code: Missing, Path: filepath.Dir(file)}
		return hint.Add(err, "get one with grype db update or hallmark advisories import SOURCE")
	}
	if err != nil {
		return fmt.Errorf("opening database: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("opening database: %w", err)
	}
	corrupt := func(text string, args ...any) error {
		err := &Error{Code: Corrupt, Path: file, Err: fmt.Errorf(text, args...)}
		return hint.Add(err, "import it again: hallmark advisories import SOURCE")
	}
	var h [100]byte
	if _, err := io.ReadFull(f, h[:]); err != nil || string(h[:16]) != "SQLite format 3\x00" {
		return corrupt("it is no SQLite database")
	}
	page := int64(binary.BigEndian.Uint16(h[16:]))
	if page == 1 {
		page = 65536
	}
	// The page count is good only if the file was last written by a library
	// that keeps it, which these two counters tell.
	counted := binary.BigEndian.Uint32(h[24:]) == binary.BigEndian.Uint32(h[92:])
	if want := page * int64(binary.BigEndian.Uint32(h[28:])); counted && want != info.Size() {
		return corrupt("it has %d bytes where its header tells %d", info.Size(), want)
	}
	return nil
}

// checkImport compares the file with import.json; known is false without one.
func checkImport(dir string, sums checkpoint) (known bool, err error) {
	data, err := os.ReadFile(filepath.Join(dir, v6.ImportMetadataFileName))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var m v6.ImportMetadata
	if err := json.Unmarshal(data, &m); err != nil {
		return false, fmt.Errorf("reading %s: %w", v6.ImportMetadataFileName, err)
	}
	if m.Digest != sums.xxh64 {
		return false, fmt.Errorf("its checksum is %s where %s tells %s", sums.xxh64, v6.ImportMetadataFileName, m.Digest)
	}
	return true, nil
}

func openReadOnly(file string) (*sql.DB, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	dsn := (&url.URL{Scheme: "file", Path: abs, RawQuery: "mode=ro&immutable=1"}).String()
	db, err := sql.Open("sqlite", dsn)
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// identify reads a database's schema, build time and providers.
func identify(ctx context.Context, db *sql.DB, dir string) (finding.Database, error) {
	var model, revision, addition int
	var built time.Time
	err := db.QueryRowContext(ctx, "SELECT model, revision, addition, build_timestamp FROM db_metadata").Scan(&model, &revision, &addition, &built)
	if err != nil || model != v6.ModelVersion {
		if ctx.Err() != nil {
			return finding.Database{}, ctx.Err()
		}
		err := &Error{Code: OtherSchema, Path: dir, Err: fmt.Errorf("it is of model %d", model)}
		if model == 0 {
			err.Err = errors.New("it is not a database of grype's version 6")
		}
		return finding.Database{}, hint.Add(err, "get one of schema 6 with grype db update or hallmark advisories build")
	}
	out := finding.Database{Schema: fmt.Sprintf("v%d.%d.%d", model, revision, addition), Built: built.UTC()}
	var any bool
	if err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM affected_package_handles) OR EXISTS (SELECT 1 FROM affected_cpe_handles)").Scan(&any); err != nil {
		return out, &Error{Code: Corrupt, Path: dir, Err: err}
	}
	if !any {
		return out, hint.Add(&Error{Code: Empty, Path: dir}, "an empty database finds nothing in any image; build or import another")
	}
	rows, err := db.QueryContext(ctx, "SELECT id FROM providers ORDER BY id")
	if err != nil {
		return out, &Error{Code: Corrupt, Path: dir, Err: err}
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return out, &Error{Code: Corrupt, Path: dir, Err: err}
		}
		out.Providers = append(out.Providers, id)
	}
	return out, rows.Err()
}

// hydrate makes the indexes that grype's own distribution leaves out to be
// smaller; without them a scan would read whole tables.
func hydrate(ctx context.Context, dir, source string) error {
	db, err := openReadOnly(filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil {
		return err
	}
	var indexed bool
	err = db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'idx_package_name')").Scan(&indexed)
	if err = errors.Join(err, db.Close()); err != nil || indexed {
		return err
	}
	if err := v6.Hydrater()(dir); err != nil {
		return fmt.Errorf("indexing database: %w", err)
	}
	return writeImport(dir, source)
}
