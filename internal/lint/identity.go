package lint

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// signer is one identity that a policy accepts.
type signer struct {
	o    *object
	path string
	identity
	extensions bool
	// stars says that a star in the subject stands for any text, as it does in
	// the older policies.
	stars bool
}

type signers []signer

func (e *estate) signers() signers {
	var all signers
	for i := range e.images {
		p := &e.images[i]
		for a, attestor := range p.Spec.Attestors {
			if attestor.Cosign == nil || attestor.Cosign.Keyless == nil {
				continue
			}
			keyless := attestor.Cosign.Keyless
			path := fmt.Sprintf("spec.attestors[%d].cosign.keyless", a)
			for n, id := range keyless.Identities {
				all = append(all, signer{&p.object, fmt.Sprintf("%s.identities[%d]", path, n), id, len(keyless.AdditionalExtensions) > 0, false})
			}
		}
	}
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		add := func(path string, attestors []legacyAttestor) {
			for a, attestor := range attestors {
				for n, entry := range attestor.Entries {
					if entry.Keyless != nil {
						all = append(all, signer{&p.object, fmt.Sprintf("%s[%d].entries[%d].keyless", path, a, n),
							entry.Keyless.identity, len(entry.Keyless.AdditionalExtensions) > 0 && v.bundles(), true})
					}
				}
			}
		}
		add(path+".attestors", v.Attestors)
		for n, attestation := range v.Attestations {
			add(fmt.Sprintf("%s.attestations[%d].attestors", path, n), attestation.Attestors)
		}
	})
	return all
}

// compiled refuses identities whose expressions are none: no signature ever
// passes them, and what else they would let in nobody can say.
func (all signers) compiled() error {
	for _, s := range all {
		for field, expression := range map[string]string{".subjectRegExp": s.SubjectRegExp, ".issuerRegExp": s.IssuerRegExp} {
			if _, err := regexp.Compile(expression); err != nil {
				return s.o.Wrong(s.o.node(s.path+field), "reading %s of %s: %s", strings.TrimPrefix(field, "."), s.o.name(), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			}
		}
	}
	return nil
}

// strangers are identities that no sensible policy means.
var strangers = []string{
	"https://github.com/mallory/tool/.github/workflows/build.yml@refs/heads/x",
	"https://gitlab.com/mallory/tool//.gitlab-ci.yml@refs/heads/main",
	"mallory@example.com",
}

// open says that the identity names nobody's account, so that everybody who
// has one at the host may sign; why in a few words, and where it stands.
func (s signer) open() (field, why string) {
	switch {
	case s.SubjectRegExp != "" && openRegExp(s.SubjectRegExp):
		return ".subjectRegExp", s.SubjectRegExp + " matches anybody's subject"
	case s.Subject != "" && s.stars && strings.Trim(s.Subject, "*?") == "":
		return ".subject", s.Subject + " matches any subject"
	case s.Subject != "" && s.stars && openStars(s.Subject):
		return ".subject", s.Subject + " matches anybody's subject"
	case s.Subject == "" && s.SubjectRegExp == "" && s.SubjectExpression == "":
		return "", "no subject is named"
	}
	return "", ""
}

// openRegExp says that an expression matches a stranger, or that in one of its
// branches no account is named. What is not tied to its beginning has no place
// where an account would be: that is told by a code of its own.
func openRegExp(expression string) bool {
	compiled, err := regexp.Compile(expression)
	if err != nil {
		return false
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return false
	}
	begin, _ := anchored(parsed)
	return slices.ContainsFunc(strangers, compiled.MatchString) || begin && anybody(parsed)
}

func openStars(subject string) bool {
	before, after, found := subject, "", false
	if i := strings.IndexAny(subject, "*?"); i >= 0 {
		before, after, found = subject[:i], subject[strings.LastIndexAny(subject, "*?")+1:], true
	}
	return found && !account(before) && !mailDomain(after)
}

func checkEverything(e *estate, say report) {
	for _, s := range e.signers() {
		if field, why := s.open(); why != "" {
			say(s.o, s.path+field, "%s", why)
		}
	}
}

func checkAnchors(e *estate, say report) {
	for _, s := range e.signers().withRegExp() {
		if begin, end := anchored(s.parsed); (!begin || !end) && !openRegExp(s.SubjectRegExp) {
			missing := "^ at the beginning"
			if begin {
				missing = "$ at the end"
			} else if !end {
				missing = "^ and $"
			}
			say(s.o, s.path+".subjectRegExp", "%s lacks %s", s.SubjectRegExp, missing)
		}
	}
}

func checkWildcards(e *estate, say report) {
	for _, s := range e.signers().withRegExp() {
		if !openRegExp(s.SubjectRegExp) && wild(s.parsed) {
			say(s.o, s.path+".subjectRegExp", "%s goes on with anything after part of a name", s.SubjectRegExp)
		}
	}
	for _, s := range e.signers() {
		i := strings.IndexAny(s.Subject, "*?")
		if _, why := s.open(); s.stars && why == "" && i > 0 && !strings.Contains(s.Subject[:i], "@") && !strings.HasSuffix(s.Subject[:i], "/") {
			say(s.o, s.path+".subject", "%s goes on with anything after part of a name", s.Subject)
		}
	}
}

func checkDots(e *estate, say report) {
	for _, s := range e.signers().withRegExp() {
		if loose(s.parsed) {
			say(s.o, s.path+".subjectRegExp", "a dot in %s stands for any character", s.SubjectRegExp)
		}
	}
}

func checkIssuer(e *estate, say report) {
	for _, s := range e.signers() {
		if s.Issuer != "" {
			continue
		}
		if s.IssuerRegExp == "" {
			say(s.o, s.path, "no issuer is named")
			continue
		}
		parsed, err := syntax.Parse(s.IssuerRegExp, syntax.Perl)
		if err != nil {
			continue // compiled has refused it
		}
		if begin, end := anchored(parsed); !begin || !end || hasWildcard(parsed) {
			say(s.o, s.path+".issuerRegExp", "%s takes more issuers than one", s.IssuerRegExp)
		}
	}
}

func checkSubjectExpression(e *estate, say report) {
	for _, s := range e.signers() {
		if s.SubjectExpression != "" {
			say(s.o, s.path+".subjectExpression", "%s", s.SubjectExpression)
		}
	}
}

func checkExtensions(e *estate, say report) {
	for _, s := range e.signers() {
		if s.extensions {
			path, _, _ := strings.Cut(s.path, ".identities[")
			say(s.o, path+".additionalExtensions", "they are read and not compared")
		}
	}
}

type parsedSigner struct {
	signer
	parsed *syntax.Regexp
}

// withRegExp are those whose subject is an expression.
func (all signers) withRegExp() []parsedSigner {
	var out []parsedSigner
	for _, one := range all {
		if one.SubjectRegExp == "" {
			continue
		}
		if parsed, err := syntax.Parse(one.SubjectRegExp, syntax.Perl); err == nil {
			out = append(out, parsedSigner{one, parsed})
		}
	}
	return out
}
