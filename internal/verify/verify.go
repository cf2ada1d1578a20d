// Package verify answers "is this exactly what was built, by whom it should
// be": it is the only maker of verdicts.
//
// Judge is the heart and does no I/O: evidence, a policy and a trust root in,
// a verdict out. Image fetches the evidence of an image first, Bundles reads
// it from files, and Blob judges one signed file.
//
// Only evidence signed by the policy's identity counts; anything else found
// beside it is named in the details and changes nothing, so that who can push
// to a registry can neither make an image pass nor make it fail. A signature
// is the predicate https://sigstore.dev/cosign/sign/v1 and no other. What a
// provenance claims is compared with the certificate it was signed under,
// field by field. Every refusal has a code; docs/verify.md lists them.
//
// The package fails closed: what it could not fetch, read or understand is
// Fail or Unknown, never Pass. Its limits: it believes the trust root and the
// OIDC issuer, and it cannot see evidence that a registry hides.
package verify

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// Options say by what to judge.
type Options struct {
	// Policy names the identity that counts and the evidence that must exist.
	Policy policy.Policy
	// Anchor is the trust root. The log entry and the certificate timestamp
	// are demanded when it lists logs of that kind; a timestamp always.
	Anchor trust.Anchor
	// Now becomes the verdict's time. Certificates are judged by the time
	// they were used at, which the evidence proves, and not by this one.
	Now time.Time
	// AllowDirty lets a provenance pass that says its source was changed.
	AllowDirty bool
	// Explain adds to the verdict all that was found and whether it counts; of
	// an index, Image then looks at each platform too, which takes requests.
	Explain bool
}

// Judge judges the evidence about one image manifest or index. It looks at the
// bundles side by side and does nothing but compute.
func Judge(subject v1.Hash, signed []evidence.Signed, o Options) verdict.Verdict {
	return judge(subject, signed, nil, o).verdict()
}

// opinion is a judgement under way.
type opinion struct {
	Options
	subject v1.Hash
	// heard are all bundles, and witnesses those of wanted kinds, each judged
	// on its own.
	heard, witnesses []witness
	// asides are facts about what was found and not judged.
	asides []verdict.Detail
	// accounts are the provenances among the witnesses, read and compared.
	accounts []account
	checks   []verdict.Check
	// carriers explain the checks, when asked for.
	carriers []verdict.Carrier
}

func judge(subject v1.Hash, signed []evidence.Signed, old []registry.Legacy, o Options) *opinion {
	p := &opinion{Options: o, subject: subject}
	p.hear(p.exhibits(signed, old))
	for _, w := range p.witnesses {
		if w.accepted() && isProvenance(w.predicateType) {
			p.accounts = append(p.accounts, p.account(w))
		}
	}
	p.checks = append(p.checks, p.checkSubject())
	for _, link := range p.links() {
		if p.wants(link.name) {
			p.checks = append(p.checks, link.check()...)
		}
	}
	if o.Explain {
		p.carriers = []verdict.Carrier{p.carrier("")}
	}
	return p
}

// link is one kind of evidence by its name in the policy, and how it is judged.
type link struct {
	name  string
	check func() []verdict.Check
}

func (p *opinion) links() []link {
	return []link{
		{policy.Signature, p.checkSignature},
		{policy.SBOMLink, p.checkSBOM},
		{policy.Scan, p.checkScan},
		{policy.Provenance, p.checkProvenance},
	}
}

// wants says that the policy asks for a link. A policy that asks for nothing,
// or for something that does not exist, was not read by package policy; it is
// taken to ask for everything.
func (p *opinion) wants(name string) bool {
	for _, asked := range p.Policy.Evidence {
		if !slices.Contains(policy.AllEvidence(), asked) {
			return true
		}
	}
	return len(p.Policy.Evidence) == 0 || p.Policy.Wants(name)
}

func (p *opinion) verdict() verdict.Verdict {
	image := p.subject.String()
	if p.Policy.Image != "" {
		image = p.Policy.Image + "@" + image
	}
	return verdict.Verdict{
		Subject:      image,
		Digest:       p.subject.String(),
		At:           p.Now.UTC(),
		PolicyDigest: p.Policy.Digest,
		Checks:       p.checks,
		Carriers:     p.carriers,
	}
}

// offered is a bundle not yet read, and of what kind it is said to be.
type offered struct {
	predicateType string
	read          func() (exhibit, *refusal)
}

func (p *opinion) exhibits(signed []evidence.Signed, old []registry.Legacy) []offered {
	var all []offered
	for _, s := range signed {
		all = append(all, offered{s.PredicateType, func() (exhibit, *refusal) { return open(s.Bundle, p.subject) }})
	}
	for _, l := range old {
		switch l.Kind {
		case "sig":
			all = append(all, offered{evidence.Signature, func() (exhibit, *refusal) { return openLegacySignature(l) }})
		case "att":
			all = append(all, offered{l.PredicateType, func() (exhibit, *refusal) { return openLegacyAttestation(l, p.subject) }})
		default:
			p.asides = append(p.asides, detail("not judged", "%s under tag %s, which nobody signed", l.Kind, l.Tag))
		}
	}
	return all
}

// hear judges each bundle on its own, side by side. Bundles of kinds that no
// policy can ask for, such as other scanners' reports, are only counted.
func (p *opinion) hear(all []offered) {
	court, err := newCourt(p.Options)
	results := make([]witness, len(all))
	var group sync.WaitGroup
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, one := range all {
		if err != nil {
			results[i] = witness{predicateType: one.predicateType, refusal: refuse(codeTrustRoot, "%v", err)}
			continue
		}
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			results[i] = court.hear(p.subject, one.predicateType, one.read)
		})
	}
	group.Wait()
	p.heard = results
	others := map[string]int{}
	for _, w := range results {
		if w.isWanted() {
			p.witnesses = append(p.witnesses, w)
			continue
		}
		others[w.predicateType]++
	}
	p.asides = append(p.asides, counted("not judged", "%s of predicate %s", others)...)
}

// checkSubject says whether any evidence of the policy's identity names this
// very digest.
func (p *opinion) checkSubject() verdict.Check {
	const name = "subject"
	accepted := 0
	for _, w := range p.witnesses {
		if w.accepted() {
			accepted++
		}
	}
	if accepted > 0 {
		return pass(name, fmt.Sprintf("%s by the policy's identity %s this digest", plural(accepted, "bundle"), verb(accepted, "names", "name")), append(p.asides, p.ignored()...)...)
	}
	if len(p.witnesses) == 0 {
		return fail(name, codeNoEvidence, "no evidence that the policy asks for is attached to "+p.subject.String(), p.asides...)
	}
	worst := p.worst()
	return fail(name, worst.code, worst.reason, append(p.asides, p.ignored()...)...)
}
