package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// printExplained prints a verdict with the facts behind every link, and then
// what was found on each digest, whether or not it counts.
func (a *app) printExplained(v verdict.Verdict) {
	a.printOutcome(v)
	for _, c := range v.Checks {
		a.printCheck(c)
		for _, d := range c.Details {
			a.screen.printf("  %-11s          %s: %s\n", "", clean(d.Name), clean(d.Value))
		}
	}
	for i, carrier := range v.Carriers {
		a.screen.printf("\n%s\n", a.screen.out(bold, "Evidence on "+a.carrierName(i, carrier, v)))
		if carrier.Outcome != verdict.Pass {
			a.screen.printf("  by itself it does not pass: %s\n", clean(carrier.Reason))
		}
		if len(carrier.Bundles) == 0 {
			a.screen.printf("  nothing\n")
		}
		for _, b := range carrier.Bundles {
			a.printBundle(b)
		}
	}
}

// carrierName tells the subject from the platforms that an index names.
func (a *app) carrierName(i int, c verdict.Carrier, v verdict.Verdict) string {
	switch {
	case c.Platform != "":
		return fmt.Sprintf("%s, its platform %s", c.Digest, clean(c.Platform))
	case i == 0 && len(v.Carriers) > 1:
		return c.Digest + ", the index"
	}
	return c.Digest
}

func (a *app) printBundle(b verdict.Bundle) {
	word, in := "counts", green
	if !b.Counts {
		word, in = "ignored", yellow
	}
	a.screen.printf("  %-11s %-7s  %s\n", clean(b.Kind), a.screen.out(in, word), clean(b.PredicateType))
	say := func(format string, args ...any) {
		a.screen.printf("  %-11s          %s\n", "", clean(fmt.Sprintf(format, args...)))
	}
	if b.Reason != "" {
		say("%s", b.Reason)
	}
	if b.Identity != "" {
		say("by %s", b.Identity)
		say("vouched for by %s", b.Issuer)
	}
	for _, s := range b.Stamps {
		say("%s", stampText(s))
	}
}

func stampText(s verdict.Stamp) string {
	words := []string{"dated"}
	if s.By == verdict.ByLog {
		words[0] = "logged"
	}
	if s.At != nil {
		words = append(words, s.At.Format(time.RFC3339))
	}
	switch {
	case s.By == verdict.ByAuthority && s.URI != "":
		words = append(words, "by the timestamp authority "+s.URI)
	case s.By == verdict.ByAuthority:
		words = append(words, "by a timestamp authority of the trust root")
	case s.LogIndex != nil:
		words = append(words, fmt.Sprintf("as entry %d of a transparency log of the trust root", *s.LogIndex))
	}
	return strings.Join(words, " ")
}
