package advisory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// TestCacheHealsAndPrunes damages what the cache holds and fills it up.
func TestCacheHealsAndPrunes(t *testing.T) {
	res := small(t)
	o := Options{From: res.Archive, CacheDir: t.TempDir()}
	dir, _ := open(t, o)
	file := filepath.Join(dir, v6.VulnerabilityDBFileName)
	data, _ := os.ReadFile(file)
	writeTo(t, file, data[:len(data)-1])
	open(t, o) // unpacked again
	// Another database that is sound in itself is not what was put there.
	writeTo(t, file, altered(t, data, "UPDATE db_metadata SET build_timestamp = '2026-03-05 00:00:00+00:00'"))
	os.Remove(filepath.Join(dir, v6.ImportMetadataFileName))
	if _, db := open(t, o); !db.Built.Equal(builtAt) {
		t.Errorf("built %s: another database was used", db.Built)
	}
	if _, _, err := Import(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	old := builtAt.AddDate(-1, 0, 0)
	os.Chtimes(dir, old, old)
	var made []string
	for i := range kept + 2 {
		r := build(t, records(map[string]string{"a.json": npm(fmt.Sprintf("OSV-%d", i), "a", "")}))
		d, _ := open(t, Options{From: r.Archive, CacheDir: o.CacheDir})
		at := old.AddDate(0, 0, i)
		os.Chtimes(d, at, at)
		made = append(made, d)
	}
	left, _ := filepath.Glob(filepath.Join(o.CacheDir, "databases", "*"))
	if len(left) != kept+1 {
		t.Errorf("%d databases are left, want %d and the default", len(left), kept)
	}
	for _, d := range []string{dir, made[len(made)-1]} {
		if _, err := os.Stat(d); err != nil {
			t.Errorf("removed: %v", err)
		}
	}
}

// TestOpenTogether opens one archive many times at once.
func TestOpenTogether(t *testing.T) {
	res := small(t)
	o := Options{From: res.Archive, CacheDir: t.TempDir()}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, db, err := Open(context.Background(), o); err != nil || db.Digest != res.Database.Digest {
				t.Errorf("%v, %v", db, err)
			}
		})
	}
	wg.Wait()
	if left, _ := os.ReadDir(filepath.Join(o.CacheDir, "databases")); len(left) != 1 {
		t.Errorf("the cache holds %v", left)
	}
}

// TestOwnDisk tells a full disk from a damaged archive.
func TestOwnDisk(t *testing.T) {
	c := cache{"/cache"}
	var e *Error
	full := c.blame(fmt.Errorf("x: %w", &fs.PathError{Op: "write", Path: "/cache/x", Err: syscall.ENOSPC}), "a.tar")
	if errors.As(full, &e) || !strings.Contains(hint.Of(full), "/cache") {
		t.Errorf("a full disk: %v, hint %q", full, hint.Of(full))
	}
	twice := c.blame(&fs.PathError{Op: "open", Path: "/cache/x", Err: syscall.EEXIST}, "a.tar")
	if !errors.As(twice, &e) || e.Code != Corrupt {
		t.Errorf("a file twice: %v", twice)
	}
	res := small(t)
	blocked := t.TempDir()
	writeTo(t, filepath.Join(blocked, "databases"), nil)
	writeTo(t, filepath.Join(blocked, "downloads"), nil)
	m := serve(t, filepath.Dir(res.Dir))
	for _, from := range []string{res.Archive, m.URL} {
		if _, _, err := Open(context.Background(), Options{From: from, CacheDir: blocked}); err == nil || errors.As(err, &e) && e.Code == Corrupt {
			t.Errorf("a cache that cannot be written: %v", err)
		}
	}
}
