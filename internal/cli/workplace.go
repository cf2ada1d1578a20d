package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// stateDir is where hallmark keeps what belongs to one policy file. Git
// ignores the folder by the file it holds itself.
func stateDir(p policy.Policy) string {
	return filepath.Join(filepath.Dir(p.Path), ".hallmark")
}

// workplace is the scratch folder of one release. Only one release works in a
// folder at a time, so whatever an earlier one left behind when it was killed
// is known to be nobody's and is removed.
type workplace struct {
	dir  string
	lock *flock.Flock
}

func openWorkplace(p policy.Policy) (*workplace, error) {
	state := stateDir(p)
	if err := makeState(state); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(state, "work.lock"))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", state, err)
	}
	if !held {
		err := fmt.Errorf("another release is at work in %s", filepath.Dir(state))
		return nil, hint.Add(err, "wait for it, or release from a clone of its own")
	}
	w := &workplace{dir: filepath.Join(state, "work"), lock: lock}
	if err := os.RemoveAll(w.dir); err != nil {
		lock.Unlock()
		return nil, fmt.Errorf("clearing %s: %w", w.dir, err)
	}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		lock.Unlock()
		return nil, fmt.Errorf("making %s: %w", w.dir, err)
	}
	return w, nil
}

func (w *workplace) close() {
	// What cannot be removed now is removed by the next release.
	os.RemoveAll(w.dir)
	w.lock.Unlock()
}

func makeState(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	ignore := filepath.Join(dir, ".gitignore")
	if _, err := os.Stat(ignore); err == nil {
		return nil
	}
	if err := os.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", ignore, err)
	}
	return nil
}
