package verify

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// witness is one bundle, judged on its own.
type witness struct {
	predicateType string
	// statement and signedAt are set for an accepted witness only; certificate
	// and stamps also when only its identity is another.
	statement   evidence.Statement
	certificate certificate.Summary
	stamps      []verdict.Stamp
	signedAt    time.Time
	// legacy says that it came in the format of cosign 2.
	legacy bool
	// refusal is nil for an accepted witness.
	refusal *refusal
}

func (w witness) accepted() bool { return w.refusal == nil }

func isProvenance(predicateType string) bool {
	return predicateType == evidence.Provenance || predicateType == evidence.ProvenanceV02
}

// isWanted says that a policy could ask for the witness's kind, or that a
// verified one is of use. A bundle whose kind is not known, being unreadable,
// may be any.
func (w witness) isWanted() bool {
	switch w.predicateType {
	case "", evidence.Signature, evidence.CycloneDX, evidence.Scan:
		return true
	}
	return isProvenance(w.predicateType) || evidence.IsOpenVEX(w.predicateType)
}

// court holds what every bundle is judged by.
type court struct {
	Options
	subjectName, sourceRef *regexp.Regexp
	// standard judges by all that the trust root offers, github as GitHub's
	// own authority certifies: without logs, by a signed timestamp.
	standard, github *sigstore.Verifier
}

func newCourt(o Options) (*court, error) {
	c := &court{Options: o}
	material := o.Anchor.Material
	if material == nil {
		return nil, fmt.Errorf("there is no trust root to judge by")
	}
	options := []sigstore.VerifierOption{sigstore.WithObserverTimestamps(1), sigstore.WithoutStatementPredicate()}
	if len(material.RekorLogs()) > 0 {
		options = append(options, sigstore.WithTransparencyLog(1))
	}
	if len(material.CTLogs()) > 0 {
		options = append(options, sigstore.WithSignedCertificateTimestamps(1))
	}
	var err error
	if c.standard, err = sigstore.NewVerifier(material, options...); err != nil {
		return nil, err
	}
	if c.github, err = sigstore.NewVerifier(material, sigstore.WithSignedTimestamps(1), sigstore.WithoutStatementPredicate()); err != nil {
		return nil, err
	}
	if c.subjectName, err = regexp.Compile(o.Policy.Identity.SubjectRegexp()); err != nil {
		return nil, err
	}
	c.sourceRef, err = regexp.Compile(o.Policy.Identity.SourceRefRegexp())
	return c, err
}

// exhibit is a bundle that was read: the library's view of it, and what it
// states.
type exhibit struct {
	entity    *bundle.Bundle
	statement evidence.Statement
	// artifact is what the signature must be about by the library's own
	// reading: the subject of a statement, or the payload of a signature in
	// the format of cosign 2.
	artifact v1.Hash
	legacy   bool
}

// hear judges one bundle: whom it is about, whether it is genuine, whose it is,
// in this order, since each step costs more than the one before. The predicate
// type is what the bundle is said to be of, until it is read.
func (c *court) hear(subject v1.Hash, predicateType string, read func() (exhibit, *refusal)) (w witness) {
	w.predicateType = predicateType
	// The libraries below parse what a stranger wrote. Should one panic, that
	// is the end of the stranger's bundle and not of the program.
	defer func() {
		if p := recover(); p != nil {
			w.refusal = refuse(codeUnreadable, "reading it ended in a panic: %v", p)
		}
	}()
	x, no := read()
	if no != nil {
		w.refusal = no
		return w
	}
	w.predicateType, w.legacy = x.statement.PredicateType, x.legacy
	if !w.isWanted() {
		return w
	}
	if !x.statement.IsAbout(subject) {
		w.refusal = refuse(codeOtherSubject, "it is about %s, not about %s", list(x.statement.Digests()), subject)
		return w
	}
	result, no := c.genuine(x.entity, x.artifact)
	if no != nil {
		w.refusal = no
		return w
	}
	w.certificate, w.stamps = *result.Signature.Certificate, stamps(x, result)
	if w.refusal = c.ours(w.certificate, c.Policy.Identity); w.refusal != nil {
		return w
	}
	w.statement, w.signedAt = x.statement, latest(result.VerifiedTimestamps)
	return w
}

// open reads a bundle and the statement in it.
func open(raw []byte, subject v1.Hash) (exhibit, *refusal) {
	if len(raw) > evidence.MaxBundle {
		return exhibit{}, refuse(codeUnreadable, "%d bytes are more than the %d allowed", len(raw), evidence.MaxBundle)
	}
	entity := &bundle.Bundle{}
	if err := entity.UnmarshalJSON(raw); err != nil {
		return exhibit{}, refuse(codeUnreadable, "it is no Sigstore bundle: %v", err)
	}
	return stated(entity, subject)
}

// stated reads the statement of a bundle.
func stated(entity *bundle.Bundle, subject v1.Hash) (exhibit, *refusal) {
	envelope := entity.GetDsseEnvelope()
	if envelope == nil || envelope.GetPayloadType() != evidence.PayloadType {
		return exhibit{}, refuse(codeUnreadable, "it holds no in-toto statement")
	}
	statement, err := evidence.DecodeStatement(envelope.GetPayload())
	if err != nil {
		return exhibit{}, refuse(codeUnreadable, "%v", err)
	}
	return exhibit{entity: entity, statement: statement, artifact: subject}, nil
}

// readOnce is a bundle whose content is taken apart once: the library asks for it
// at each step of a verification, and an SBOM's is megabytes.
type readOnce struct {
	*bundle.Bundle
	content sigstore.SignatureContent
}

func (r readOnce) SignatureContent() (sigstore.SignatureContent, error) { return r.content, nil }

// genuine checks all that is cryptography: signature, certificate, log,
// timestamps, and the subject once more by the library's own reading.
func (c *court) genuine(entity *bundle.Bundle, artifact v1.Hash) (*sigstore.VerificationResult, *refusal) {
	content, err := entity.VerificationContent()
	if err != nil {
		return nil, refuse(codeUnreadable, "its certificate cannot be read: %v", err)
	}
	leaf := content.Certificate()
	if leaf == nil {
		return nil, refuse(codeNotKeyless, "it is signed with a key; the policy asks for an identity")
	}
	digest, err := hex.DecodeString(artifact.Hex)
	if err != nil {
		return nil, refuse(codeOtherSubject, "%s is no digest", artifact)
	}
	signature, err := entity.SignatureContent()
	if err != nil {
		return nil, refuse(codeUnreadable, "its signature cannot be read: %v", err)
	}
	verifier := c.verifierFor(leaf)
	// Whose certificate it is, ours judges itself, to say what differs.
	result, err := verifier.Verify(readOnce{entity, signature}, sigstore.NewPolicy(
		sigstore.WithArtifactDigest(artifact.Algorithm, digest), sigstore.WithoutIdentitiesUnsafe()))
	if err != nil {
		return nil, c.diagnose(verifier, entity, leaf, sigstore.ArtifactDigest{Algorithm: artifact.Algorithm, Digest: digest}, err)
	}
	return result, nil
}

// gitHubAuthority is the organisation of GitHub's own certificate authority,
// which attests private repositories. It keeps no public log.
const gitHubAuthority = "GitHub, Inc."

// verifierFor chooses by the certificate's issuer, as gh attestation verify
// does. A certificate that merely names GitHub as issuer gains nothing: it must
// still be issued by an authority of that name in the trust root.
func (c *court) verifierFor(leaf *x509.Certificate) *sigstore.Verifier {
	if slices.Equal(leaf.Issuer.Organization, []string{gitHubAuthority}) {
		return c.github
	}
	return c.standard
}

// ours says whether a certificate is of the policy's identity. Every
// comparison is of whole values.
func (c *court) ours(cert certificate.Summary, want policy.Identity) *refusal {
	switch {
	case want.Issuer == "" || cert.Issuer != want.Issuer:
		return refuse(codeIssuer, "it is by %s, vouched for by the issuer %s, not by %q", shown(cert.SubjectAlternativeName), shown(cert.Issuer), want.Issuer)
	case !c.subjectName.MatchString(cert.SubjectAlternativeName):
		return refuse(codeIdentity, "it is by another identity: %s", shown(cert.SubjectAlternativeName))
	case want.Repository != "" && cert.SourceRepositoryURI != want.SourceRepositoryURI():
		return refuse(codeIdentity, "it is by %s for the source repository %s, not %s", shown(cert.SubjectAlternativeName), shown(cert.SourceRepositoryURI), want.SourceRepositoryURI())
	case !c.sourceRef.MatchString(cert.SourceRepositoryRef):
		return refuse(codeIdentity, "it is for the source ref %s, not %s", shown(cert.SourceRepositoryRef), want.Ref)
	}
	return nil
}

func latest(stamps []sigstore.TimestampVerificationResult) time.Time {
	var t time.Time
	for _, s := range stamps {
		if s.Timestamp.After(t) {
			t = s.Timestamp
		}
	}
	return t.UTC()
}
