package lint

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

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
// matches acme/app-evil too. After a slash it follows a whole name, and after an
// @ comes what the repository's own people name.
func wild(re *syntax.Regexp) bool {
	var before string // the literal just before
	for _, sub := range re.Sub {
		if wild(sub) {
			return true
		}
		if re.Op != syntax.OpConcat {
			continue
		}
		switch {
		case sub.Op == syntax.OpLiteral:
			if before = string(sub.Rune); strings.Contains(before, "@") {
				return false
			}
		case before != "" && !strings.ContainsRune("/:", rune(before[len(before)-1])) && goesOn(sub):
			return true
		default:
			before = ""
		}
	}
	return false
}

// goesOn says that what stands for re may make another name of the one before.
func goesOn(re *syntax.Regexp) bool {
	compiled, err := regexp.Compile("^(?:" + re.String() + ")$")
	return err == nil && slices.ContainsFunc([]string{"-evil", "evil", ".evil", "-evil/", "-evil/.github/workflows/x.yml@refs/heads/x"}, compiled.MatchString)
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

// beginning is the literal text that a branch of an expression begins with, and
// whether that is where its literal part ends.
type beginning struct {
	text  string
	ended bool
}

// maxBeginnings bounds the branches that are followed.
const maxBeginnings = 256

// beginnings are those of every branch of an expression.
func beginnings(re *syntax.Regexp) []beginning {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return []beginning{{}}
	case syntax.OpLiteral:
		return []beginning{{text: string(re.Rune)}}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return []beginning{{text: "."}} // What is meant by it, most often.
	case syntax.OpCapture:
		return beginnings(re.Sub[0])
	case syntax.OpQuest:
		return append(beginnings(re.Sub[0]), beginning{})
	case syntax.OpAlternate:
		var all []beginning
		for _, sub := range re.Sub {
			all = append(all, beginnings(sub)...)
		}
		return all
	case syntax.OpConcat:
		all := []beginning{{}}
		for _, sub := range re.Sub {
			var next []beginning
			for _, b := range all {
				if b.ended {
					next = append(next, b)
					continue
				}
				for _, more := range beginnings(sub) {
					next = append(next, beginning{b.text + more.text, more.ended})
				}
			}
			if all = next; len(all) > maxBeginnings {
				return []beginning{{ended: true}}
			}
		}
		return all
	}
	return []beginning{{ended: true}}
}

// anybody says that a branch of an expression goes on with anything before it
// has named an account, and isn't about the mail addresses of one domain.
func anybody(re *syntax.Regexp) bool {
	return slices.ContainsFunc(beginnings(re), func(b beginning) bool { return !account(b.text) }) && !mailDomain(ending(re))
}

// account says that the beginning of a subject names an account: what comes
// after a host, or before an @.
func account(begins string) bool {
	begins = strings.TrimPrefix(strings.TrimPrefix(begins, "https://"), "http://")
	host, after, found := strings.Cut(begins, "/")
	return found && after != "" || strings.Index(host, "@") > 0
}

// ending is the literal text that an expression ends with.
func ending(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCapture:
		return ending(re.Sub[0])
	case syntax.OpConcat:
		subs := re.Sub
		for len(subs) > 1 && subs[len(subs)-1].Op == syntax.OpEndText {
			subs = subs[:len(subs)-1]
		}
		return ending(subs[len(subs)-1])
	}
	return ""
}

// mailDomain says that the end of a subject is that of a mail address.
func mailDomain(ends string) bool {
	_, domain, found := strings.Cut(ends, "@")
	return found && strings.Contains(domain, ".") && !strings.Contains(domain, "/")
}
