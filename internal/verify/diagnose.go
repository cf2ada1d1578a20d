package verify

import (
	"crypto/x509"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
)

// diagnose finds what made the library refuse a bundle, for the message. It
// never turns a refusal into anything else: whatever it finds or does not find,
// the bundle stays refused.
func (c *court) diagnose(verifier *sigstore.Verifier, entity *bundle.Bundle, leaf *x509.Certificate, digest sigstore.ArtifactDigest, refused error) *refusal {
	material := c.Anchor.Material
	content, err := entity.VerificationContent()
	if err != nil {
		return refuse(codeUnreadable, "its certificate cannot be read: %v", err)
	}
	signature, err := entity.SignatureContent()
	if err != nil {
		return refuse(codeUnreadable, "its signature cannot be read: %v", err)
	}
	if sigstore.VerifySignatureWithArtifactDigests(signature, content, material, []sigstore.ArtifactDigest{digest}) != nil {
		return refuse(codeSignature, "its signature does not fit its content: the one or the other was changed")
	}
	logged, err := verifier.VerifyTransparencyLogInclusion(entity)
	if err != nil {
		if entries, _ := entity.TlogEntries(); len(entries) == 0 {
			return refuse(codeNoLogEntry, "it is in no transparency log")
		}
		return refuse(codeLogEntry, "its log entry does not hold: %v", err)
	}
	stamps, err := verifier.VerifyObserverTimestamps(entity, logged)
	if err != nil {
		if given, _ := entity.Timestamps(); len(given) == 0 {
			return refuse(codeNoTimestamp, "nothing proves when it was signed")
		}
		return refuse(codeTimestamp, "its timestamp does not hold: %v", err)
	}
	for _, stamp := range stamps {
		if no := c.diagnoseCertificate(leaf, stamp); no != nil {
			return no
		}
	}
	return refuse(codeInvalid, "it does not verify: %v", refused)
}

func (c *court) diagnoseCertificate(leaf *x509.Certificate, stamp sigstore.TimestampVerificationResult) *refusal {
	material := c.Anchor.Material
	chains, err := sigstore.VerifyLeafCertificate(stamp.Timestamp, leaf, material)
	if err != nil {
		if _, err := sigstore.VerifyLeafCertificate(leaf.NotBefore, leaf, material); err != nil {
			return refuse(codeUntrusted, "its certificate is not by an authority of the trust root")
		}
		return refuse(codeExpired, "it was signed at %s, its certificate was valid from %s to %s", moment(stamp.Timestamp), moment(leaf.NotBefore), moment(leaf.NotAfter))
	}
	if len(material.CTLogs()) == 0 || c.verifierFor(leaf) == c.github {
		return nil
	}
	if err := sigstore.VerifySignedCertificateTimestamp(chains, 1, material); err != nil {
		return refuse(codeNoSCT, "its certificate is in no certificate log of the trust root: %v", err)
	}
	return nil
}
