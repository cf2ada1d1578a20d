package localtrust

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/mail"
	"time"

	coreoidc "github.com/coreos/go-oidc/v3/oidc"
	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/sigstore/fulcio/pkg/ca"
	"github.com/sigstore/fulcio/pkg/ca/baseca"
	"github.com/sigstore/fulcio/pkg/certificate"
	"github.com/sigstore/fulcio/pkg/identity"
	"github.com/sigstore/fulcio/pkg/identity/github"

	"github.com/hallmark-sh/hallmark/internal/oidc"
)

// organization is in every certificate of the authorities. Verifiers such as
// gh choose the root of trust by it.
const organization = "hallmark local trust"

// lifetime is how long a signing certificate is valid, as Fulcio's.
const lifetime = 10 * time.Minute

// authorityYears is how long the two authorities are valid.
const authorityYears = 10

// caTemplate is the issuing authority. Its extended key usage limits all below
// it to signing code, which Fulcio asks of an intermediate.
func caTemplate(created time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{organization}, CommonName: "certificate authority"},
		NotBefore:             created.Add(-time.Minute),
		NotAfter:              created.AddDate(authorityYears, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
}

// newChain certifies key after the template with a new root, whose key it
// forgets, and gives the certificate and its root.
func newChain(template *x509.Certificate, key *ecdsa.PublicKey, created time.Time) ([]*x509.Certificate, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	name := template.Subject
	name.CommonName += " root " + fingerprint(&rootKey.PublicKey)
	template.Subject.CommonName += " " + fingerprint(key)
	root := &x509.Certificate{
		Subject:               name,
		NotBefore:             template.NotBefore,
		NotAfter:              template.NotAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	rootCert, err := certify(root, root, &rootKey.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	cert, err := certify(template, rootCert, key, rootKey)
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{cert, rootCert}, nil
}

func certify(template, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// authority is Fulcio's own issuing code with our keys.
func (s *state) authority() *baseca.BaseCA {
	return &baseca.BaseCA{SignerWithChain: &ca.SignerCerts{Certs: s.caChain, Signer: s.caKey}}
}

// issue certifies key for the holder of a verified token: a certificate of
// Fulcio's profile with an embedded certificate timestamp (RFC 6962).
func (l *Local) issue(ctx context.Context, holder identity.Principal, key crypto.PublicKey) (*ca.CodeSigningCertificate, error) {
	pre, err := l.ca.CreatePrecertificate(ctx, dated{holder, l.now()}, key)
	if err != nil {
		return nil, fmt.Errorf("making precertificate: %w", err)
	}
	sct, err := l.certificateTimestamp(pre)
	if err != nil {
		return nil, fmt.Errorf("making certificate timestamp: %w", err)
	}
	cert, err := l.ca.IssueFinalCertificate(ctx, pre, sct)
	if err != nil {
		return nil, fmt.Errorf("making certificate: %w", err)
	}
	return cert, nil
}

// certificateTimestamp signs the promise to log the certificate. There is no
// log behind it: the package comment says so.
func (l *Local) certificateTimestamp(pre *ca.CodeSigningPreCertificate) (*ct.SignedCertificateTimestamp, error) {
	var chain []*ctx509.Certificate
	for _, c := range append([]*x509.Certificate{pre.PreCert}, pre.CertChain...) {
		parsed, err := ctx509.ParseCertificate(c.Raw)
		if ctx509.IsFatal(err) {
			return nil, err
		}
		chain = append(chain, parsed)
	}
	millis := uint64(l.now().UnixMilli())
	leaf, err := ct.MerkleTreeLeafFromChain(chain, ct.PrecertLogEntryType, millis)
	if err != nil {
		return nil, err
	}
	id, err := keyID(&l.state.ctKey.PublicKey)
	if err != nil {
		return nil, err
	}
	sct := &ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: id}, Timestamp: millis}
	input, err := ct.SerializeSCTSignatureInput(*sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(input)
	sig, err := ecdsa.SignASN1(rand.Reader, l.state.ctKey, digest[:])
	if err != nil {
		return nil, err
	}
	sct.Signature = ct.DigitallySigned{
		Algorithm: cttls.SignatureAndHashAlgorithm{Hash: cttls.SHA256, Signature: cttls.ECDSA},
		Signature: sig,
	}
	return sct, nil
}

// keyID is the SHA-256 of a key in PKIX form, a log's id by RFC 6962.
func keyID(key crypto.PublicKey) ([sha256.Size]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(der), nil
}

// holder makes the certificate's identity out of a verified token, by Fulcio's
// rules: a workflow if the token claims one, and else an e-mail address.
func holder(ctx context.Context, token *coreoidc.IDToken) (identity.Principal, error) {
	var c oidc.Claims
	if err := token.Claims(&c); err != nil {
		return nil, err
	}
	if c.IsWorkflow() {
		// The successor, ciprovider, wants the extensions spelled out as
		// templates of a configuration; this is the same list in code.
		//lint:ignore SA1019 see above
		return github.WorkflowPrincipalFromIDToken(ctx, token) //nolint:staticcheck // see above
	}
	if c.Email == "" || !c.EmailVerified {
		return nil, errors.New("the token has neither a workflow nor a verified e-mail address")
	}
	if a, err := mail.ParseAddress(c.Email); err != nil || a.Address != c.Email {
		return nil, fmt.Errorf("%q is not an e-mail address", c.Email)
	}
	return person{address: c.Email, subject: token.Subject, issuer: token.Issuer}, nil
}

// person is the identity of an e-mail address.
type person struct{ address, subject, issuer string }

func (p person) Name(context.Context) string { return p.address }

func (p person) Embed(_ context.Context, cert *x509.Certificate) (err error) {
	cert.EmailAddresses = []string{p.address}
	cert.ExtraExtensions, err = certificate.Extensions{Issuer: p.issuer, Subject: p.subject}.Render()
	return err
}

// dated is an identity that sets a certificate's lifetime by our clock;
// Fulcio's code reads the machine's.
type dated struct {
	identity.Principal
	now time.Time
}

func (d dated) Embed(ctx context.Context, cert *x509.Certificate) error {
	cert.NotBefore, cert.NotAfter = d.now, d.now.Add(lifetime)
	return d.Principal.Embed(ctx, cert)
}

// oidTimestamping is the extended key usage of a timestamp authority, which
// RFC 3161 section 2.3 wants critical and alone.
var oidTimestamping = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
