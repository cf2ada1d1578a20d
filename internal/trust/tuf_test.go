package trust_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// tufRepo is a real TUF repository on loopback, with one key for all roles.
type tufRepo struct {
	t      *testing.T
	signer signature.Signer
	files  map[string][]byte
	root   []byte
	srv    *httptest.Server
	asked  atomic.Int64
}

func newTUFRepo(t *testing.T, expires time.Time, targets map[string][]byte) *tufRepo {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signature.LoadSigner(key, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	public, err := metadata.KeyFromPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	r := &tufRepo{t: t, signer: signer, files: map[string][]byte{}}
	root := metadata.Root(time.Now().AddDate(1, 0, 0))
	for _, role := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if err := root.Signed.AddKey(public, role); err != nil {
			t.Fatal(err)
		}
	}
	r.root = signed(r, root)
	r.files["/1.root.json"] = r.root
	tg := metadata.Targets(expires)
	for name, data := range targets {
		info, err := metadata.TargetFile().FromBytes(name, data, "sha256")
		if err != nil {
			t.Fatal(err)
		}
		tg.Signed.Targets[name] = info
		sum := sha256.Sum256(data)
		r.files["/targets/"+hex.EncodeToString(sum[:])+"."+name] = data
	}
	r.files["/1.targets.json"] = signed(r, tg)
	r.files["/1.snapshot.json"] = signed(r, metadata.Snapshot(expires))
	r.files["/timestamp.json"] = signed(r, metadata.Timestamp(expires))
	r.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		data, ok := r.files[req.URL.Path]
		if !ok {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(r.srv.Close)
	return r
}

func signed[T metadata.Roles](r *tufRepo, m *metadata.Metadata[T]) []byte {
	r.t.Helper()
	if _, err := m.Sign(r.signer); err != nil {
		r.t.Fatal(err)
	}
	data, err := m.ToBytes(false)
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

// setup makes a repository of a whole instance, and the policy and options
// that lead to it.
func setup(t *testing.T, expires time.Time) (*tufRepo, policy.Trust, trust.Options) {
	t.Helper()
	dir := t.TempDir()
	trustedRoot, config := instance(t, filepath.Join(dir, "state"))
	r := newTUFRepo(t, expires, map[string][]byte{"trusted_root.json": trustedRoot, "signing_config.v0.2.json": config})
	put(t, filepath.Join(dir, "root.json"), r.root)
	return r, policy.Trust{Root: policy.RootPrivate, TUFMirror: r.srv.URL, TUFRoot: "root.json"},
		trust.Options{PolicyDir: dir, CacheDir: filepath.Join(dir, "cache")}
}

func soon() time.Time { return time.Now().AddDate(0, 0, 7).Truncate(time.Second).UTC() }

func TestTUF(t *testing.T) {
	expires := soon()
	r, p, opts := setup(t, expires)
	a, err := trust.Load(t.Context(), p, opts)
	if err != nil {
		t.Fatal(err)
	}
	if a.Source != r.srv.URL || !a.Expires.Equal(expires) || time.Since(a.Checked) > time.Minute {
		t.Errorf("source %s, expires %s, checked %s", a.Source, a.Expires, a.Checked)
	}
	s, err := trust.LoadServices(t.Context(), p, opts)
	if err != nil {
		t.Fatal(err)
	}
	if s.Fulcio.URL != "https://sigstore.acme.test" {
		t.Errorf("certificate authority %s", s.Fulcio.URL)
	}

	asked := r.asked.Load()
	again, err := trust.Load(t.Context(), p, opts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(a.JSON), string(again.JSON)); diff != "" || r.asked.Load() != asked {
		t.Errorf("a second load within the day asked %d times more; difference:\n%s", r.asked.Load()-asked, diff)
	}

	// Days later there is no network: the cache is good until it expires.
	age(t, opts, r, 3*24*time.Hour)
	r.srv.Close()
	late, err := trust.Load(t.Context(), p, opts)
	if err != nil {
		t.Fatal(err)
	}
	if days := late.Age(time.Now()).Hours() / 24; days < 2.9 || days > 3.1 {
		t.Errorf("age %.1f days, want 3", days)
	}

	// And then not any more.
	put(t, filepath.Join(opts.CacheDir, tuf.URLToPath(r.srv.URL), "timestamp.json"), signed(r, metadata.Timestamp(time.Now().Add(-time.Hour))))
	_, err = trust.Load(t.Context(), p, opts)
	if !errors.Is(err, trust.ErrExpired) || !errors.Is(err, trust.ErrUnreachable) || hint.Of(err) == "" {
		t.Errorf("error %v with hint %q, want ErrExpired and ErrUnreachable", err, hint.Of(err))
	}
}

// age makes the cache think that it was refreshed so long ago.
func age(t *testing.T, opts trust.Options, r *tufRepo, d time.Duration) {
	t.Helper()
	data, err := json.Marshal(tuf.Config{LastTimestamp: time.Now().Add(-d)})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(opts.CacheDir, tuf.URLToPath(r.srv.URL)+".json"), data)
}

func TestTUFRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		expires time.Time
		break_  func(t *testing.T, r *tufRepo, opts trust.Options)
		is      error
		want    string
	}{
		{name: "expired", expires: time.Now().Add(-time.Hour), is: trust.ErrExpired},
		{name: "signed by another", break_: func(t *testing.T, r *tufRepo, opts trust.Options) {
			other := newTUFRepo(t, soon(), nil)
			put(t, filepath.Join(opts.PolicyDir, "root.json"), other.root)
		}, want: "not to be believed"},
		{name: "target changed", break_: func(_ *testing.T, r *tufRepo, _ trust.Options) {
			for path, data := range r.files {
				if strings.HasSuffix(path, ".trusted_root.json") {
					r.files[path] = bytes.Replace(data, []byte("hallmark"), []byte("hellmark"), 1)
				}
			}
		}, want: "not to be believed"},
		{name: "target missing", break_: func(_ *testing.T, r *tufRepo, _ trust.Options) {
			r.files["/1.targets.json"] = signed(r, metadata.Targets(soon()))
		}, want: "trusted_root.json"},
		{name: "endless answer", break_: func(_ *testing.T, r *tufRepo, _ trust.Options) {
			r.files["/timestamp.json"] = make([]byte, 10<<20)
		}, want: "longer than"},
		{name: "down", break_: func(_ *testing.T, r *tufRepo, _ trust.Options) { r.srv.Close() }, is: trust.ErrUnreachable},
		{name: "offline without a cache", break_: nil, is: trust.ErrUnreachable},
		{name: "first root missing", break_: func(t *testing.T, _ *tufRepo, opts trust.Options) {
			if err := os.Remove(filepath.Join(opts.PolicyDir, "root.json")); err != nil {
				t.Fatal(err)
			}
		}, is: os.ErrNotExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.expires.IsZero() {
				tt.expires = soon()
			}
			r, p, opts := setup(t, tt.expires)
			if tt.break_ != nil {
				tt.break_(t, r, opts)
			}
			opts.Offline = strings.HasPrefix(tt.name, "offline")
			_, err := trust.Load(t.Context(), p, opts)
			if err == nil {
				t.Fatal("no error")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want %v", err, tt.is)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestTUFFlaky has the repository fail once on each path.
func TestTUFFlaky(t *testing.T) {
	r, p, opts := setup(t, soon())
	failed := map[string]bool{}
	opts.Transport = transport(func(req *http.Request) (*http.Response, error) {
		if path := req.URL.Path; !failed[path] {
			failed[path] = true
			return nil, fmt.Errorf("connection reset on %s", path)
		}
		return http.DefaultTransport.RoundTrip(req)
	})
	if _, err := trust.Load(t.Context(), p, opts); err != nil {
		t.Fatal(err)
	}
	if len(failed) < 4 || r.asked.Load() < 4 {
		t.Errorf("%d paths failed, %d were served", len(failed), r.asked.Load())
	}
}
