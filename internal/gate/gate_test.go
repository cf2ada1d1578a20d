package gate_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/gate"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

const image = "ghcr.io/acme/app"

var (
	now     = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	subject = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
)

func ptr[T any](v T) *T { return &v }

// clean is a report that every gate passes.
func clean() finding.Report {
	return finding.Report{
		Subject: subject, Image: image, Scanner: "grype", ScannerVersion: "v0",
		Database: finding.Database{Schema: "v6.1.10", Built: now.Add(-time.Hour), Source: "test", Providers: []string{"debian"}},
		Coverage: []finding.Coverage{{Ecosystem: "deb (debian 12)", Packages: 3, Covered: true}},
	}
}

func vulnerability(change ...func(*finding.Finding)) finding.Finding {
	f := finding.Finding{
		ID: "DSA-1", Aliases: []string{"CVE-2024-1"}, Severity: finding.Critical,
		Package: finding.Package{
			Name: "openssl", Version: "3.0.1-1", Type: "deb",
			PURL: "pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=debian-12",
		},
		FixedIn: []string{"3.0.2-1"}, FixState: "fixed",
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

func severity(s finding.Severity) func(*finding.Finding) {
	return func(f *finding.Finding) { f.Severity = s }
}
func exploited(f *finding.Finding) { f.KEV = true }
func unfixed(f *finding.Finding)   { f.FixedIn, f.FixState = nil, "not-fixed" }

func exception(change ...func(*policy.Exception)) policy.Exception {
	e := policy.Exception{ID: "DSA-1", Package: "openssl", Reason: "not reachable", Author: "alice", Expires: now.Add(24 * time.Hour)}
	for _, c := range change {
		c(&e)
	}
	return e
}

func document(t testing.TB, status, product, subcomponent, at string) finding.VEX {
	t.Helper()
	more := `"justification": "vulnerable_code_not_in_execute_path"`
	switch status {
	case "affected":
		more = `"action_statement": "upgrade"`
	case "fixed", "under_investigation":
		more = `"status_notes": "none"`
	}
	v, err := finding.ParseVEX("app.openvex.json", fmt.Appendf(nil, `{
		"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "bob", "timestamp": %q, "version": 1,
		"statements": [{"vulnerability": {"name": "CVE-2024-1"}, "status": %q, %s,
			"products": [{"@id": %q, "subcomponents": [{"@id": %q}]}]}]}`, at, status, more, product, subcomponent))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// kinds gives the kinds of reasons, to compare.
func kinds(reasons []gate.Refusal) []gate.Kind {
	var out []gate.Kind
	for _, r := range reasons {
		out = append(out, r.Kind)
	}
	return out
}

type row struct {
	name     string
	gate     policy.Gate
	findings []finding.Finding
	change   func(*finding.Report)
	vex      []finding.VEX
	refused  []gate.Kind
	warned   []gate.Kind
	excepted int
	expired  int
}

func check(t *testing.T, rows []row) {
	for _, test := range rows {
		t.Run(test.name, func(t *testing.T) {
			r := clean()
			r.Findings = test.findings
			if test.change != nil {
				test.change(&r)
			}
			d := gate.Decide(test.gate, image, r, test.vex, now)
			if diff := cmp.Diff(test.refused, kinds(d.Refusals)); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.warned, kinds(d.Warnings)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if d.Refused != (len(test.refused) > 0) {
				t.Errorf("refused = %v", d.Refused)
			}
			if len(d.Excepted) != test.excepted || len(d.Expired) != test.expired {
				t.Errorf("excepted %v, expired %v", d.Excepted, d.Expired)
			}
			if _, err := json.Marshal(d); err != nil {
				t.Errorf("cannot be written: %v", err)
			}
			for _, reason := range append(d.Refusals, d.Warnings...) {
				if reason.Reason == "" || strings.HasSuffix(reason.Reason, ".") {
					t.Errorf("reason %q", reason.Reason)
				}
			}
			for _, reason := range d.Refusals {
				if reason.Next == "" {
					t.Errorf("no next step for %q", reason.Reason)
				}
			}
		})
	}
}

func TestFindings(t *testing.T) {
	one := func(change ...func(*finding.Finding)) []finding.Finding {
		return []finding.Finding{vulnerability(change...)}
	}
	no, high, negligible := ptr(false), ptr(finding.High), ptr(finding.Negligible)
	check(t, []row{
		{name: "none"},
		{name: "critical", findings: one(), refused: []gate.Kind{gate.Severity}},
		{name: "critical without a fix", findings: one(unfixed), refused: []gate.Kind{gate.Severity}},
		{name: "high", findings: one(severity(finding.High))},
		{name: "high at high", gate: policy.Gate{Severity: high}, findings: one(severity(finding.High)), refused: []gate.Kind{gate.Severity}},
		{name: "medium at high", gate: policy.Gate{Severity: high}, findings: one(severity(finding.Medium))},
		{name: "negligible at negligible", gate: policy.Gate{Severity: negligible}, findings: one(severity(finding.Negligible)), refused: []gate.Kind{gate.Severity}},
		{name: "threshold out of range", gate: policy.Gate{Severity: ptr(finding.Severity(7))}, findings: one(severity(finding.Negligible)), refused: []gate.Kind{gate.Severity}},
		{name: "severity above the range", findings: one(severity(42)), refused: []gate.Kind{gate.Severity}},
		{name: "severity below the range", findings: one(severity(-1)), refused: []gate.Kind{gate.Severity}},

		{name: "unknown severity", findings: one(severity(finding.Unknown)), warned: []gate.Kind{gate.UnknownSeverity}},
		{name: "unknown severity refused", gate: policy.Gate{UnknownSeverity: "refuse"}, findings: one(severity(finding.Unknown)), refused: []gate.Kind{gate.UnknownSeverity}},
		{name: "unknown severity allowed", gate: policy.Gate{UnknownSeverity: "allow"}, findings: one(severity(finding.Unknown))},
		{name: "unknown severity misspelt", gate: policy.Gate{UnknownSeverity: "alow"}, findings: one(severity(finding.Unknown)), refused: []gate.Kind{gate.UnknownSeverity}},
		{name: "unknown severity at negligible", gate: policy.Gate{Severity: negligible}, findings: one(severity(finding.Unknown)), warned: []gate.Kind{gate.UnknownSeverity}},
		{name: "unknown severity, threshold out of range", gate: policy.Gate{Severity: ptr(finding.Severity(-7)), UnknownSeverity: "allow"}, findings: one(severity(finding.Unknown)), refused: []gate.Kind{gate.Severity}},

		{name: "only fixable, fixed", gate: policy.Gate{OnlyFixable: true}, findings: one(), refused: []gate.Kind{gate.Severity}},
		{name: "only fixable, fix without version", gate: policy.Gate{OnlyFixable: true}, findings: one(unfixed, func(f *finding.Finding) { f.FixState = "fixed" }), refused: []gate.Kind{gate.Severity}},
		{name: "only fixable, not fixed", gate: policy.Gate{OnlyFixable: true}, findings: one(unfixed), warned: []gate.Kind{gate.Unfixed}},
		{name: "only fixable, unknown severity", gate: policy.Gate{OnlyFixable: true, UnknownSeverity: "refuse"}, findings: one(unfixed, severity(finding.Unknown)), warned: []gate.Kind{gate.Unfixed}},
		{name: "only fixable, unknown severity warned", gate: policy.Gate{OnlyFixable: true}, findings: one(unfixed, severity(finding.Unknown)), warned: []gate.Kind{gate.UnknownSeverity}},

		{name: "exploited, low", findings: one(exploited, severity(finding.Low)), refused: []gate.Kind{gate.KEV}},
		{name: "exploited, unknown severity allowed", gate: policy.Gate{UnknownSeverity: "allow"}, findings: one(exploited, severity(finding.Unknown)), refused: []gate.Kind{gate.KEV}},
		{name: "exploited, not fixed, only fixable", gate: policy.Gate{OnlyFixable: true}, findings: one(exploited, unfixed), refused: []gate.Kind{gate.KEV}},
		{name: "exploited, kev off", gate: policy.Gate{KEV: no}, findings: one(exploited, severity(finding.Low))},
		{name: "exploited and critical, kev off", gate: policy.Gate{KEV: no}, findings: one(exploited), refused: []gate.Kind{gate.Severity}},

		{
			name:     "several, worst first",
			findings: []finding.Finding{vulnerability(severity(finding.Low), exploited), vulnerability(), vulnerability(severity(finding.Unknown))},
			refused:  []gate.Kind{gate.Severity, gate.KEV}, warned: []gate.Kind{gate.UnknownSeverity},
		},
	})
}

func TestExceptions(t *testing.T) {
	with := func(e ...policy.Exception) policy.Gate { return policy.Gate{Exceptions: e} }
	found := []finding.Finding{vulnerability()}
	refusedAnd := func(warned ...gate.Kind) row {
		return row{findings: found, refused: []gate.Kind{gate.Severity}, warned: warned}
	}
	rows := []row{}
	add := func(name string, r row, g policy.Gate) {
		r.name, r.gate = name, g
		rows = append(rows, r)
	}
	holds := row{findings: found, excepted: 1}
	add("holds", holds, with(exception()))
	add("by alias in another case", holds, with(exception(func(e *policy.Exception) { e.ID = "cve-2024-1" })))
	add("by package URL", holds, with(exception(func(e *policy.Exception) { e.Package = "pkg:deb/debian/openssl" })))
	add("by package URL with version", holds, with(exception(func(e *policy.Exception) { e.Package = "pkg:deb/debian/openssl@3.0.1-1?distro=debian-12" })))
	add("for this image", holds, with(exception(func(e *policy.Exception) { e.Image = image })))
	add("one of two holds", holds, with(exception(func(e *policy.Exception) { e.Expires = now }), exception()))
	add("for an exploited one", row{findings: []finding.Finding{vulnerability(exploited)}, excepted: 1}, with(exception()))
	add("for an unknown severity", row{findings: []finding.Finding{vulnerability(severity(finding.Unknown))}, excepted: 1}, with(exception()))

	unused := refusedAnd(gate.UnusedException)
	add("another vulnerability", unused, with(exception(func(e *policy.Exception) { e.ID = "CVE-2024-12" })))
	add("another package", unused, with(exception(func(e *policy.Exception) { e.Package = "openss" })))
	add("another version", unused, with(exception(func(e *policy.Exception) { e.Package = "pkg:deb/debian/openssl@3.0.1-2" })))
	add("another type", unused, with(exception(func(e *policy.Exception) { e.Package = "pkg:apk/debian/openssl" })))
	add("another qualifier", unused, with(exception(func(e *policy.Exception) { e.Package = "pkg:deb/debian/openssl?arch=arm64" })))
	add("not a package URL", unused, with(exception(func(e *policy.Exception) { e.Package = "pkg:" })))
	add("another image", refusedAnd(), with(exception(func(e *policy.Exception) { e.Image = "ghcr.io/acme/app2" })))
	add("not an image", refusedAnd(), with(exception(func(e *policy.Exception) { e.Image = ":" })))

	expired := refusedAnd()
	expired.expired = 1
	add("expired now", expired, with(exception(func(e *policy.Exception) { e.Expires = now })))
	add("expired long ago", expired, with(exception(func(e *policy.Exception) { e.Expires = now.AddDate(-1, 0, 0) })))
	add("about to expire", holds, with(exception(func(e *policy.Exception) { e.Expires = now.Add(1) })))

	invalid := refusedAnd(gate.InvalidException)
	add("no id", invalid, with(exception(func(e *policy.Exception) { e.ID = "" })))
	add("no package", invalid, with(exception(func(e *policy.Exception) { e.Package = "" })))
	add("no reason", invalid, with(exception(func(e *policy.Exception) { e.Reason = " " })))
	add("no author", invalid, with(exception(func(e *policy.Exception) { e.Author = "" })))
	add("no expiry", invalid, with(exception(func(e *policy.Exception) { e.Expires = time.Time{} })))
	add("not needed", row{warned: []gate.Kind{gate.UnusedException}}, with(exception()))
	add("not needed by a low one", row{findings: []finding.Finding{vulnerability(severity(finding.Low))}, warned: []gate.Kind{gate.UnusedException}}, with(exception()))
	check(t, rows)
}

func TestExpiredExceptionIsShownWithItsDay(t *testing.T) {
	r := clean()
	r.Findings = []finding.Finding{vulnerability()}
	older := exception(func(e *policy.Exception) { e.Expires, e.Author = now.AddDate(0, -2, 0), "carol" })
	newer := exception(func(e *policy.Exception) { e.Expires = now.AddDate(0, -1, 0) })
	for _, order := range [][]policy.Exception{{older, newer}, {newer, older}} {
		d := gate.Decide(policy.Gate{Exceptions: order}, image, r, nil, now)
		want := "its severity is critical, and critical or worse is refused; the exception of alice for it expired on 2026-10-23"
		if got := d.Refusals[0].Reason; got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
		if got, want := d.Refusals[0].Next, "upgrade openssl to 3.0.2-1, or renew the exception"; got != want {
			t.Errorf("next %q, want %q", got, want)
		}
		if got, want := d.Expired[0].String(), "DSA-1 in openssl 3.0.1-1: exception of alice until 2026-10-23: not reachable"; got != want {
			t.Errorf("expired %q, want %q", got, want)
		}
	}
}

func TestTheExceptionThatLastsLongestIsShown(t *testing.T) {
	r := clean()
	r.Findings = []finding.Finding{vulnerability()}
	short, long := exception(), exception(func(e *policy.Exception) { e.Expires, e.Author = now.AddDate(0, 1, 0), "carol" })
	for _, order := range [][]policy.Exception{{short, long}, {long, short}} {
		d := gate.Decide(policy.Gate{Exceptions: order}, image, r, nil, now)
		if len(d.Excepted) != 1 || d.Excepted[0].Exception.Author != "carol" || len(d.Warnings) > 0 {
			t.Errorf("excepted %v, warnings %v", d.Excepted, d.Warnings)
		}
	}
}

func TestVEX(t *testing.T) {
	const us, lib = "pkg:oci/app?repository_url=ghcr.io/acme/app", "pkg:deb/debian/openssl"
	early, late := "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
	found := []finding.Finding{vulnerability()}
	refused, cleared := row{findings: found, refused: []gate.Kind{gate.Severity}}, row{findings: found, excepted: 1}
	rows := []row{}
	add := func(name string, r row, vex ...finding.VEX) {
		r.name, r.vex = name, vex
		rows = append(rows, r)
	}
	add("not affected", cleared, document(t, "not_affected", us, lib, early))
	add("fixed", cleared, document(t, "fixed", us, lib, early))
	add("affected", refused, document(t, "affected", us, lib, early))
	add("under investigation", refused, document(t, "under_investigation", us, lib, early))
	add("another image", refused, document(t, "not_affected", "pkg:oci/app?repository_url=ghcr.io/evil/app", lib, early))
	add("another package", refused, document(t, "not_affected", us, "pkg:deb/debian/zlib", early))
	add("the later one counts: affected", refused, document(t, "affected", us, lib, late), document(t, "not_affected", us, lib, early))
	add("the later one counts: not affected", cleared, document(t, "affected", us, lib, early), document(t, "not_affected", us, lib, late))
	add("at the same time, the worse one counts", refused, document(t, "not_affected", us, lib, early), document(t, "affected", us, lib, early))
	add("at the same time, in the other order", refused, document(t, "affected", us, lib, early), document(t, "not_affected", us, lib, early))
	add("from within the hour", cleared, document(t, "not_affected", us, lib, "2026-11-23T13:00:00Z"))
	add("from the future", refused, document(t, "not_affected", us, lib, "2026-11-23T13:00:01Z"))
	check(t, rows)
}

func TestScanThatCouldNotKnow(t *testing.T) {
	built := func(at time.Time) func(*finding.Report) {
		return func(r *finding.Report) { r.Database.Built = at }
	}
	uncovered := func(r *finding.Report) {
		r.Coverage = append(r.Coverage, finding.Coverage{Ecosystem: "apk (alpine 3.20)", Packages: 1})
	}
	uncomparable := func(r *finding.Report) {
		r.Uncomparable = []finding.Package{{Name: "a"}, {Name: "b", Version: "x"}, {Name: "c"}, {Name: "d"}}
	}
	nothing := func(r *finding.Report) { r.Coverage = nil }
	age := func(d time.Duration) policy.Gate { return policy.Gate{MaxDatabaseAge: ptr(policy.Duration(d))} }
	old, future, empty := []gate.Kind{gate.DatabaseAge}, []gate.Kind{gate.DatabaseFuture}, []gate.Kind{gate.EmptyDatabase}
	check(t, []row{
		{name: "exactly 120 h", change: built(now.Add(-120 * time.Hour))},
		{name: "over 120 h", change: built(now.Add(-120*time.Hour - 1)), refused: old},
		{name: "over the policy's age", gate: age(time.Hour), change: built(now.Add(-time.Hour - 1)), refused: old},
		{name: "a long age", gate: age(10000 * time.Hour), change: built(now.Add(-9999 * time.Hour))},
		{name: "zero age is not no limit", gate: age(0), refused: old},
		{name: "negative age", gate: age(-time.Hour), refused: old},
		{name: "undated", change: built(time.Time{}), refused: old},
		{name: "undated, the longest age", gate: age(1<<63 - 1), change: built(time.Time{}), refused: old},
		{name: "an hour ahead", change: built(now.Add(time.Hour))},
		{name: "over an hour ahead", change: built(now.Add(time.Hour + 1)), refused: future},
		{name: "centuries ahead", change: built(now.AddDate(1000, 0, 0)), refused: future},
		{name: "no data set", change: func(r *finding.Report) { r.Database.Providers = nil }, refused: empty},

		{name: "uncovered", change: uncovered, refused: []gate.Kind{gate.Uncovered}},
		{name: "uncovered warned", gate: policy.Gate{Uncovered: "warn"}, change: uncovered, warned: []gate.Kind{gate.Uncovered}},
		{name: "uncovered allowed", gate: policy.Gate{Uncovered: "allow"}, change: uncovered},
		{name: "uncovered misspelt", gate: policy.Gate{Uncovered: "allowed"}, change: uncovered, refused: []gate.Kind{gate.Uncovered}},
		{name: "no coverage", change: nothing, refused: []gate.Kind{gate.Uncovered}},
		{name: "no coverage warned", gate: policy.Gate{Uncovered: "warn"}, change: nothing, warned: []gate.Kind{gate.Uncovered}},

		{name: "uncomparable", change: uncomparable, warned: []gate.Kind{gate.Uncomparable}},
		{name: "uncomparable refused", gate: policy.Gate{Uncomparable: "refuse"}, change: uncomparable, refused: []gate.Kind{gate.Uncomparable}},
		{name: "uncomparable allowed", gate: policy.Gate{Uncomparable: "allow"}, change: uncomparable},

		{name: "nothing at all", change: func(r *finding.Report) { *r = finding.Report{} }, refused: []gate.Kind{gate.DatabaseAge, gate.EmptyDatabase, gate.Uncovered}},
	})
}

func TestNoTimeAtAllRefuses(t *testing.T) {
	if d := gate.Decide(policy.Gate{}, image, clean(), nil, time.Time{}); !d.Refused {
		t.Error("passed without a time")
	}
}

func TestSentences(t *testing.T) {
	r := clean()
	r.Findings = []finding.Finding{
		vulnerability(unfixed),
		vulnerability(unfixed, exploited, severity(finding.Low), func(f *finding.Finding) { f.FixState = "fixed"; f.FixedIn = nil }),
	}
	r.Database.Built = now.Add(-7 * 24 * time.Hour)
	r.Coverage = []finding.Coverage{{Ecosystem: "npm", Packages: 2}, {Ecosystem: "apk", Packages: 1}}
	r.Uncomparable = []finding.Package{{Name: "a"}, {Name: "b", Version: "x"}, {Name: "c"}, {Name: "d"}, {Name: "e"}}
	d := gate.Decide(policy.Gate{}, image, r, nil, now)
	var got []string
	for _, reason := range append(d.Refusals, d.Warnings...) {
		got = append(got, reason.Reason+" -> "+reason.Next)
	}
	want := []string{
		"its severity is critical, and critical or worse is refused -> remove openssl, or excuse the finding with a VEX statement or an exception",
		"it is known to be exploited (CISA KEV) -> upgrade openssl",
		"the vulnerability database is 7 days old, and more than 5 days is refused -> take a newer one: hallmark advisories import, or --advisories",
		"the vulnerability database has no advisories for apk, which 1 package of the image is -> take a database that has them, or set gate.uncovered to warn or allow",
		"the vulnerability database has no advisories for npm, which 2 packages of the image are -> take a database that has them, or set gate.uncovered to warn or allow",
		"5 packages cannot be compared with any version range: a, b x, c, and 2 more -> give them versions, or look at their advisories by hand",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
