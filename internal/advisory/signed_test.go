package advisory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

// TestSigned opens with a signer: nothing is used unless its bundle holds.
func TestSigned(t *testing.T) {
	signer := policy.Identity{Subject: "builder@example.com"}
	sign := func(_ context.Context, path string, digest v1.Hash) ([]byte, error) {
		data, err := os.ReadFile(path)
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != digest.Hex {
			t.Errorf("digest %s of %s is another's", digest, path)
		}
		return []byte("builder@example.com signed " + digest.String()), err
	}
	verified := 0
	verify := func(_ context.Context, bundle []byte, digest v1.Hash, s policy.Identity) error {
		verified++
		if string(bundle) != s.Subject+" signed "+digest.String() {
			return fmt.Errorf("bundle %q is not %s's of %s", bundle, s.Subject, digest)
		}
		return nil
	}
	res, err := Build(context.Background(), BuildOptions{Sources: []Source{records(map[string]string{"a.json": npm("OSV-1", "a", "")})},
		Out: t.TempDir(), Time: builtAt, Sign: sign})
	if err != nil {
		t.Fatal(err)
	}
	if digest, err := Verify(context.Background(), res.Archive, signer, verify); err != nil || digest != res.Digest {
		t.Errorf("verified %s, %v", digest, err)
	}
	o := Options{From: res.Archive, CacheDir: t.TempDir(), Signer: &signer, Verify: verify}
	if _, db := open(t, o); !db.Signed {
		t.Error("not told as signed")
	}
	before := verified
	if _, _, err := Import(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	usual := Options{CacheDir: o.CacheDir, Signer: &signer, Verify: verify}
	if _, db := open(t, usual); !db.Signed || verified <= before+1 {
		t.Error("what is in the cache was not verified again")
	}
	other := policy.Identity{Subject: "else@example.com"}
	for name, tt := range map[string]struct {
		o    Options
		code Code
	}{
		"other signer":           {Options{From: res.Archive, CacheDir: t.TempDir(), Signer: &other, Verify: verify}, BadSignature},
		"other signer, cached":   {Options{CacheDir: o.CacheDir, Signer: &other, Verify: verify}, BadSignature},
		"no bundle":              {Options{From: copyTo(t, res.Archive, filepath.Join(t.TempDir(), "a.tar.zst")), CacheDir: t.TempDir(), Signer: &signer, Verify: verify}, Unsigned},
		"folder":                 {Options{From: res.Dir, CacheDir: t.TempDir(), Signer: &signer, Verify: verify}, Unsigned},
		"grype's":                {Options{GrypeDir: filepath.Dir(res.Dir), CacheDir: t.TempDir(), Signer: &signer, Verify: verify}, Unsigned},
		"bundle of another file": {Options{From: swapped(t, res), CacheDir: t.TempDir(), Signer: &signer, Verify: verify}, BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			refusal(t, tt.o, tt.code)
			if tt.o.CacheDir != o.CacheDir {
				if got, _ := os.ReadDir(filepath.Join(tt.o.CacheDir, "databases")); len(got) > 0 {
					t.Errorf("something was unpacked: %v", got)
				}
			}
		})
	}
	if _, _, err := Open(context.Background(), Options{From: res.Archive, Signer: &signer}); err == nil {
		t.Error("a signer and nothing to verify with: no error")
	}
	failing := func(context.Context, string, v1.Hash) ([]byte, error) { return nil, errors.New("no token") }
	out := t.TempDir()
	if _, err := Build(context.Background(), BuildOptions{Sources: []Source{records(map[string]string{"a.json": npm("OSV-1", "a", "")})}, Out: out, Time: builtAt, Sign: failing}); err == nil {
		t.Error("signing failed: no error")
	}
	if left, _ := os.ReadDir(out); len(left) > 0 {
		t.Errorf("signing failed and something is left: %v", left)
	}
}

// TestSignedThenChanged changes a file between the check of its signature and
// its use.
func TestSignedThenChanged(t *testing.T) {
	res, other := small(t), build(t, records(map[string]string{"a.json": npm("OSV-2", "a", "")}))
	for _, file := range []string{res.Archive, filepath.Join(res.Dir, v6.VulnerabilityDBFileName)} {
		writeTo(t, file+bundleSuffix, []byte("bundle"))
		from := other.Archive
		if filepath.Ext(file) == ".db" {
			from = filepath.Join(other.Dir, v6.VulnerabilityDBFileName)
			os.Remove(filepath.Join(res.Dir, v6.ImportMetadataFileName))
		}
		o := Options{From: file, CacheDir: t.TempDir(), Signer: &policy.Identity{Subject: "x"}}
		o.Verify = func(context.Context, []byte, v1.Hash, policy.Identity) error {
			copyTo(t, from, file)
			return nil
		}
		if e := refusal(t, o, Corrupt); !strings.Contains(e.Error(), "changed while it was read") {
			t.Errorf("error %v", e)
		}
	}
}

func swapped(t *testing.T, res Result) string {
	to := copyTo(t, small(t).Archive, filepath.Join(t.TempDir(), "a.tar.zst"))
	copyTo(t, res.Bundle, to+bundleSuffix)
	return to
}

// TestFetchSigned asks for the bundle before the archive.
func TestFetchSigned(t *testing.T) {
	signer := policy.Identity{Subject: "builder@example.com"}
	verify := func(_ context.Context, bundle []byte, digest v1.Hash, _ policy.Identity) error {
		if string(bundle) != digest.String() {
			return errors.New("another's")
		}
		return nil
	}
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	name := filepath.Base(res.Archive)
	o := remoteOptions(t, m.URL)
	o.Signer, o.Verify = &signer, verify
	refusal(t, o, Unsigned)
	if got, want := m.took(), []string{"200 latest.json", "404 " + name + bundleSuffix}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
	writeTo(t, res.Archive+bundleSuffix, []byte("sha256:other"))
	refusal(t, o, BadSignature)
	if got, _ := os.ReadDir(filepath.Join(o.CacheDir, "databases")); len(got) > 0 {
		t.Errorf("something was unpacked: %v", got)
	}
	writeTo(t, res.Archive+bundleSuffix, []byte(res.Digest.String()))
	if _, db := open(t, o); !db.Signed {
		t.Error("not told as signed")
	}
	// Out of reach, what is kept is verified again.
	o.Transport = unreachable{}
	if _, db := open(t, o); !db.Signed {
		t.Error("not told as signed")
	}
	o.Verify = func(context.Context, []byte, v1.Hash, policy.Identity) error { return errors.New("revoked") }
	refusal(t, o, Unreachable)
}
