package localtrust_test

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// After a rotation what was signed before stays good, what is signed from then
// on is good by the new root and not by the old, and the old keys are of no use
// any more. Who follows the root by TUF gets the new one.
func TestRotate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trust")
	now := time.Now().Add(-time.Hour)
	clock := func() time.Time { return now }
	open := func() *localtrust.Local {
		l, err := localtrust.Open(t.Context(), dir, localtrust.Options{Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	subject := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	signed := func(l *localtrust.Local) []evidence.Signed {
		s, err := evidence.About("registry.test/app", evidence.Signature, []byte(`{}`), subject)
		if err != nil {
			t.Fatal(err)
		}
		out, err := sign.New(sign.Config{Services: l.Services(), Tokens: l, Now: clock}).Sign(t.Context(), []evidence.Statement{s})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	passes := func(rootJSON []byte, s []evidence.Signed) bool {
		material, err := root.NewTrustedRootFromJSON(rootJSON)
		if err != nil {
			t.Fatal(err)
		}
		return verify.Judge(subject, s, verify.Options{
			Policy: policy.Policy{Identity: policy.Identity{Issuer: localtrust.Issuer, Subject: localtrust.Identity}, Evidence: []string{policy.Signature}},
			Anchor: trust.Anchor{Material: material}, Now: time.Now(),
		}).Passed()
	}

	old := open()
	now = now.Add(time.Minute)
	before := signed(old)
	server := httptest.NewServer(old.Handler())
	defer server.Close()
	cache := t.TempDir()
	load := func(mirror string) []byte {
		anchor, err := trust.Load(t.Context(), policy.Trust{Root: policy.RootPrivate, TUFMirror: mirror + localtrust.PathTUF, TUFRoot: filepath.Join(dir, localtrust.TUFRootFile)},
			trust.Options{PolicyDir: dir, CacheDir: cache})
		if err != nil {
			t.Fatal(err)
		}
		return anchor.JSON
	}
	if !bytes.Equal(load(server.URL), old.TrustedRoot()) {
		t.Fatal("TUF gives another root")
	}

	for range 2 {
		now = now.Add(time.Minute)
		if err := localtrust.Rotate(t.Context(), dir, now); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)
	fresh := open()
	after, late := signed(fresh), signed(old)
	for _, tt := range []struct {
		name string
		root []byte
		of   []evidence.Signed
		want bool
	}{
		{"signed before, by the old root", old.TrustedRoot(), before, true},
		{"signed before, by the new root", fresh.TrustedRoot(), before, true},
		{"signed after, by the new root", fresh.TrustedRoot(), after, true},
		{"signed after, by the old root", old.TrustedRoot(), after, false},
		{"signed after with the old keys, by the new root", fresh.TrustedRoot(), late, false},
	} {
		if got := passes(tt.root, tt.of); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if file, err := os.ReadFile(filepath.Join(dir, localtrust.TrustedRootFile)); err != nil || !bytes.Equal(file, fresh.TrustedRoot()) {
		t.Errorf("the file has another root (%v)", err)
	}
	later := httptest.NewServer(fresh.Handler())
	defer later.Close()
	cache = t.TempDir()
	if !bytes.Equal(load(later.URL), fresh.TrustedRoot()) {
		t.Error("TUF gives another root after the rotation")
	}

	if err := localtrust.Rotate(t.Context(), filepath.Join(t.TempDir(), "none"), time.Now()); err == nil {
		t.Error("keys that aren't there were rotated")
	}
}
