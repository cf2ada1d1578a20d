package gate_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/gate"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// world draws inputs of a decision from small sets, so that policies,
// exceptions and findings meet often.
type world struct{ *rand.Rand }

func pick[T any](w world, from ...T) T { return from[w.IntN(len(from))] }

func (w world) finding() finding.Finding {
	name := pick(w, "openssl", "zlib")
	return finding.Finding{
		ID:       pick(w, "DSA-1", "DSA-2"),
		Aliases:  pick(w, nil, []string{"CVE-2024-1"}),
		Severity: finding.Severity(w.IntN(9) - 1),
		KEV:      w.IntN(4) == 0,
		FixState: pick(w, "", "fixed", "not-fixed", "unknown"),
		FixedIn:  pick(w, nil, []string{"2"}),
		Package:  finding.Package{Name: name, Version: "1", Type: "deb", PURL: "pkg:deb/debian/" + name + "@1?arch=amd64"},
	}
}

func (w world) exception() policy.Exception {
	return policy.Exception{
		ID:      pick(w, "DSA-1", "DSA-2", "cve-2024-1", ""),
		Package: pick(w, "openssl", "zlib", "pkg:deb/debian/openssl", "pkg:deb/debian/zlib@1", ""),
		Image:   pick(w, "", image, "ghcr.io/acme/other"),
		Reason:  pick(w, "why", "why", ""),
		Author:  pick(w, "alice", "alice", ""),
		Expires: pick(w, now.Add(time.Hour), now.Add(time.Hour), now, now.Add(-time.Hour), time.Time{}),
	}
}

func (w world) gate() policy.Gate {
	mode := func() string { return pick(w, "", "refuse", "warn", "allow", "alow") }
	g := policy.Gate{
		OnlyFixable: w.IntN(2) == 0, UnknownSeverity: mode(), Uncovered: mode(), Uncomparable: mode(),
		KEV:            pick(w, nil, ptr(true), ptr(false)),
		MaxDatabaseAge: pick(w, nil, ptr(policy.Duration(2*time.Hour)), ptr(policy.Duration(-1))),
		Severity:       pick(w, nil, ptr(finding.Severity(w.IntN(9)-1))),
	}
	for range w.IntN(3) {
		g.Exceptions = append(g.Exceptions, w.exception())
	}
	return g
}

func (w world) report() finding.Report {
	r := clean()
	for range w.IntN(4) {
		r.Findings = append(r.Findings, w.finding())
	}
	r.Database.Built = now.Add(time.Duration(w.IntN(20)-15) * 10 * time.Minute)
	r.Database.Providers = pick(w, r.Database.Providers, r.Database.Providers, nil)
	if w.IntN(3) == 0 {
		r.Coverage = append(r.Coverage, finding.Coverage{Ecosystem: "apk", Packages: 2})
	}
	if w.IntN(3) == 0 {
		r.Uncomparable = []finding.Package{{Name: "b"}, {Name: "a"}}
	}
	return r
}

// FuzzDecide holds what must be true of any decision, on inputs drawn from a
// seed: refused exactly when there is a refusal, every finding that counts
// accounted for, the input untouched, and no step towards worse ever a step
// from refusal to pass.
func FuzzDecide(f *testing.F) {
	for seed := range uint64(2000) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		w := world{rand.New(rand.NewPCG(seed, 1))}
		g, r := w.gate(), w.report()
		vex := pick(w, nil, []finding.VEX{document(t, pick(w, "not_affected", "affected"), "pkg:oci/app?repository_url="+image, "pkg:deb/debian/openssl", "2026-01-01T00:00:00Z")})
		before := clone(r)
		d := gate.Decide(g, image, r, vex, now)
		if !reflect.DeepEqual(before, r) {
			t.Errorf("changed its input: %s", cmp.Diff(before, r))
		}
		if again := gate.Decide(g, image, r, vex, now); !reflect.DeepEqual(d, again) {
			t.Error("two decisions on the same input differ")
		}
		if d.Refused != (len(d.Refusals) > 0) {
			t.Errorf("refused = %v with %d refusals", d.Refused, len(d.Refusals))
		}
		if got := counted(d); got > len(r.Findings) {
			t.Errorf("%d findings counted of %d", got, len(r.Findings))
		}
		if !d.Refused {
			return // each of the following is about leaving a refusal
		}
		for name, worse := range worsened(w, g, r, vex) {
			if !worse.Refused {
				t.Errorf("%s turned a refusal into a pass\ngate %+v\nreport %+v", name, g, r)
			}
		}
	})
}

func clone(r finding.Report) finding.Report {
	r.Findings, r.Coverage, r.Uncomparable = slices.Clone(r.Findings), slices.Clone(r.Coverage), slices.Clone(r.Uncomparable)
	return r
}

func counted(d gate.Decision) int {
	n := len(d.Excepted)
	for _, reason := range append(slices.Clone(d.Refusals), d.Warnings...) {
		if reason.Finding != nil {
			n++
		}
	}
	return n
}

// worsened gives decisions on inputs each worse than the given one in one way.
func worsened(w world, g policy.Gate, r finding.Report, vex []finding.VEX) map[string]gate.Decision {
	out := map[string]gate.Decision{}
	decide := func(name string, g policy.Gate, r finding.Report, vex []finding.VEX, at time.Time) {
		out[name] = gate.Decide(g, image, r, vex, at)
	}
	more := clone(r)
	more.Findings = append(more.Findings, w.finding())
	decide("adding a finding", g, more, vex, now)
	decide("dropping the VEX documents", g, r, nil, now)
	decide("a later time", g, r, vex, now.Add(3*time.Hour))
	for i := range g.Exceptions {
		fewer := g
		fewer.Exceptions = slices.Delete(slices.Clone(g.Exceptions), i, i+1)
		decide("removing an exception", fewer, r, vex, now)
	}
	for i := range r.Findings {
		worse := clone(r)
		if f := &worse.Findings[i]; f.Severity > finding.Unknown && f.Severity < finding.Critical {
			f.Severity++
		}
		decide("raising a severity", g, worse, vex, now)
		worse = clone(r)
		worse.Findings[i].KEV = true
		decide("becoming known exploited", g, worse, vex, now)
		worse = clone(r)
		worse.Findings[i].FixedIn = []string{"3"}
		decide("getting a fix", g, worse, vex, now)
	}
	if g.Threshold() > finding.Unknown {
		strict := g
		strict.Severity = ptr(g.Threshold() - 1)
		decide("lowering the threshold", strict, r, vex, now)
	}
	blind := clone(r)
	for i := range blind.Coverage {
		blind.Coverage[i].Covered = false
	}
	decide("covering less", g, blind, vex, now)
	return out
}
