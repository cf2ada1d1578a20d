package localtrust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// tempPrefix begins the name of a file that is being written.
const tempPrefix = ".new-"

// ensureDir makes dir if need be, and refuses one that others may enter.
func ensureDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return hint.Add(fmt.Errorf("it is not a folder (%s)", info.Mode().Type()), "name the folder itself, not a link to it")
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return hint.Add(fmt.Errorf("its permissions are %#o: others than its owner may enter", perm),
			"if nobody else read the keys in it, run chmod 700 %s; otherwise remove it and start anew", dir)
	}
	return checkOwner(info)
}

// writeFile puts data in path so that a reader, also one after a crash, sees
// the file before or after, never in between.
func writeFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes renames in dir last through a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// lockFile takes the lock of the file path, which no other process or
// goroutine then has, and waits for it while ctx lasts.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := tryLock(f)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, errLocked) {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("waiting for the lock %s: %w", path, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// errLocked says that another holds the lock.
var errLocked = errors.New("locked")

// sameFile reads path and says whether it holds data already.
func sameFile(path string, data []byte) bool {
	old, err := os.ReadFile(path)
	return err == nil && string(old) == string(data)
}

// ensureFile writes data to path unless it is there already.
func ensureFile(path string, data []byte) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("writing %s: %w", path, fs.ErrExist)
	}
	if sameFile(path, data) {
		return nil
	}
	return writeFile(path, data)
}
