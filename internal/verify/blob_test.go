package verify_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

var content = []byte("the content of a file\n")

func contentHash() v1.Hash {
	sum := sha256.Sum256(content)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// keySigned makes a bundle over content with a key, as cosign sign-blob --key
// does where nothing is uploaded.
func keySigned(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	sum := sha256.Sum256(content)
	message, opts := sum[:], crypto.SignerOpts(crypto.SHA256)
	if _, ok := key.(ed25519.PrivateKey); ok {
		message, opts = content, crypto.Hash(0)
	}
	sig, err := key.Sign(rand.Reader, message, opts)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{
		"mediaType":            evidence.BundleMediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": "k"}},
		"messageSignature": map[string]any{
			"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": sum[:]},
			"signature":     sig,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestBlob(t *testing.T) {
	w, alien := newWorld(t, nil), newWorld(t, nil)
	signer := sign.New(sign.Config{Services: w.Services(), Tokens: w.As(person())})
	plain, err := signer.SignBlob(t.Context(), bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	stated := w.sign(t, person(), statement(t, "https://example.test/v1", `{}`, contentHash()))[0].Bundle
	elsewhere := w.sign(t, person(), statement(t, "https://example.test/v1", `{}`, stranger))[0].Bundle
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec2, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := policy.Identity{Issuer: w.Issuer(), Subject: person().Email}
	someone := policy.Identity{Issuer: w.Issuer(), Subject: "else@hallmark.localhost"}
	tampered := edit(t, evidence.Signed{Bundle: plain}, func(b map[string]any) {
		b["messageSignature"].(map[string]any)["signature"] = at(b, "verificationMaterial", "tlogEntries", 0, "logId", "keyId")
	}).Bundle
	edited := append(bytes.Clone(content), '!')
	tests := []struct {
		name   string
		file   []byte
		bundle []byte
		o      verify.BlobOptions
		want   map[string]string
	}{
		{"signature", content, plain, verify.BlobOptions{Identity: id, Anchor: w.anchor}, map[string]string{"subject": "pass", "signature": "pass"}},
		{"statement", content, stated, verify.BlobOptions{Identity: id, Anchor: w.anchor}, map[string]string{"subject": "pass", "signature": "pass"}},
		{"other file", edited, plain, verify.BlobOptions{Identity: id, Anchor: w.anchor}, map[string]string{"subject": "fail other-subject"}},
		{"statement about another file", content, elsewhere, verify.BlobOptions{Identity: id, Anchor: w.anchor}, map[string]string{"subject": "fail other-subject"}},
		{"other identity", content, plain, verify.BlobOptions{Identity: someone, Anchor: w.anchor}, map[string]string{"subject": "pass", "signature": "fail identity-mismatch"}},
		{"other root", content, plain, verify.BlobOptions{Identity: id, Anchor: alien.anchor}, map[string]string{"subject": "pass", "signature": "fail log-entry-invalid"}},
		{"no root", content, plain, verify.BlobOptions{Identity: id, Anchor: trust.Anchor{}}, map[string]string{"subject": "pass", "signature": "fail no-trust-root"}},
		{"tampered", content, tampered, verify.BlobOptions{Identity: id, Anchor: w.anchor}, map[string]string{"subject": "pass", "signature": "fail signature-invalid"}},
		{"no bundle", content, nil, verify.BlobOptions{Identity: id, Anchor: w.anchor}, map[string]string{"subject": "fail bundle-unreadable"}},
		{"junk", content, bytes.Repeat([]byte("["), 1000), verify.BlobOptions{Identity: id, Anchor: w.anchor}, map[string]string{"subject": "fail bundle-unreadable"}},
		{"too large", content, make([]byte, evidence.MaxBundle+1), verify.BlobOptions{Identity: id, Anchor: w.anchor}, map[string]string{"subject": "fail bundle-unreadable"}},
		{"identity where a key is asked for", content, plain, verify.BlobOptions{Key: ec.Public()}, map[string]string{"subject": "pass", "signature": "fail not-by-key"}},
		{"key", content, keySigned(t, ec), verify.BlobOptions{Key: ec.Public()}, map[string]string{"subject": "pass", "signature": "pass"}},
		{"Ed25519 key", content, keySigned(t, ed), verify.BlobOptions{Key: edPublic}, map[string]string{"subject": "pass", "signature": "pass"}},
		{"other key", content, keySigned(t, ec), verify.BlobOptions{Key: ec2.Public()}, map[string]string{"subject": "pass", "signature": "fail signature-invalid"}},
		{"key of another kind", content, keySigned(t, ec), verify.BlobOptions{Key: edPublic}, map[string]string{"subject": "pass", "signature": "fail signature-invalid"}},
		{"key that is none", content, keySigned(t, ec), verify.BlobOptions{Key: "key"}, map[string]string{"subject": "pass", "signature": "fail no-trust-root"}},
		{"key signed where an identity is asked for", content, keySigned(t, ec), verify.BlobOptions{Identity: id, Anchor: w.anchor}, map[string]string{"subject": "pass", "signature": "fail not-keyless"}},
		{"other file under a key", edited, keySigned(t, ec), verify.BlobOptions{Key: ec.Public()}, map[string]string{"subject": "fail other-subject"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := verify.Blob(t.Context(), "file", bytes.NewReader(tt.file), tt.bundle, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
			}
			if v.Subject != "file" || len(v.Digest) != len("sha256:")+64 {
				t.Errorf("verdict is about %q %q", v.Subject, v.Digest)
			}
			complete(t, v)
		})
	}
	t.Run("by digest", func(t *testing.T) {
		for digest, want := range map[v1.Hash]string{contentHash(): "pass", stranger: "fail other-subject"} {
			v := verify.Digest("file", digest, plain, verify.BlobOptions{Identity: id, Anchor: w.anchor, Key: ec.Public()})
			if got := outcomes(v)["subject"]; got != want || v.Passed() != (want == "pass") || v.Digest != digest.String() {
				t.Errorf("%s: %s, passed %v", digest, got, v.Passed())
			}
			complete(t, v)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if _, err := verify.Blob(ctx, "file", bytes.NewReader(content), plain, verify.BlobOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestParseKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	read, err := verify.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil || !key.PublicKey.Equal(read) {
		t.Errorf("read %v, %v", read, err)
	}
	for name, text := range map[string][]byte{
		"nothing":     nil,
		"private key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"broken":      pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der[1:]}),
	} {
		if _, err := verify.ParseKey(text); err == nil {
			t.Errorf("%s: taken for a public key", name)
		}
	}
}
