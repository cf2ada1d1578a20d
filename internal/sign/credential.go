package sign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/oidc"
)

// margin is how long a token or a certificate must still be valid to be used:
// longer than the waits that may come before the timestamp, which must fall
// into the certificate's ten minutes.
const margin = 2 * time.Minute

// credential is a key and the certificate for it.
type credential struct {
	key         *key
	certificate *x509.Certificate
}

func (c *credential) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.certificate.Raw})
}

func (s *Signer) token(ctx context.Context) (oidc.Token, error) {
	t, err := s.tokens.Token(ctx, oidc.Audience)
	if err != nil {
		return oidc.Token{}, fmt.Errorf("getting identity token: %w", err)
	}
	if err := t.Check(oidc.Audience, s.cfg.Now()); err != nil {
		return oidc.Token{}, err
	}
	return t, nil
}

// certified gives the key and certificate of the run, and fetches them when
// there are none or they are about to expire.
func (s *Signer) certified(ctx context.Context) (*credential, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("getting certificate: %w", ctx.Err())
	}
	if c := s.credential; c != nil && s.cfg.Now().Add(margin).Before(c.certificate.NotAfter) {
		return c, nil
	}
	c, err := s.certify(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting certificate: %w", err)
	}
	s.credential = c
	return c, nil
}

func (s *Signer) certify(ctx context.Context) (*credential, error) {
	token, err := s.token(ctx)
	if err != nil {
		return nil, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	k := &key{private}
	url := s.cfg.Services.Fulcio.URL
	ctx, done := context.WithTimeout(ctx, s.cfg.Patience)
	defer done()
	fulcio := sign.NewFulcio(&sign.FulcioOptions{
		BaseURL:   url,
		Timeout:   -1, // the courier's
		Transport: s.courier(ctx, "certificate authority", token.Raw()),
	})
	der, err := fulcio.GetCertificate(ctx, k, &sign.CertificateProviderOptions{IDToken: token.Raw()})
	if err != nil {
		return nil, explain(err, "certificate authority", url)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading what the certificate authority %s gave: %w", url, err)
	}
	if !private.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("the certificate authority %s gave a certificate of another key", url)
	}
	if now := s.cfg.Now(); !now.Before(cert.NotAfter) || now.Add(margin).Before(cert.NotBefore) {
		return nil, hint.Add(fmt.Errorf("the certificate authority %s gave a certificate for %s to %s, and here it is %s", url,
			cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)),
			"set this machine's clock")
	}
	return &credential{key: k, certificate: cert}, nil
}

// key is an ECDSA P-256 key, for SHA-256 digests. It is a sign.Keypair, which
// the Fulcio client wants; the library's own signs no digest, only data held
// in memory.
type key struct{ private *ecdsa.PrivateKey }

func (k *key) sign(digest [sha256.Size]byte) ([]byte, error) {
	return ecdsa.SignASN1(rand.Reader, k.private, digest[:])
}

func (k *key) GetHashAlgorithm() protocommon.HashAlgorithm {
	return protocommon.HashAlgorithm_SHA2_256
}

func (k *key) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
}

func (k *key) GetHint() []byte { return nil }

func (k *key) GetKeyAlgorithm() string { return "ECDSA" }

func (k *key) GetPublicKey() crypto.PublicKey { return &k.private.PublicKey }

func (k *key) GetPublicKeyPem() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

func (k *key) SignData(_ context.Context, data []byte) (sig, digest []byte, err error) {
	d := sha256.Sum256(data)
	sig, err = k.sign(d)
	return sig, d[:], err
}
