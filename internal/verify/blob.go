package verify

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// BlobOptions say by what to judge a file. Either Identity, with an Anchor, or
// Key is set.
type BlobOptions struct {
	// Identity is who must have signed.
	Identity policy.Identity
	Anchor   trust.Anchor
	// Key is the public key that must have signed: ECDSA, RSA or Ed25519. A
	// signature by key is judged without log and timestamp: nothing then
	// proves when it was made.
	Key crypto.PublicKey
	Now time.Time
}

// ParseKey reads a public key in PEM, as cosign.pub is.
func ParseKey(text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, hint.Add(errors.New("reading public key: it is not a PEM block of type PUBLIC KEY"), "cosign public-key --key cosign.key writes one")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading public key: %w", err)
	}
	return key, nil
}

// Blob judges a signed file by its bundle, which holds a signature over the
// file as cosign sign-blob makes, or a statement whose subject is the file. The
// file is read once, or twice for an Ed25519 key. An error means that the file
// could not be read; everything about the bundle is in the verdict.
func Blob(ctx context.Context, name string, file io.ReadSeeker, raw []byte, o BlobOptions) (verdict.Verdict, error) {
	h := sha256.New()
	if _, err := io.Copy(h, patient{ctx, file}); err != nil {
		return verdict.Verdict{}, fmt.Errorf("reading %s: %w", name, err)
	}
	b := blob{BlobOptions: o, file: patient{ctx, file}, digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}}
	return verdict.Verdict{
		Subject: shown(name),
		Digest:  b.digest.String(),
		At:      o.Now.UTC(),
		Checks:  b.judge(raw),
	}, nil
}

// patient reads until its context ends.
type patient struct {
	ctx context.Context
	io.ReadSeeker
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.ReadSeeker.Read(b)
}

// blob is one file under judgement.
type blob struct {
	BlobOptions
	file   io.ReadSeeker
	digest v1.Hash
}

func (b blob) judge(raw []byte) (checks []verdict.Check) {
	defer func() {
		if p := recover(); p != nil {
			checks = []verdict.Check{fail("subject", codeUnreadable, shown(fmt.Sprintf("reading the bundle ended in a panic: %v", p)))}
		}
	}()
	entity, predicateType, no := b.open(raw)
	if no != nil {
		return []verdict.Check{fail("subject", no.code, no.reason)}
	}
	about := pass("subject", "the bundle is about this file")
	if predicateType != "" {
		about = pass("subject", "the bundle is a statement about this file", detail("predicate", "%s", predicateType))
	}
	said, details, no := b.genuine(entity)
	if no != nil {
		return []verdict.Check{about, fail("signature", no.code, no.reason)}
	}
	return []verdict.Check{about, pass("signature", said, details...)}
}

// open reads the bundle and says of what predicate its statement is; empty for
// a plain signature. It refuses a bundle about another file.
func (b blob) open(raw []byte) (*bundle.Bundle, string, *refusal) {
	if len(raw) > evidence.MaxBundle {
		return nil, "", refuse(codeUnreadable, "%d bytes are more than the %d allowed", len(raw), evidence.MaxBundle)
	}
	entity := &bundle.Bundle{}
	if err := entity.UnmarshalJSON(raw); err != nil {
		return nil, "", refuse(codeUnreadable, "it is no Sigstore bundle: %v", err)
	}
	message := entity.GetMessageSignature()
	if message == nil {
		x, no := stated(entity, b.digest)
		if no == nil && !x.statement.IsAbout(b.digest) {
			no = refuse(codeOtherSubject, "the bundle is about %s, the file is %s", list(x.statement.Digests()), b.digest)
		}
		return entity, x.statement.PredicateType, no
	}
	if got := hex.EncodeToString(message.GetMessageDigest().GetDigest()); got != b.digest.Hex {
		return nil, "", refuse(codeOtherSubject, "the bundle is about a file with the digest %q, the file is %s", got, b.digest)
	}
	return entity, "", nil
}

func (b blob) genuine(entity *bundle.Bundle) (string, []verdict.Detail, *refusal) {
	if b.Key != nil {
		return b.byKey(entity)
	}
	p := &opinion{Options: Options{Policy: policy.Policy{Identity: b.Identity}, Anchor: b.Anchor}}
	c, err := newCourt(p.Options)
	if err != nil {
		return "", nil, refuse(codeTrustRoot, "%v", err)
	}
	result, no := c.genuine(entity, b.digest)
	if no != nil {
		return "", nil, no
	}
	cert := *result.Signature.Certificate
	if no := c.ours(cert, b.Identity); no != nil {
		return "", nil, no
	}
	said := fmt.Sprintf("signed by %s at %s", shown(cert.SubjectAlternativeName), moment(latest(result.VerifiedTimestamps)))
	return said, p.terms(witness{certificate: cert}), nil
}

func (b blob) byKey(entity *bundle.Bundle) (string, []verdict.Detail, *refusal) {
	content, err := entity.VerificationContent()
	if err != nil {
		return "", nil, refuse(codeUnreadable, "its certificate cannot be read: %v", err)
	}
	if content.Certificate() != nil {
		return "", nil, refuse(codeNotByKey, "it is signed by an identity; a key was asked for")
	}
	key, err := signature.LoadVerifier(b.Key, crypto.SHA256)
	if err != nil {
		return "", nil, refuse(codeTrustRoot, "the key cannot be used: %v", err)
	}
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
	})
	verifier, err := sigstore.NewVerifier(material, sigstore.WithNoObserverTimestamps(), sigstore.WithoutStatementPredicate())
	if err != nil {
		return "", nil, refuse(codeTrustRoot, "%v", err)
	}
	artifact, err := b.artifact()
	if err == nil {
		_, err = verifier.Verify(entity, sigstore.NewPolicy(artifact, sigstore.WithKey()))
	}
	if err != nil {
		return "", nil, refuse(codeSignature, "it is not signed with the key: %v", err)
	}
	return "signed with the key", []verdict.Detail{detail("not demanded", "a signature by key proves no time and is in no log")}, nil
}

// artifact hands the file to the library: by digest, or whole for an Ed25519
// key, which signs no digests.
func (b blob) artifact() (sigstore.ArtifactPolicyOption, error) {
	if _, ok := b.Key.(ed25519.PublicKey); ok {
		_, err := b.file.Seek(0, io.SeekStart)
		return sigstore.WithArtifact(b.file), err
	}
	digest, err := hex.DecodeString(b.digest.Hex)
	return sigstore.WithArtifactDigest(b.digest.Algorithm, digest), err
}
