// Package sign makes signed evidence of statements, keyless: a key that lives
// in memory for one run, a certificate that Sigstore's authority gives for it
// against an identity token, a signature, a timestamp and a log entry.
//
// It knows neither what a predicate means nor where evidence is stored. It is
// the only package that holds a private key while signing for a release, and
// the key never leaves memory. It does not verify what it made: the release
// does, with the code that everybody verifies with.
package sign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// Config sets up a Signer. Services and Tokens are required.
type Config struct {
	Services trust.Services
	Tokens   oidc.Source
	// Now is the clock; nil for the machine's.
	Now func() time.Time
	// Patience bounds the wait for one service in all; 0 for a minute.
	Patience time.Duration
	// Timeout bounds one try; 0 for 20 seconds.
	Timeout time.Duration
	// Pause is the wait before a second try, doubled before each later one
	// and varied at random; 0 for half a second.
	Pause time.Duration
}

// Signer signs for one identity. Its methods may be called by several
// goroutines at once, which then share one certificate.
type Signer struct {
	cfg    Config
	tokens oidc.Source

	turn       chan struct{} // holds one token while a certificate is fetched
	credential *credential
}

// New makes a Signer. It asks for nothing yet.
func New(cfg Config) *Signer {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Patience == 0 {
		cfg.Patience = time.Minute
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 20 * time.Second
	}
	if cfg.Pause == 0 {
		cfg.Pause = 500 * time.Millisecond
	}
	return &Signer{cfg: cfg, tokens: oidc.Cache(cfg.Tokens, margin, cfg.Now), turn: make(chan struct{}, 1)}
}

// side is how many statements are signed at once.
const side = 8

// Claims gives the claims of the identity that signs.
func (s *Signer) Claims(ctx context.Context) (oidc.Claims, error) {
	t, err := s.token(ctx)
	return t.Claims(), err
}

// Sign signs the statements side by side, with one certificate, and gives the
// evidence in their order. It gives all or an error; what was logged by then
// stays logged and does no harm.
func (s *Signer) Sign(ctx context.Context, statements []evidence.Statement) ([]evidence.Signed, error) {
	signed := make([]evidence.Signed, len(statements))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(side)
	for i, statement := range statements {
		group.Go(func() error {
			var err error
			if signed[i], err = s.statement(ctx, statement); err != nil {
				return fmt.Errorf("signing %s: %w", statement.PredicateType, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return signed, nil
}

func (s *Signer) statement(ctx context.Context, st evidence.Statement) (evidence.Signed, error) {
	subjects, err := subjects(st)
	if err != nil {
		return evidence.Signed{}, err
	}
	payload, err := json.Marshal(st)
	if err != nil {
		return evidence.Signed{}, err
	}
	digest := sha256.Sum256(dsse.PAE(evidence.PayloadType, payload))
	bundle, err := s.sign(ctx, digest, func(b *protobundle.Bundle, sig []byte) {
		b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload:     payload,
			PayloadType: evidence.PayloadType,
			Signatures:  []*protodsse.Signature{{Sig: sig}},
		}}
	})
	if err != nil {
		return evidence.Signed{}, err
	}
	return evidence.Signed{PredicateType: st.PredicateType, Subjects: subjects, Bundle: bundle}, nil
}

// subjects gives the digests the evidence is found by, and refuses a statement
// that no verifier could use.
func subjects(st evidence.Statement) ([]v1.Hash, error) {
	if st.Type != evidence.StatementType || st.PredicateType == "" || len(st.Predicate) == 0 {
		return nil, errors.New("it is not an in-toto statement, version 1, with a predicate")
	}
	var hashes []v1.Hash
	for _, sub := range st.Subject {
		h, err := v1.NewHash("sha256:" + sub.Digest["sha256"])
		if err != nil {
			return nil, fmt.Errorf("its subject %s has no SHA-256 digest: %w", sub.Name, err)
		}
		hashes = append(hashes, h)
	}
	if len(hashes) == 0 {
		return nil, errors.New("it has no subject")
	}
	return hashes, nil
}

// SignBlob signs the bytes of r, read to the end, and gives the bundle: a
// message signature, as cosign sign-blob makes.
func (s *Signer) SignBlob(ctx context.Context, r io.Reader) ([]byte, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return nil, fmt.Errorf("signing blob: %w", err)
	}
	digest := [sha256.Size]byte(h.Sum(nil))
	bundle, err := s.sign(ctx, digest, func(b *protobundle.Bundle, sig []byte) {
		b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: digest[:]},
			Signature:     sig,
		}}
	})
	if err != nil {
		return nil, fmt.Errorf("signing blob: %w", err)
	}
	return bundle, nil
}

// conflicts is how often a log may say that it has the entry already. A
// signature is never the same twice, so signing again makes another entry.
const conflicts = 3

// sign signs a digest and gives the bundle, into which put places the
// signature. Timestamps and log entries are fetched side by side.
func (s *Signer) sign(ctx context.Context, digest [sha256.Size]byte, put func(*protobundle.Bundle, []byte)) ([]byte, error) {
	cred, err := s.certified(ctx)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		bundle, err := s.witnessed(ctx, cred, digest, put)
		if errors.Is(err, errConflict) && try < conflicts {
			continue
		}
		if err != nil {
			return nil, err
		}
		return encode(bundle)
	}
}

// witnessed makes one signature and has it dated and logged.
func (s *Signer) witnessed(ctx context.Context, cred *credential, digest [sha256.Size]byte, put func(*protobundle.Bundle, []byte)) (*protobundle.Bundle, error) {
	sig, err := cred.key.sign(digest)
	if err != nil {
		return nil, err
	}
	material := &protobundle.VerificationMaterial{
		Content:                   &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: cred.certificate.Raw}},
		TimestampVerificationData: &protobundle.TimestampVerificationData{},
	}
	bundle := &protobundle.Bundle{MediaType: evidence.BundleMediaType, VerificationMaterial: material}
	put(bundle, sig)

	var stamps []*protocommon.RFC3161SignedTimestamp
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		var err error
		stamps, err = s.timestamps(gctx, sig)
		return err
	})
	group.Go(func() error { return s.logEntries(gctx, cred, bundle) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	material.TimestampVerificationData.Rfc3161Timestamps = stamps
	return bundle, nil
}

// encode writes the bundle as JSON without the random spacing that protocol
// buffers' JSON has by design.
func encode(b *protobundle.Bundle) ([]byte, error) {
	data, err := protojson.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("writing bundle: %w", err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, data); err != nil {
		return nil, fmt.Errorf("writing bundle: %w", err)
	}
	return out.Bytes(), nil
}
