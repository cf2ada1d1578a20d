package verify

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// refusal is why a bundle does not count.
type refusal struct{ code, reason string }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code, shown(fmt.Sprintf(format, args...))}
}

func pass(name, reason string, details ...verdict.Detail) verdict.Check {
	return verdict.Check{Name: name, Outcome: verdict.Pass, Reason: reason, Details: details}
}

func fail(name, code, reason string, details ...verdict.Detail) verdict.Check {
	return verdict.Check{Name: name, Outcome: verdict.Fail, Code: code, Reason: reason, Next: nextStep(code), Details: details}
}

func unknown(name, code, reason string, details ...verdict.Detail) verdict.Check {
	return verdict.Check{Name: name, Outcome: verdict.Unknown, Code: code, Reason: reason, Next: nextStep(code), Details: details}
}

func detail(name, format string, args ...any) verdict.Detail {
	return verdict.Detail{Name: name, Value: shown(fmt.Sprintf(format, args...))}
}

// maxShown is the longest text of a stranger that is shown, in bytes.
const maxShown = 600

// shown makes a stranger's text fit for a terminal: no control characters, no
// text that runs backwards, no endless line.
func shown(text string) string {
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + " ..."
	}
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return text
	}
	quoted := strconv.QuoteToGraphic(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// list names at most three things.
func list[T fmt.Stringer](things []T) string {
	var words []string
	for i, thing := range things {
		if i == 3 {
			words = append(words, fmt.Sprintf("%d more", len(things)-3))
			break
		}
		words = append(words, thing.String())
	}
	if len(words) == 0 {
		return "something without SHA-256 digest"
	}
	return strings.Join(words, ", ")
}

// counted makes one detail per value, the format taking "N bundles" and the
// value.
func counted(name, format string, values map[string]int) []verdict.Detail {
	var out []verdict.Detail
	for _, value := range slices.Sorted(maps.Keys(values)) {
		out = append(out, detail(name, format, plural(values[value], "bundle"), value))
	}
	return out
}
