package localtrust_test

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// A verifier that is only told the repository and its first root gets the
// trusted root, today and, with what it kept from today, when the timestamp of
// today has long expired.
func TestTUFRepository(t *testing.T) {
	now := time.Now()
	dir := filepath.Join(t.TempDir(), "trust")
	open := func(at time.Time) (*localtrust.Local, *httptest.Server) {
		l, err := localtrust.Open(t.Context(), dir, localtrust.Options{Now: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(l.Handler())
		t.Cleanup(server.Close)
		return l, server
	}
	l, server := open(now)
	p := policy.Trust{Root: policy.RootPrivate, TUFMirror: server.URL + localtrust.PathTUF, TUFRoot: filepath.Join(dir, localtrust.TUFRootFile)}
	load := func(p policy.Trust, cache string) []byte {
		t.Helper()
		anchor, err := trust.Load(t.Context(), p, trust.Options{PolicyDir: dir, CacheDir: cache})
		if err != nil {
			t.Fatal(err)
		}
		return anchor.JSON
	}
	if got := load(p, t.TempDir()); !bytes.Equal(got, l.TrustedRoot()) {
		t.Errorf("the target is %s", got)
	}

	// The same folder a month on: the same root, another timestamp.
	_, later := open(now.AddDate(0, 1, 0))
	root, err := os.ReadFile(p.TUFRoot)
	if err != nil {
		t.Fatal(err)
	}
	again := p
	again.TUFMirror = later.URL + localtrust.PathTUF
	if got := load(again, t.TempDir()); !bytes.Equal(got, l.TrustedRoot()) {
		t.Errorf("a month later the target is %s", got)
	}
	if same, err := os.ReadFile(p.TUFRoot); err != nil || !bytes.Equal(root, same) {
		t.Errorf("the root changed (%v)", err)
	}
}
