package verify

import (
	"time"

	"github.com/hallmark-sh/hallmark/internal/evidence"
)

// Proof is what a verdict that passed rests on: documents that the policy's
// identity signed and that are about the image. Documents of other identities
// are never among them.
type Proof struct {
	// SBOM is the newest CycloneDX document, byte for byte as it was attested,
	// and Signed when it was. It is empty when there is none, which passes only
	// by a policy that does not ask for one.
	SBOM   []byte
	Signed time.Time
	// Repository and Commit are the newest provenance's that agrees with its
	// certificate; empty without one.
	Repository, Commit string
	// VEX are the OpenVEX documents.
	VEX [][]byte
}

func (p *opinion) proof() Proof {
	var proof Proof
	for _, w := range p.witnesses {
		if w.accepted() && w.predicateType == evidence.CycloneDX && (proof.SBOM == nil || w.signedAt.After(proof.Signed)) {
			proof.SBOM, proof.Signed = w.statement.Predicate, w.signedAt
		}
		if w.accepted() && evidence.IsOpenVEX(w.predicateType) {
			proof.VEX = append(proof.VEX, w.statement.Predicate)
		}
	}
	var newest time.Time
	for _, a := range p.accounts {
		if a.good() && !a.witness.signedAt.Before(newest) {
			newest = a.witness.signedAt
			proof.Repository, proof.Commit = a.claim.Repository, a.claim.Commit
		}
	}
	return proof
}
