package verify

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

var commitTag = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})(-dirty)?$`)

// checkTag compares a tag that is a commit, as those of releases are, with the
// commit the image was built from. Other tags say nothing that could be
// compared.
//
// Some good provenance must name the commit; where the policy does without
// provenance, the certificate of a signature must.
func (p *opinion) checkTag(tag string) []verdict.Check {
	const name = "tag"
	if !commitTag.MatchString(tag) {
		return nil
	}
	found := p.builtFrom()
	for _, from := range found {
		if from == tag {
			return []verdict.Check{pass(name, fmt.Sprintf("tag %s names the commit it was built from", tag))}
		}
	}
	if len(found) == 0 {
		return []verdict.Check{unknown(name, codeTagUnproven, fmt.Sprintf("tag %s names a commit, and nothing proves which commit the image was built from", tag))}
	}
	return []verdict.Check{fail(name, codeTagMoved, fmt.Sprintf("tag %s stands for an image that was built from %s", tag, strings.Join(found, " and ")))}
}

// builtFrom lists the commits the image was provably built from, as their tags.
func (p *opinion) builtFrom() []string {
	var tags []string
	for _, a := range p.accounts {
		switch {
		case !a.good() || a.claim.Commit == "":
		case a.claim.Dirty:
			tags = append(tags, a.claim.Commit+"-dirty")
		default:
			tags = append(tags, a.claim.Commit)
		}
	}
	if len(p.accounts) > 0 || p.wants(policy.Provenance) {
		return tags
	}
	for _, w := range p.witnesses {
		if w.accepted() && w.certificate.SourceRepositoryDigest != "" {
			tags = append(tags, w.certificate.SourceRepositoryDigest)
		}
	}
	return tags
}
