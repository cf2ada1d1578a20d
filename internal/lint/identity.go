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

// strangers are identities that no sensible policy means together.
var strangers = []string{
	"https://github.com/mallory/tool/.github/workflows/build.yml@refs/heads/x",
	"https://gitlab.com/mallory/tool//.gitlab-ci.yml@refs/heads/main",
	"mallory@example.com",
}

func matchesStrangers(expression string) bool {
	compiled, err := regexp.Compile(expression)
	return err == nil && !slices.ContainsFunc(strangers, func(s string) bool { return !compiled.MatchString(s) })
}

func checkEverything(e *estate, say report) {
	for _, s := range e.signers() {
		switch {
		case s.SubjectRegExp != "" && matchesStrangers(s.SubjectRegExp):
			say(s.o, s.path+".subjectRegExp", "%s matches any subject", s.SubjectRegExp)
		case s.Subject != "" && s.stars && strings.Trim(s.Subject, "*") == "":
			say(s.o, s.path+".subject", "%s matches any subject", s.Subject)
		case s.Subject == "" && s.SubjectRegExp == "" && s.SubjectExpression == "":
			say(s.o, s.path, "no subject is named")
		}
	}
}

func checkAnchors(e *estate, say report) {
	for _, s := range e.signers().withRegExp() {
		if begin, end := anchored(s.parsed); (!begin || !end) && !matchesStrangers(s.SubjectRegExp) {
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
		if !matchesStrangers(s.SubjectRegExp) && wild(s.parsed) {
			say(s.o, s.path+".subjectRegExp", "%s goes on with anything after part of a name", s.SubjectRegExp)
		}
	}
	for _, s := range e.signers() {
		if i := strings.Index(s.Subject, "*"); s.stars && i > 0 && !strings.ContainsRune("/@", rune(s.Subject[i-1])) && strings.Trim(s.Subject, "*") != "" {
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
			continue
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

// withRegExp are those whose subject is an expression that compiles; the API
// server refuses the others.
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

// anchored says whether every text that matches begins, and ends, where the
// expression does.
func anchored(re *syntax.Regexp) (begin, end bool) {
	switch re.Op {
	case syntax.OpBeginText:
		return true, false
	case syntax.OpEndText:
		return false, true
	case syntax.OpCapture:
		return anchored(re.Sub[0])
	case syntax.OpConcat:
		begin, _ = anchored(re.Sub[0])
		_, end = anchored(re.Sub[len(re.Sub)-1])
		return begin, end
	case syntax.OpAlternate:
		begin, end = true, true
		for _, sub := range re.Sub {
			b, e := anchored(sub)
			begin, end = begin && b, end && e
		}
		return begin, end
	}
	return false, false
}

// anything says that re is a dot, or anything repeated of one.
func anything(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat, syntax.OpCapture:
		return anything(re.Sub[0])
	}
	return false
}

// wild says that anything may follow part of a name, as in acme/app.*, which
// matches acme/app-evil too. After a slash or an @ it follows a whole name.
func wild(re *syntax.Regexp) bool {
	for i, sub := range re.Sub {
		if wild(sub) {
			return true
		}
		if re.Op != syntax.OpConcat || i == 0 || !repeated(sub) || !anything(sub) {
			continue
		}
		before := re.Sub[i-1]
		if before.Op == syntax.OpLiteral && !strings.ContainsRune("/@:", before.Rune[len(before.Rune)-1]) {
			return true
		}
	}
	return false
}

// hasWildcard says that anything may stand somewhere.
func hasWildcard(re *syntax.Regexp) bool {
	return repeated(re) && anything(re) || slices.ContainsFunc(re.Sub, hasWildcard)
}

func repeated(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat:
		return true
	case syntax.OpCapture:
		return repeated(re.Sub[0])
	}
	return false
}

// loose says that a dot stands by itself, where a dot was meant.
func loose(re *syntax.Regexp) bool {
	if repeated(re) && anything(re) {
		return false
	}
	if re.Op == syntax.OpAnyChar || re.Op == syntax.OpAnyCharNotNL {
		return true
	}
	return slices.ContainsFunc(re.Sub, loose)
}
