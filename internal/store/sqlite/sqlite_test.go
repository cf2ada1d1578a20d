package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
	"github.com/hallmark-sh/hallmark/internal/store/storetest"
)

func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	dirs := map[string]string{}
	storetest.Run(t, func(t testing.TB, name string) store.Store {
		if dirs[t.Name()] == "" {
			dirs[t.Name()] = t.TempDir()
		}
		return open(t, filepath.Join(dirs[t.Name()], name+" #?%.db"))
	})
}

// exec changes a file behind the store's back.
func exec(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	open(t, path).Close()
	exec(t, path, `PRAGMA user_version = 99`)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sqlite.Open(t.Context(), path)
	if !errors.Is(err, store.ErrNewerSchema) || !strings.Contains(err.Error(), "its schema is 99") || hint.Of(err) == "" {
		t.Errorf("the error is %v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the refused file was changed (%v)", err)
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	exec(t, path, `CREATE TABLE theirs (x)`)
	if _, err := sqlite.Open(t.Context(), path); !errors.Is(err, store.ErrForeign) {
		t.Errorf("another program's database: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(text, bytes.Repeat([]byte("not a database\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), text); !errors.Is(err, store.ErrForeign) {
		t.Errorf("a text file: %v", err)
	}
	if _, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "missing", "a.db")); err == nil || hint.Of(err) == "" {
		t.Errorf("a folder that is missing: %v", err)
	}
}

// A page in the middle of the file is overwritten, as a bad disk would.
func TestDamageIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, path)
	var batch []store.Arrival
	for n := range 200 {
		batch = append(batch, storetest.Arrival(n, 10*n, 10*n+1, 10*n+2))
	}
	if _, err := s.Put(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	s.Close()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(3 * 4096); at < info.Size(); at += 4096 {
		if _, err := file.WriteAt(bytes.Repeat([]byte{0xff}, 512), at); err != nil {
			t.Fatal(err)
		}
	}
	file.Close()
	s, err = sqlite.Open(t.Context(), path)
	if err == nil {
		defer s.Close()
		_, err = s.Load(t.Context(), store.Sink{Package: func(store.Package) error { return nil }, Image: func(store.Image) error { return nil }})
	}
	if !errors.Is(err, store.ErrCorrupt) || hint.Of(err) == "" {
		t.Errorf("the error is %v", err)
	}
}

// SQLite is told that the disk ends here; the error is the one of a full disk.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, path)
	if _, err := s.Put(t.Context(), []store.Arrival{storetest.Arrival(1, 1, 2, 3)}); err != nil {
		t.Fatal(err)
	}
	if err := s.LimitPages(t.Context(), 60); err != nil {
		t.Fatal(err)
	}
	var err error
	n := 2
	for ; n < 200 && err == nil; n++ {
		a := storetest.Arrival(n, n)
		a.Body = make([]byte, 20_000)
		_, err = s.Put(context.Background(), []store.Arrival{a})
	}
	if !errors.Is(err, store.ErrFull) || hint.Of(err) == "" {
		t.Fatalf("after %d images: %v", n, err)
	}
	c := storetest.Load(t, s)
	c.Check(t)
	if len(c.Images) != n-2 {
		t.Errorf("%d images are there, %d were acknowledged", len(c.Images), n-2)
	}
	if err := s.LimitPages(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), []store.Arrival{storetest.Arrival(999, 1)}); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "a.db"))
	if _, err := s.Put(t.Context(), []store.Arrival{storetest.Arrival(1, 1, 2, 3)}); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "it's a backup.db")
	if err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), copied); err == nil {
		t.Error("a backup was overwritten")
	}
	if d := cmp.Diff(storetest.Load(t, s), storetest.Load(t, open(t, copied))); d != "" {
		t.Error(d)
	}
}
