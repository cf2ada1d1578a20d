package sign_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// local opens a local trust in a folder of the test.
func local(t testing.TB, opts localtrust.Options) *localtrust.Local {
	t.Helper()
	l, err := localtrust.Open(context.Background(), t.TempDir()+"/trust", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// statements makes n statements about one digest.
func statements(t testing.TB, n int) []evidence.Statement {
	t.Helper()
	digest := v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256([]byte("image")))}
	var out []evidence.Statement
	for i := range n {
		s, err := evidence.About("registry.test/app", fmt.Sprintf("https://example.com/predicate/%d", i), []byte(`{"n":1}`), digest)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// check verifies one bundle as strictly as Sigstore can: certificate
// timestamp, log entry and signed timestamp.
func check(t testing.TB, trustedRoot, data []byte, artifact verify.ArtifactPolicyOption, issuer, san string) *verify.VerificationResult {
	t.Helper()
	tr, err := root.NewTrustedRootFromJSON(trustedRoot)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.NewVerifier(tr, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithSignedTimestamps(1))
	if err != nil {
		t.Fatal(err)
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	id, err := verify.NewShortCertificateIdentity(issuer, "", san, "")
	if err != nil {
		t.Fatal(err)
	}
	result, err := v.Verify(&b, verify.NewPolicy(artifact, verify.WithCertificateIdentity(id)))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func imageDigest(t testing.TB) verify.ArtifactPolicyOption {
	t.Helper()
	d := sha256.Sum256([]byte("image"))
	return verify.WithArtifactDigest("sha256", d[:])
}

func TestSign(t *testing.T) {
	workflow := localtrust.GitHubClaims("acme/app", ".github/workflows/release.yml", "refs/heads/main", "0123456789012345678901234567890123456789")
	for _, tt := range []struct {
		name   string
		claims oidc.Claims
		san    string
	}{
		{"person", oidc.Claims{}, localtrust.Identity},
		{"other person", oidc.Claims{Email: "ann@example.com", Subject: "ann"}, "ann@example.com"},
		{"workflow", workflow, "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := local(t, localtrust.Options{})
			s := sign.New(sign.Config{Services: l.Services(), Tokens: l.As(tt.claims)})
			want := statements(t, 4)
			signed, err := s.Sign(t.Context(), want)
			if err != nil {
				t.Fatal(err)
			}
			certs := map[string]bool{}
			for i, got := range signed {
				if got.PredicateType != want[i].PredicateType {
					t.Errorf("evidence %d is %s, want %s", i, got.PredicateType, want[i].PredicateType)
				}
				if diff := cmp.Diff([]v1.Hash{{Algorithm: "sha256", Hex: want[i].Subject[0].Digest["sha256"]}}, got.Subjects); diff != "" {
					t.Errorf("subjects (-want +got):\n%s", diff)
				}
				result := check(t, l.TrustedRoot(), got.Bundle, imageDigest(t), localtrust.Issuer, tt.san)
				if result.Statement.PredicateType != got.PredicateType {
					t.Errorf("statement is %s, want %s", result.Statement.PredicateType, got.PredicateType)
				}
				var b bundle.Bundle
				if err := b.UnmarshalJSON(got.Bundle); err != nil {
					t.Fatal(err)
				}
				certs[hex.EncodeToString(b.GetVerificationMaterial().GetCertificate().GetRawBytes())] = true
			}
			if len(certs) != 1 {
				t.Errorf("%d certificates for one run, want 1", len(certs))
			}
		})
	}
}

func TestSignBlob(t *testing.T) {
	l := local(t, localtrust.Options{})
	s := sign.New(sign.Config{Services: l.Services(), Tokens: l})
	blob := bytes.Repeat([]byte("blob"), 1000)
	got, err := s.SignBlob(t.Context(), bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	check(t, l.TrustedRoot(), got, verify.WithArtifact(bytes.NewReader(blob)), localtrust.Issuer, localtrust.Identity)
}

// TestSignOverLoopback signs through a real server, with the URLs that its
// signing config names.
func TestSignOverLoopback(t *testing.T) {
	l := local(t, localtrust.Options{})
	srv := httptest.NewServer(l.Handler())
	defer srv.Close()
	s := sign.New(sign.Config{Tokens: l, Services: trust.Services{
		Fulcio:    trust.Service{URL: srv.URL, Version: 1},
		Rekor:     []trust.Service{{URL: srv.URL, Version: 2}},
		TSA:       []trust.Service{{URL: srv.URL + "/api/v1/timestamp", Version: 1}},
		Transport: srv.Client().Transport,
	}})
	signed, err := s.Sign(t.Context(), statements(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range signed {
		check(t, l.TrustedRoot(), got.Bundle, imageDigest(t), localtrust.Issuer, localtrust.Identity)
	}
}

// TestSignSideBySide opens one state eight times and signs with all at once;
// the log must hold each entry once.
func TestSignSideBySide(t *testing.T) {
	dir := t.TempDir() + "/trust"
	var wg sync.WaitGroup
	var mu sync.Mutex
	indexes := map[int64]bool{}
	for range 8 {
		wg.Go(func() {
			l, err := localtrust.Open(t.Context(), dir, localtrust.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			signed, err := sign.New(sign.Config{Services: l.Services(), Tokens: l}).Sign(t.Context(), statements(t, 3))
			if err != nil {
				t.Error(err)
				return
			}
			for _, got := range signed {
				check(t, l.TrustedRoot(), got.Bundle, imageDigest(t), localtrust.Issuer, localtrust.Identity)
				var b bundle.Bundle
				if err := b.UnmarshalJSON(got.Bundle); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				indexes[b.GetVerificationMaterial().GetTlogEntries()[0].GetLogIndex()] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i := range int64(24) {
		if !indexes[i] {
			t.Errorf("no evidence has log index %d", i)
		}
	}
}

func TestSignFreshCertificate(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	l := local(t, localtrust.Options{Now: clock})
	s := sign.New(sign.Config{Services: l.Services(), Tokens: l, Now: clock})
	serials := map[string]bool{}
	for range 3 {
		signed, err := s.Sign(t.Context(), statements(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		check(t, l.TrustedRoot(), signed[0].Bundle, imageDigest(t), localtrust.Issuer, localtrust.Identity)
		var b bundle.Bundle
		if err := b.UnmarshalJSON(signed[0].Bundle); err != nil {
			t.Fatal(err)
		}
		c, err := b.VerificationContent()
		if err != nil {
			t.Fatal(err)
		}
		serials[c.Certificate().SerialNumber.String()] = true
		mu.Lock()
		now = now.Add(5 * time.Minute)
		mu.Unlock()
	}
	if len(serials) != 2 {
		t.Errorf("%d certificates over ten minutes of signing, want 2", len(serials))
	}
}

func BenchmarkSign(b *testing.B) {
	for _, n := range []int{1, 4, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := local(b, localtrust.Options{})
			s := sign.New(sign.Config{Services: l.Services(), Tokens: l})
			for b.Loop() {
				if _, err := s.Sign(b.Context(), statements(b, n)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("certificate", func(b *testing.B) {
		l := local(b, localtrust.Options{})
		for b.Loop() {
			s := sign.New(sign.Config{Services: l.Services(), Tokens: l})
			if _, err := s.Claims(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
