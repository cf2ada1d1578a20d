package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/advisory"
)

func checkRegistry(ctx context.Context, x *examination) []Finding {
	if x.Registry == nil {
		return unchecked("", "no registry")
	}
	p, err := x.probe(ctx)
	if err != nil {
		return failed(err, "check the repository's name and the login")
	}
	var out []Finding
	if p.Left != "" {
		out = append(out, warning("delete it by hand; the registry does not let this caller", "the trial left %s", p.Left))
	}
	switch {
	case p.Written && p.Mutable:
		out = append(out, warning("make tags immutable: a tag that can be moved says nothing about what it stood for", "a tag can be moved"))
	case !p.Written:
		out = append(out, unchecked("hallmark doctor --write tries an upload and a tag, and takes them back", "whether it may be written to, and whether tags can be moved, was not tried")...)
	}
	seen := "it can be read; evidence is listed by the referrers API"
	if !p.Referrers {
		seen = "it can be read; it has no referrers API, so evidence lies under a fallback tag"
	}
	if p.Written {
		seen += "; it can be written to"
	}
	return append(ok("%s: %s", x.Policy.Image, seen), out...)
}

// The differences between clocks that are told of. A token and a certificate
// live for minutes.
const (
	lateClock  = time.Minute
	wrongClock = 5 * time.Minute
)

func checkClock(ctx context.Context, x *examination) []Finding {
	var seen []string
	var worst time.Duration
	take := func(of string, ahead time.Duration) {
		seen = append(seen, of)
		if ahead.Abs() > worst.Abs() {
			worst = ahead
		}
	}
	if x.Registry != nil {
		// Whether it worked is another check's matter; the clock is asked for.
		if p, err := x.probe(ctx); err == nil && !p.Clock.IsZero() {
			take("the registry", p.Clock.Sub(x.Now()))
		}
	}
	if x.Services != nil {
		checkServices(ctx, x)
	}
	x.clocks.mu.Lock()
	for of, ahead := range x.clocks.ahead {
		take(of, ahead)
	}
	x.clocks.mu.Unlock()
	const mend = "set this machine's clock, by NTP: tokens and certificates live for minutes"
	switch {
	case len(seen) == 0:
		return unchecked("", "nobody told the time")
	case worst.Abs() >= wrongClock:
		return []Finding{broken(mend, "this clock is off by %s", (-worst).Round(time.Second))}
	case worst.Abs() >= lateClock:
		return []Finding{warning(mend, "this clock is off by %s", (-worst).Round(time.Second))}
	}
	slices.Sort(seen)
	return ok("this clock agrees to %s with %s", max(worst.Abs().Round(time.Second), time.Second), strings.Join(seen, ", "))
}

func checkAdvisories(ctx context.Context, x *examination) []Finding {
	const mend = "hallmark advisories import gets a newer one"
	_, db, err := advisory.Open(ctx, x.Advisories)
	if err != nil {
		return failed(err, mend)
	}
	age, most := x.Now().Sub(db.Built), x.Policy.Gate.DatabaseAge()
	switch {
	case age > most:
		return []Finding{broken(mend, "the database is of %s, older than the %s that the gate allows", db.Built.Format(time.DateOnly), most)}
	case age > most*3/4:
		return []Finding{warning(mend, "the database is of %s; from %s on the gate refuses it", db.Built.Format(time.DateOnly), db.Built.Add(most).Format(time.DateOnly))}
	}
	return ok("a database of %s, schema %s", db.Built.UTC().Format(time.RFC3339), db.Schema)
}

func checkMemory(ctx context.Context, x *examination) []Finding {
	if x.Memory == nil {
		return unchecked("name the service with --server or HALLMARK_SERVER", "no service was named")
	}
	if err := x.Memory(ctx); err != nil {
		return failed(err, "look at the service's log, and at its /readyz")
	}
	return ok("the service is ready and answers")
}
