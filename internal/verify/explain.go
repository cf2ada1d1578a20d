package verify

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// carrier gives what was found on the opinion's own digest, whether or not it
// counts.
func (p *opinion) carrier(platform string) verdict.Carrier {
	c := verdict.Carrier{Digest: p.subject.String(), Platform: platform, Outcome: verdict.Pass, Bundles: []verdict.Bundle{}}
	if failing := p.verdict().Failing(); len(failing) > 0 {
		c.Outcome, c.Reason = failing[0].Outcome, failing[0].Reason
	}
	for _, w := range p.heard {
		c.Bundles = append(c.Bundles, w.bundle())
	}
	slices.SortStableFunc(c.Bundles, func(a, b verdict.Bundle) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(a.Code, b.Code))
	})
	return c
}

// The kinds of bundles that are no link of the chain.
const (
	kindVEX   = "vex"
	kindOther = "other"
)

// kinds are the kinds of bundles, in the order they are told.
var kinds = append(policy.AllEvidence(), kindVEX, kindOther)

func kindOf(predicateType string) string {
	switch {
	case predicateType == evidence.Signature:
		return policy.Signature
	case predicateType == evidence.CycloneDX:
		return policy.SBOMLink
	case predicateType == evidence.Scan:
		return policy.Scan
	case isProvenance(predicateType):
		return policy.Provenance
	case evidence.IsOpenVEX(predicateType):
		return kindVEX
	}
	return kindOther
}

func (w witness) bundle() verdict.Bundle {
	b := verdict.Bundle{
		Kind:          kindOf(w.predicateType),
		PredicateType: shown(w.predicateType),
		Counts:        w.accepted() && w.isWanted(),
		Identity:      shown(w.certificate.SubjectAlternativeName),
		Issuer:        shown(w.certificate.Issuer),
		Stamps:        w.stamps,
	}
	switch {
	case w.refusal != nil:
		b.Code, b.Reason = w.refusal.code, w.refusal.reason
	case !w.isWanted():
		b.Reason = "no policy can ask for this predicate, so it was not judged"
	}
	return b
}

// stamps tells by whose word a genuine bundle was signed when: each entry in a
// log, and each timestamp of an authority.
func stamps(x exhibit, result *sigstore.VerificationResult) []verdict.Stamp {
	var out []verdict.Stamp
	entries, err := x.entity.TlogEntries()
	if err != nil {
		entries = nil // the library has just verified them
	}
	for _, e := range entries {
		s := verdict.Stamp{By: verdict.ByLog, LogIndex: new(e.LogIndex())}
		// An entry of a log of the second generation has no time of its own.
		if at := e.IntegratedTime(); at.Unix() > 0 {
			s.At = new(at.UTC())
		}
		out = append(out, s)
	}
	for _, t := range result.VerifiedTimestamps {
		if t.Type != "Tlog" {
			out = append(out, verdict.Stamp{By: verdict.ByAuthority, At: new(t.Timestamp.UTC()), URI: shown(t.URI)})
		}
	}
	return out
}

// platforms looks at what the platforms of an index carry themselves: an
// admission controller may meet either digest. What could not be looked at is
// unknown.
func platforms(ctx context.Context, reg *registry.Client, index name.Digest, o Options) ([]verdict.Carrier, error) {
	members, err := reg.Platforms(ctx, index)
	if err != nil {
		return nil, err
	}
	members = slices.DeleteFunc(members, func(m image.Platform) bool { return m.Digest.String() == index.DigestStr() })
	carriers := make([]verdict.Carrier, len(members))
	var group errgroup.Group
	group.SetLimit(4)
	for i, member := range members {
		group.Go(func() error {
			held, err := reg.Find(ctx, index.Context().Digest(member.Digest.String()))
			if err != nil {
				carriers[i] = unseen(member, err)
				return nil
			}
			carriers[i] = judge(member.Digest, held.Signed(), held.Legacy, o).carrier(member.Name)
			return nil
		})
	}
	return carriers, group.Wait()
}

func unseen(p image.Platform, err error) verdict.Carrier {
	return verdict.Carrier{
		Digest: p.Digest.String(), Platform: p.Name,
		Outcome: verdict.Unknown, Reason: shown(err.Error()), Bundles: []verdict.Bundle{},
	}
}
