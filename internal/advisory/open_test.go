package advisory

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
)

// small is a build of two records, for tests that need a database and not its
// contents.
func small(t testing.TB) Result {
	t.Helper()
	return build(t, records(map[string]string{
		"a.json": npm("OSV-1", "a", `,"database_specific":{"severity":"CRITICAL"}`),
		"b.json": npm("GHSA-1", "b", ""),
	}))
}

func copyTo(t testing.TB, from, to string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	return writeTo(t, to, data)
}

func writeTo(t testing.TB, to string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}

type member struct {
	name string
	kind byte
	data []byte
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Size: int64(len(m.data)), Mode: 0o644}
		if m.kind == tar.TypeSymlink {
			h.Linkname, h.Size = string(m.data), 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if m.kind == tar.TypeReg {
			w.Write(m.data)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed(t testing.TB, with func(io.Writer) (io.WriteCloser, error), data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := with(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }

func xzw(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }

// open opens and wants a database on which a scan finds what the build holds.
func open(t testing.TB, o Options) (string, finding.Database) {
	t.Helper()
	dir, db, err := Open(context.Background(), o)
	if err != nil {
		t.Fatalf("%v\nhint: %s", err, hint.Of(err))
	}
	if got := ids(t, dir, "npm a 1.0.0"); len(got) != 1 {
		t.Errorf("the database in %s finds %v", dir, got)
	}
	return dir, db
}

// refusal opens and wants an error of a code, with a hint.
func refusal(t testing.TB, o Options, code Code) *Error {
	t.Helper()
	dir, _, err := Open(context.Background(), o)
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("%s: error %v, want code %s", dir, err, code)
	}
	if hint.Of(err) == "" {
		t.Errorf("%v: no hint", err)
	}
	return e
}

// TestOpenEverywhere opens the same database from each kind of place.
func TestOpenEverywhere(t *testing.T) {
	res := small(t)
	file := filepath.Join(res.Dir, v6.VulnerabilityDBFileName)
	data, _ := os.ReadFile(file)
	place := t.TempDir()
	plain := tarOf(t, member{"./", tar.TypeDir, nil}, member{"./vulnerability.db", tar.TypeReg, data}, member{"metadata/readme", tar.TypeReg, []byte("x")})
	for name, from := range map[string]string{
		"folder":            res.Dir,
		"root of folders":   filepath.Dir(res.Dir),
		"file by its name":  file,
		"file":              copyTo(t, file, filepath.Join(place, "mine.db")),
		"archive":           res.Archive,
		"archive, no name":  copyTo(t, res.Archive, filepath.Join(place, "archive")),
		"tar":               writeTo(t, filepath.Join(place, "a.tar"), plain),
		"tar.gz":            writeTo(t, filepath.Join(place, "a.tar.gz"), compressed(t, gz, plain)),
		"tar.xz":            writeTo(t, filepath.Join(place, "a.tar.xz"), compressed(t, xzw, plain)),
		"folder, no import": filepath.Dir(copyTo(t, file, filepath.Join(place, "bare", v6.VulnerabilityDBFileName))),
	} {
		t.Run(name, func(t *testing.T) {
			cacheDir := t.TempDir()
			_, db := open(t, Options{From: from, CacheDir: cacheDir})
			want := finding.Database{Schema: schema, Built: builtAt, Digest: res.Database.Digest, Source: from, Providers: []string{"github", "osv-osv"}}
			if diff := cmp.Diff(want, db); diff != "" {
				t.Errorf("database (-want +got):\n%s", diff)
			}
			again, _ := open(t, Options{From: from, CacheDir: cacheDir})
			if left, _ := filepath.Glob(filepath.Join(cacheDir, "*", ".*")); len(left) > 0 {
				t.Errorf("left behind: %v (%s)", left, again)
			}
		})
	}
}

func TestOpenUsual(t *testing.T) {
	res := small(t)
	cacheDir := t.TempDir()
	grype := Options{CacheDir: cacheDir, GrypeDir: filepath.Dir(res.Dir)}
	if dir, _ := open(t, grype); dir != res.Dir {
		t.Errorf("opened %s, want grype's", dir)
	}
	refusal(t, Options{CacheDir: cacheDir, GrypeDir: t.TempDir()}, Missing)
	// What is imported comes before grype's, and may go away where it was.
	other := small(t)
	for _, from := range []string{other.Archive, other.Dir} {
		dir, db, err := Import(context.Background(), Options{From: from, CacheDir: cacheDir})
		if err != nil || db.Source != from {
			t.Fatalf("%v, %+v", err, db)
		}
		os.RemoveAll(filepath.Dir(from))
		if got, db := open(t, grype); got != dir || db.Source != from {
			t.Errorf("opened %s of %s, want %s", got, db.Source, dir)
		}
	}
	if _, _, err := Import(context.Background(), Options{CacheDir: cacheDir}); err == nil {
		t.Error("import of nothing: no error")
	}
	// A default that is gone is an error, not another database.
	os.RemoveAll(filepath.Join(cacheDir, "databases"))
	refusal(t, grype, Missing)
}

func TestGrypeDir(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": "/h"}, "/h/.cache/grype/db"},
		{map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/grype/db"},
		{map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "x"}, "/h/.cache/grype/db"},
		{map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "/x", "GRYPE_DB_CACHE_DIR": "/g"}, "/g"},
	} {
		if got := GrypeDir(func(k string) string { return tt.env[k] }); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.env, got, tt.want)
		}
	}
}

// TestOpenRefuses holds each way in which a database cannot be used.
func TestOpenRefuses(t *testing.T) {
	res := small(t)
	file := filepath.Join(res.Dir, v6.VulnerabilityDBFileName)
	data, _ := os.ReadFile(file)
	flipped := bytes.Clone(data)
	flipped[len(flipped)/2] ^= 1
	archive, _ := os.ReadFile(res.Archive)
	dirOf := func(db []byte, withImport bool) string {
		dir := t.TempDir()
		writeTo(t, filepath.Join(dir, v6.VulnerabilityDBFileName), db)
		if withImport {
			copyTo(t, filepath.Join(res.Dir, v6.ImportMetadataFileName), filepath.Join(dir, v6.ImportMetadataFileName))
		}
		return dir
	}
	named := func(name string, data []byte) string { return writeTo(t, filepath.Join(t.TempDir(), name), data) }
	db := member{"vulnerability.db", tar.TypeReg, data}
	for _, tt := range []struct {
		name string
		from string
		code Code
		text string
	}{
		{"nothing there", filepath.Join(t.TempDir(), "x"), Missing, ""},
		{"empty folder", t.TempDir(), Missing, ""},
		{"other file", named("x.db", []byte("hello, I am no database, but I am long enough to have a header of one hundred bytes, am I not? yes.")), Corrupt, "neither a database nor"},
		{"empty file", dirOf(nil, false), Corrupt, "no SQLite"},
		{"truncated", dirOf(data[:len(data)-4096], false), Corrupt, "header tells"},
		{"truncated, cached", named("x.db", data[:len(data)-4096]), Corrupt, "header tells"},
		{"one bit, checksum", dirOf(flipped, true), Corrupt, "checksum"},
		{"broken page, no checksum", dirOf(broken(data), false), Corrupt, ""},
		{"bad import.json", func() string {
			d := dirOf(data, false)
			writeTo(t, filepath.Join(d, "import.json"), []byte("{"))
			return d
		}(), Corrupt, "import.json"},
		{"schema 5", dirOf(schemaFive(t), false), OtherSchema, ""},
		{"schema 7", dirOf(altered(t, data, "UPDATE db_metadata SET model = 7"), false), OtherSchema, "model 7"},
		{"no advisories", dirOf(altered(t, data, "DELETE FROM affected_package_handles"), false), Empty, ""},
		{"archive of nothing", named("x.tar", tarOf(t)), Corrupt, "no vulnerability.db"},
		{"archive cut off", named("x.tar.zst", archive[:len(archive)/2]), Corrupt, ""},
		{"no archive", named("x.tar.gz", []byte("plain text that is no archive at all")), Corrupt, "neither a database nor"},
		{"archive of schema 5", named("x.tar", tarOf(t, member{"vulnerability.db", tar.TypeReg, schemaFive(t)})), OtherSchema, ""},
		{"upward path", named("x.tar", tarOf(t, db, member{"../evil", tar.TypeReg, []byte("x")})), Corrupt, "leads out"},
		{"absolute path", named("x.tar", tarOf(t, member{"/etc/evil", tar.TypeReg, []byte("x")}, db)), Corrupt, "leads out"},
		{"link", named("x.tar", tarOf(t, member{"vulnerability.db", tar.TypeSymlink, []byte("/etc/passwd")})), Corrupt, "no plain file"},
		{"twice", named("x.tar", tarOf(t, db, db)), Corrupt, ""},
		{"path grype cannot open", dirOf2(t, data, "a?b"), Corrupt, "cannot open a path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cacheDir := t.TempDir()
			e := refusal(t, Options{From: tt.from, CacheDir: cacheDir}, tt.code)
			if !strings.Contains(e.Error(), tt.text) {
				t.Errorf("error %q, want %q in it", e, tt.text)
			}
			if got, _ := filepath.Glob(filepath.Join(cacheDir, "databases", "*")); len(got) > 0 {
				t.Errorf("the cache holds %v", got)
			}
			if got, _ := filepath.Glob(filepath.Join(cacheDir, "databases", ".*")); len(got) > 0 {
				t.Errorf("the cache holds %v", got)
			}
		})
	}
}

func dirOf2(t *testing.T, data []byte, name string) string {
	dir := filepath.Join(t.TempDir(), name)
	writeTo(t, filepath.Join(dir, v6.VulnerabilityDBFileName), data)
	return dir
}

// broken overwrites the second page, whatever it holds.
func broken(data []byte) []byte {
	out := bytes.Clone(data)
	copy(out[4096:8192], bytes.Repeat([]byte{0xAA}, 4096))
	return out
}

func altered(t *testing.T, data []byte, statement string) []byte {
	t.Helper()
	file := writeTo(t, filepath.Join(t.TempDir(), "x.db"), data)
	run(t, file, statement)
	out, _ := os.ReadFile(file)
	return out
}

func schemaFive(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "five.db")
	run(t, file, "CREATE TABLE id (build_timestamp datetime, schema_version integer); INSERT INTO id VALUES ('2024-01-01', 5)")
	out, _ := os.ReadFile(file)
	return out
}

func run(t *testing.T, file, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// TestOpenHydrates opens an archive as grype's distribution makes it: without
// indexes and without a checksum.
func TestOpenHydrates(t *testing.T) {
	res := small(t)
	data, _ := os.ReadFile(filepath.Join(res.Dir, v6.VulnerabilityDBFileName))
	bare := altered(t, data, "DROP INDEX idx_package_name; DROP INDEX idx_package; DROP INDEX idx_vuln_provider_id; VACUUM")
	archive := writeTo(t, filepath.Join(t.TempDir(), "x.tar"), tarOf(t, member{"vulnerability.db", tar.TypeReg, bare}))
	dir, _ := open(t, Options{From: archive, CacheDir: t.TempDir()})
	var n int
	db, _ := openReadOnly(filepath.Join(dir, v6.VulnerabilityDBFileName))
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM sqlite_master WHERE name IN ('idx_package_name', 'idx_package', 'idx_vuln_provider_id')").Scan(&n); err != nil || n != 3 {
		t.Errorf("%d indexes, %v", n, err)
	}
}
