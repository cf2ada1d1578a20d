package release

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/provenance"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// links are the kinds of evidence by the name the policy file has for them.
var links = map[string]string{
	policy.Signature:  evidence.Signature,
	policy.SBOMLink:   evidence.CycloneDX,
	policy.Scan:       evidence.Scan,
	policy.Provenance: evidence.Provenance,
}

func linkOf(predicateType string) string {
	for link, p := range links {
		if p == predicateType {
			return link
		}
	}
	return ""
}

// plan is what is still to be signed and attached.
type plan struct {
	// held are the valid bundles the registry has, by digest.
	held map[v1.Hash][]evidence.Signed
	// missing are the bundles to attach, by digest.
	missing map[v1.Hash][]evidence.Signed
	// toSign are the statements no valid bundle exists for.
	toSign []unsigned
}

// unsigned is one statement to be signed, and where its bundle is lacking.
type unsigned struct {
	link    string
	about   []v1.Hash
	lacking []v1.Hash
}

// plan compares the evidence wanted with the evidence held.
func (r *run) plan(ctx context.Context) (*plan, error) {
	defer r.clock.start("plan")()
	subjects := r.subjects()
	held, err := r.heldEvidence(ctx, subjects)
	if err != nil {
		return nil, err
	}
	p := &plan{held: held, missing: map[v1.Hash][]evidence.Signed{}}
	for _, subject := range subjects {
		p.missing[subject] = nil
	}
	for _, want := range r.wanted(subjects) {
		for _, subject := range want.about {
			if p.has(subject, want.link) {
				continue
			}
			if elsewhere, ok := r.elsewhere(p, subject, want); ok {
				p.missing[subject] = append(p.missing[subject], elsewhere)
				continue
			}
			want.lacking = append(want.lacking, subject)
		}
		if len(want.lacking) > 0 {
			p.toSign = append(p.toSign, want)
		}
	}
	return p, nil
}

// wanted lists the statements of a whole release. The signature and the
// provenance are about all digests at once; an SBOM and a scan are each about
// the digest whose packages they list.
func (r *run) wanted(subjects []v1.Hash) []unsigned {
	var all []unsigned
	if r.Policy.Wants(policy.Signature) {
		all = append(all, unsigned{link: policy.Signature, about: subjects})
	}
	if r.Policy.Wants(policy.Provenance) {
		all = append(all, unsigned{link: policy.Provenance, about: subjects})
	}
	for _, subject := range subjects {
		if r.Policy.Wants(policy.SBOMLink) {
			all = append(all, unsigned{link: policy.SBOMLink, about: []v1.Hash{subject}})
		}
		if r.Policy.Wants(policy.Scan) {
			all = append(all, unsigned{link: policy.Scan, about: []v1.Hash{subject}})
		}
	}
	return all
}

func (p *plan) has(subject v1.Hash, link string) bool {
	for _, signed := range p.held[subject] {
		if signed.PredicateType == links[link] {
			return true
		}
	}
	return false
}

// elsewhere finds a valid bundle that is about subject but hangs only on
// another digest of the same release, as a crash between two attachments
// leaves it.
func (r *run) elsewhere(p *plan, subject v1.Hash, want unsigned) (evidence.Signed, bool) {
	for _, other := range want.about {
		for _, signed := range p.held[other] {
			if signed.PredicateType == links[want.link] && r.accepts(subject, signed) {
				return signed, true
			}
		}
	}
	return evidence.Signed{}, false
}

// sign has every statement of the plan signed with one certificate.
func (r *run) sign(ctx context.Context, p *plan) error {
	defer r.clock.start("sign")()
	if len(p.toSign) == 0 {
		return nil
	}
	r.step("sign", "%d statements", len(p.toSign))
	claims, err := r.Signer.Claims(ctx)
	if err != nil {
		return fmt.Errorf("obtaining an identity to sign with: %w", err)
	}
	statements := make([]evidence.Statement, 0, len(p.toSign))
	for _, want := range p.toSign {
		predicate, err := r.predicate(want, claims)
		if err != nil {
			return fmt.Errorf("making the %s predicate: %w", want.link, err)
		}
		statement, err := evidence.About(r.Policy.Image, links[want.link], predicate, want.about...)
		if err != nil {
			return err
		}
		statements = append(statements, statement)
	}
	signed, err := r.Signer.Sign(ctx, statements)
	if err != nil {
		return fmt.Errorf("signing %d statements: %w", len(statements), err)
	}
	for i, want := range p.toSign {
		for _, subject := range want.lacking {
			p.missing[subject] = append(p.missing[subject], signed[i])
		}
	}
	return nil
}

func (r *run) predicate(want unsigned, claims oidc.Claims) ([]byte, error) {
	switch want.link {
	case policy.Signature:
		return []byte("{}"), nil
	case policy.Provenance:
		return provenance.Predicate(r.Source, r.result.Built, claims)
	case policy.SBOMLink:
		for _, document := range r.result.Documents {
			if document.Subject == want.about[0] {
				return document.JSON, nil
			}
		}
	case policy.Scan:
		for _, report := range append(r.reports, r.result.Report) {
			if report.Subject == want.about[0] {
				return json.Marshal(report)
			}
		}
	}
	return nil, fmt.Errorf("nothing was made about %s", want.about[0])
}

// reasons joins the reasons of the checks that did not pass.
func reasons(v verdict.Verdict) string {
	var all []string
	for _, check := range v.Failing() {
		all = append(all, check.Name+": "+check.Reason)
	}
	return strings.Join(all, "; ")
}
