package index_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// deb is an advisory of Debian on versions before fixed.
func deb(id, release, name, fixed string, aliases ...string) vulnerability.Record {
	return vulnerability.Record{Provider: "debian", ID: id, Aliases: aliases, Affected: []vulnerability.Row{{
		Type: "deb", Name: name, Distro: "debian:" + release,
		Ranges: []vulnerability.Range{{Format: "dpkg", Constraint: "<" + fixed, FixedIn: fixed, FixState: "fixed"}},
	}}}
}

func (e *estate) has(q index.PackageQuery, o index.Options) index.WhoHas {
	e.t.Helper()
	a, err := e.WhoHas(q, o)
	if err != nil {
		e.t.Fatal(err)
	}
	return a
}

func numbers(images []index.ImageHas) []string {
	out := []string{}
	for _, i := range images {
		out = append(out, strings.TrimLeft(strings.TrimPrefix(i.Digest.String(), "sha256:"), "0"))
	}
	return out
}

func TestWhoHas(t *testing.T) {
	e := newEstate(t)
	e.image(1, "r/a", "pkg:npm/%40angular/core@1.0.0", "pkg:golang/github.com/Azure/go-autorest@v14.2.0", "pkg:deb/debian/openssl@3.0.9-1?distro=debian-12")
	e.image(2, "r/b", "pkg:npm/%40angular/core@2.0.0", "pkg:pypi/Flask_Login@0.6", "pkg:deb/ubuntu/openssl@3.0.2-0?distro=ubuntu-22.04")
	e.image(3, "r/c", "pkg:npm/core@2.0.0", "pkg:maven/org.example/core@3.0")
	for _, test := range []struct {
		q    index.PackageQuery
		want string
	}{
		{index.PackageQuery{Text: "core"}, "3 2 1"},
		{index.PackageQuery{Text: "core", Type: "maven"}, "3"},
		{index.PackageQuery{Text: "@angular/core"}, "2 1"},
		{index.PackageQuery{Text: "@angular/core@<2"}, "1"},
		{index.PackageQuery{Text: "@angular/core@2.0.0"}, "2"},
		{index.PackageQuery{Text: "@angular/core@>=1,<3"}, "2 1"},
		{index.PackageQuery{Text: "org.example:core"}, "3"},
		{index.PackageQuery{Text: "github.com/azure/Go-autorest"}, "1"},
		{index.PackageQuery{Text: "flask.login"}, "2"},
		{index.PackageQuery{Text: "openssl", Distro: "debian"}, "1"},
		{index.PackageQuery{Text: "openssl", Distro: "debian-12"}, "1"},
		{index.PackageQuery{Text: "openssl", Distro: "debian:11"}, ""},
		{index.PackageQuery{Text: "pkg:deb/openssl"}, "2 1"},
		{index.PackageQuery{Text: "pkg:deb/ubuntu/openssl"}, "2"},
		{index.PackageQuery{Text: "pkg:golang/github.com/Azure/go-autorest@v14.2.0"}, "1"},
		{index.PackageQuery{Text: "pkg:npm/%40angular/core@9"}, ""},
	} {
		a := e.has(test.q, index.Options{})
		if got := strings.Join(numbers(a.Images), " "); got != test.want || a.Total != len(a.Images) {
			t.Errorf("%+v: images %q of %d, want %q", test.q, got, a.Total, test.want)
		}
	}
	for _, text := range []string{"nobody", "pkg:npm/nobody", "angular/core"} {
		if _, err := e.WhoHas(index.PackageQuery{Text: text}, index.Options{}); !errors.Is(err, index.ErrUnknownPackage) {
			t.Errorf("%s: the error is %v", text, err)
		}
	}
	for _, text := range []string{"", "core@", "core@<<1", "pkg:"} {
		if _, err := e.WhoHas(index.PackageQuery{Text: text}, index.Options{}); err == nil || errors.Is(err, index.ErrUnknownPackage) {
			t.Errorf("%q: the error is %v", text, err)
		}
	}
}

// Pages show every image once, also when images come in between.
func TestPages(t *testing.T) {
	e := newEstate(t)
	for n := range 250 {
		e.image(n+1, "r/a", "pkg:npm/a@1.0.0")
	}
	var seen []string
	o := index.Options{Limit: 40}
	for page := 0; ; page++ {
		a := e.has(index.PackageQuery{Text: "a"}, o)
		seen = append(seen, numbers(a.Images)...)
		if page == 2 {
			e.image(1000, "r/b", "pkg:npm/a@1.0.0")
		}
		if o.Cursor = a.Next; o.Cursor == "" {
			break
		}
	}
	if slices.Sort(seen); len(slices.Compact(seen)) != 250 {
		t.Errorf("%d images were shown, want 250", len(seen))
	}
	for _, cursor := range []string{"0", "?", "zzzzzzzz"} {
		if _, err := e.WhoHas(index.PackageQuery{Text: "a"}, index.Options{Cursor: cursor}); !errors.Is(err, index.ErrCursor) {
			t.Errorf("cursor %q gave %v", cursor, err)
		}
	}
}

func TestImagesComeAndGo(t *testing.T) {
	e := newEstate(t)
	e.advise(0, npm("github", "GHSA-1", "a", "2.0.0"))
	first := e.image(1, "r/a", "pkg:npm/a@1.0.0")
	e.image(2, "r/b", "pkg:npm/a@1.0.0")
	e.add(index.Image{Digest: digest(1), Repository: "r/a", Evidence: digest(5), Verified: true, Recorded: day(5)}, "pkg:npm/a@2.0.0")
	same(t, "replaced", []string{"2: GHSA-1 a 1.0.0"}, e.hit("GHSA-1", index.Options{}))
	same(t, "before", []string{"2: GHSA-1 a 1.0.0", "1: GHSA-1 a 1.0.0"}, e.hit("GHSA-1", index.Options{AsOf: day(4)}))
	id, _ := e.Has(digest(2))
	if err := e.RemoveImage(id, day(6)); err != nil {
		t.Fatal(err)
	}
	same(t, "removed", []string{}, e.hit("GHSA-1", index.Options{}))
	same(t, "before it was", []string{"2: GHSA-1 a 1.0.0"}, e.hit("GHSA-1", index.Options{AsOf: day(5)}))
	if s := e.Stats(); s.Images != 1 || s.Occurrences != 1 {
		t.Errorf("stats are %+v", s)
	}
	old, err := e.Image(digest(1).String(), index.Options{AsOf: day(3)})
	if err != nil || len(old.Findings) != 1 || old.Evidence.String() != digest(1001).String() {
		t.Errorf("the image as it was is %+v, %v", old, err)
	}
	if err := e.AddImage(index.Image{ID: first, Digest: digest(9), Recorded: day(9)}); err == nil {
		t.Error("an identifier was taken twice")
	}
	if err := e.AddImage(index.Image{ID: 99, Digest: digest(9), Recorded: day(9), Packages: []uint32{77}}); err == nil {
		t.Error("an unknown package was taken")
	}
	if err := e.AddImage(index.Image{ID: 99, Digest: v1.Hash{Algorithm: "sha512", Hex: "00"}, Recorded: day(9)}); err == nil {
		t.Error("a digest that is not SHA-256 was taken")
	}
}

func TestReferences(t *testing.T) {
	e := newEstate(t)
	e.image(1, "r.example:5000/a", "pkg:npm/a@1")
	e.image(2, "r.example:5000/a", "pkg:npm/a@2")
	e.image(3, "r.example:5000/b", "pkg:npm/a@3")
	for ref, want := range map[string]int{
		"r.example:5000/a:v1": 2, "r.example:5000/b": 3, "r.example:5000/b@" + digest(1).String(): 1, digest(3).String(): 3,
	} {
		if got, err := e.Image(ref, index.Options{}); err != nil || got.Digest.String() != digest(want).String() {
			t.Errorf("%s is %s, %v", ref, got.Digest, err)
		}
	}
	for ref, want := range map[string]error{"r.example:5000/a": index.ErrAmbiguous, "r.example:5000/c": index.ErrUnknownImage, "": index.ErrUnknownImage, digest(8).String(): index.ErrUnknownImage} {
		if _, err := e.Image(ref, index.Options{}); !errors.Is(err, want) {
			t.Errorf("%s gave %v, want %v", ref, err, want)
		}
	}
}

// A record about several CVEs, as distributions publish them, must not make
// one vulnerability of them.
func TestAliases(t *testing.T) {
	e := newEstate(t)
	e.image(1, "r/a", "pkg:npm/a@1.0.0", "pkg:deb/debian/a@1?distro=debian-12")
	e.image(2, "r/b", "pkg:npm/b@1.0.0", "pkg:deb/debian/a@1?distro=debian-12")
	e.advise(3, npm("github", "GHSA-a", "a", "2.0.0", "CVE-1"), npm("github", "GHSA-b", "b", "2.0.0", "CVE-2"),
		npm("other", "OTHER-a", "c", "2.0.0", "GHSA-a"), deb("DSA-1", "12", "a", "2", "CVE-1", "CVE-2"))
	same(t, "one of two", []string{"2: DSA-1 a 1", "1: GHSA-a a 1.0.0, DSA-1 a 1"}, e.hit("CVE-1", index.Options{}))
	same(t, "both", []string{"2: DSA-1 a 1, GHSA-b b 1.0.0", "1: GHSA-a a 1.0.0, DSA-1 a 1"}, e.hit("DSA-1", index.Options{}))
	a, err := e.Affected(index.AffectedQuery{ID: "other-a"}, index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "names", []string{"CVE-1", "DSA-1", "GHSA-a"}, a.Vulnerability.Aliases)
}

func TestSeverityChain(t *testing.T) {
	e := newEstate(t)
	e.image(1, "r/a", "pkg:npm/a@1.0.0", "pkg:npm/b@1.0.0", "pkg:npm/c@1.0.0")
	rated := func(r vulnerability.Record, s finding.Severity, kev bool) vulnerability.Record {
		r.Severity, r.KEV = s, kev
		if s != finding.Unknown {
			r.SeveritySource = "vendor:" + r.Provider
		}
		return r
	}
	e.advise(2, npm("pypa", "P-1", "a", "2.0.0", "CVE-1"), rated(npm("nvd", "CVE-1", "x", "2.0.0"), finding.Critical, false),
		rated(npm("github", "GHSA-1", "x", "2.0.0", "CVE-1"), finding.Medium, false),
		rated(npm("pypa", "P-2", "b", "2.0.0"), finding.Unknown, true), npm("pypa", "P-3", "c", "2.0.0"))
	r, err := e.Image(digest(1).String(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Findings {
		got = append(got, fmt.Sprintf("%s %s %q %v", f.ID, f.Severity, f.SeveritySource, f.KEV))
	}
	same(t, "severities", []string{`P-2 critical "kev" true`, `P-1 medium "alias:GHSA-1@github" false`, `P-3 unknown "" false`}, got)
	// The unknown is left out by a threshold, and the answer says so.
	a, err := e.Affected(index.AffectedQuery{ID: "P-3", Severity: finding.High}, index.Options{})
	if err != nil || a.Total != 0 || a.Filter == nil || a.Filter.Excluded != 1 || !a.Filter.UnknownSeverity {
		t.Errorf("with a threshold the answer is %+v, %v", a, err)
	}
	if a, err := e.Affected(index.AffectedQuery{ID: "P-2", KEV: true, Fixable: true}, index.Options{}); err != nil || a.Total != 1 {
		t.Errorf("with KEV and fixable the answer is %+v, %v", a, err)
	}
}

func TestDoubts(t *testing.T) {
	e := newEstate(t)
	e.image(1, "r/a", "pkg:cargo/time@0.1", "pkg:deb/debian/a@1", "pkg:deb/debian/a@1?distro=debian-12", "pkg:deb/debian/a@1?distro=debian-11", "pkg:pypi/a@not-a-version", "pkg:npm/a@1.0.0")
	e.add(index.Image{Digest: digest(2), Repository: "r/b", Recorded: day(2)}, "pkg:npm/a@1.0.0")
	e.Refuse(index.Refusal{Digest: digest(7), Repository: "r/c", Reason: "no signature", Recorded: day(3)})
	before := e.has(index.PackageQuery{Text: "a"}, index.Options{}).Doubts
	if !before.NoAdvisories || before.Refused != 1 || before.Unverified != 1 {
		t.Errorf("without advisories the doubts are %+v", before)
	}
	both := npm("github", "GHSA-1", "a", "2.0.0")
	both.Affected = append(both.Affected, vulnerability.Row{Type: "pypi", Name: "a", Ranges: []vulnerability.Range{{Format: "python", Constraint: "<2"}}})
	e.advise(4, both, deb("CVE-1", "12", "a", "2"))
	a, err := e.Affected(index.AffectedQuery{ID: "GHSA-1"}, index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := a.Doubts
	same(t, "uncovered", []index.Uncovered{{Ecosystem: "cargo", Packages: 1, Images: 1}, {Ecosystem: "deb (debian-11)", Packages: 1, Images: 1}}, d.Uncovered)
	if len(d.Uncomparable) != 1 || d.Uncomparable[0].Package.Version != "not-a-version" || d.Uncomparable[0].Images != 1 {
		t.Errorf("not comparable are %+v", d.Uncomparable)
	}
	if d.NoDistro != 1 || d.NoDistroImages != 1 || d.Refused != 1 || d.Unverified != 1 || d.NoAdvisories {
		t.Errorf("the doubts are %+v", d)
	}
	// Taken in after all, the refusal is over, and still known as of before.
	e.image(7, "r/c", "pkg:npm/z@1")
	if now, then := e.has(index.PackageQuery{Text: "z"}, index.Options{}), e.has(index.PackageQuery{Text: "a"}, index.Options{AsOf: day(5)}); now.Doubts.Refused != 0 || then.Doubts.Refused != 1 {
		t.Errorf("refused are %d now and %d then", now.Doubts.Refused, then.Doubts.Refused)
	}
}

func TestVEX(t *testing.T) {
	e := newEstate(t)
	e.image(1, "registry.example/team/app", "pkg:npm/a@1.0.0")
	e.image(2, "registry.example/team/app", "pkg:npm/a@1.0.0")
	e.advise(3, npm("github", "GHSA-1", "a", "2.0.0", "CVE-1"))
	doc, err := finding.ParseVEX("vex.json", []byte(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/1","author":"us","timestamp":"2026-01-05T00:00:00Z","version":1,
		"statements":[{"vulnerability":{"name":"CVE-1"},"products":[{"@id":"pkg:oci/app@`+strings.ReplaceAll(digest(1).String(), ":", "%3A")+`"}],"status":"not_affected","justification":"vulnerable_code_not_present"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	e.AddVEX(index.VEX{Key: "1", Document: doc, Verified: true, From: day(5)})
	a, err := e.Affected(index.AffectedQuery{ID: "GHSA-1"}, index.Options{})
	if err != nil || a.Total != 2 || a.Cleared != 1 || a.Images[1].Hits[0].Exploitability == nil || a.Images[0].Hits[0].Exploitability != nil {
		t.Errorf("shown only, the answer is %+v, %v", a, err)
	}
	same(t, "applied", []string{"2: GHSA-1 a 1.0.0"}, e.hit("GHSA-1", index.Options{VEX: true}))
	same(t, "as of before it", []string{"2: GHSA-1 a 1.0.0", "1: GHSA-1 a 1.0.0"}, e.hit("GHSA-1", index.Options{VEX: true, AsOf: day(4)}))
	e.RemoveVEX("1", day(6))
	same(t, "taken back", []string{"2: GHSA-1 a 1.0.0", "1: GHSA-1 a 1.0.0"}, e.hit("GHSA-1", index.Options{VEX: true}))
}

func TestCompare(t *testing.T) {
	e := newEstate(t)
	e.image(1, "r/a", "pkg:npm/a@1.0.0", "pkg:npm/b@1.0.0", "pkg:npm/c@1.0.0")
	e.image(2, "r/b", "pkg:npm/a@2.0.0", "pkg:npm/c@1.0.0", "pkg:npm/d@1.0.0")
	e.advise(3, npm("github", "GHSA-a", "a", "2.0.0"), npm("github", "GHSA-c", "c", "2.0.0"), npm("github", "GHSA-d", "d", "2.0.0"))
	d, err := e.Compare(digest(1).String(), digest(2).String(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Added) != 1 || d.Added[0].Name != "d" || len(d.Removed) != 1 || d.Removed[0].Name != "b" ||
		len(d.Changed) != 1 || d.Changed[0].From[0] != "1.0.0" || d.Changed[0].To[0] != "2.0.0" {
		t.Errorf("packages: %+v", d)
	}
	if len(d.FindingsAdded) != 1 || d.FindingsAdded[0].ID != "GHSA-d" || len(d.FindingsRemoved) != 1 || d.FindingsRemoved[0].ID != "GHSA-a" || d.FindingsKept != 1 {
		t.Errorf("findings: %+v", d)
	}
}

func TestTopAndLicences(t *testing.T) {
	e := newEstate(t)
	e.image(1, "r/a", "pkg:npm/a@1.0.0", "pkg:npm/b@1.0.0")
	e.image(2, "r/b", "pkg:npm/a@1.0.0")
	e.advise(3, npm("github", "GHSA-a", "b", "2.0.0"))
	top := func(kind string) index.Top {
		a, err := e.Top(kind, index.Options{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := top(index.TopImages); a.Total != 1 || a.Images[0].Digest.String() != digest(1).String() || a.Images[0].Counts[finding.Unknown] != 1 {
		t.Errorf("worst images: %+v", a)
	}
	if a := top(index.TopPackages); a.Total != 2 || a.Packages[0].Package.Name != "a" || a.Packages[0].Images != 2 {
		t.Errorf("commonest packages: %+v", a)
	}
	if a := top(index.TopOldest); a.Total != 2 || a.Images[0].Digest.String() != digest(1).String() {
		t.Errorf("oldest: %+v", a)
	}
	if _, err := e.Top("tallest", index.Options{}); err == nil {
		t.Error("a ranking that is none was given")
	}
	l, err := e.Licences("mit", index.Options{})
	if err != nil || l.Total != 1 || l.Licences[0] != (index.LicenceCount{Licence: "MIT", Packages: 2, Images: 2}) || len(l.Packages) != 2 {
		t.Errorf("licences: %+v, %v", l, err)
	}
}

func TestExplain(t *testing.T) {
	e := newEstate(t)
	e.image(1, "r/a", "pkg:deb/debian/libssl3@3.0.9-1?distro=debian-12&upstream=openssl")
	e.advise(2, deb("CVE-1", "12", "openssl", "3.0.11-1"))
	for purl, want := range map[string]string{
		"pkg:deb/debian/libssl3@3.0.9-1?distro=debian-12&upstream=openssl":    "true true affected",
		"pkg:deb/debian/libssl3@3.0.11-1?distro=debian-12&upstream=openssl":   "false true not affected",
		"pkg:deb/debian/libssl3@3.0.9-1?distro=debian-11&upstream=openssl":    "false true not affected",
		"pkg:deb/debian/libssl3@3.0.9-1?upstream=openssl":                     "false false not affected",
		"pkg:deb/debian/linux-libc-dev@6.1-1?distro=debian-12&upstream=linux": "false true ",
		"pkg:npm/openssl@1.0.0": "false false ",
	} {
		x, err := e.Explain("CVE-1", purl, index.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%v %v ", x.Affected, x.Known)
		if len(x.Steps) > 0 {
			got += x.Steps[0].Result
			if x.Steps[0].Import != "import of day 2" || x.Steps[0].Constraint != "<3.0.11-1" || x.Steps[0].Matched != "openssl" {
				t.Errorf("%s: the step is %+v", purl, x.Steps[0])
			}
		}
		if got != want || x.Reason == "" {
			t.Errorf("%s: %q, want %q; %s", purl, got, want, x.Reason)
		}
	}
}

// A row that takes back others, as some publishers write them, counts under
// every name of the vulnerability.
func TestUnaffectedRows(t *testing.T) {
	e := newEstate(t)
	e.image(1, "r/a", "pkg:npm/a@1.5.0", "pkg:npm/a@1.0.0")
	e.advise(2, npm("github", "GHSA-1", "a", "2.0.0", "CVE-1"))
	back := npm("vendor", "V-1", "a", "2.0.0", "CVE-1")
	back.Affected[0].Unaffected, back.Affected[0].Ranges[0].Constraint = true, ">=1.4.0"
	e.advise(3, back)
	same(t, "taken back", []string{"1: GHSA-1 a 1.0.0"}, e.hit("CVE-1", index.Options{}))
	if got := e.Stats().Findings; got != 1 {
		t.Errorf("%d findings are counted", got)
	}
}

// What is rebuilt from a store's rows answers as what followed its log.
func TestLoadIsApply(t *testing.T) {
	live, loaded := newEstate(t), newEstate(t)
	for _, e := range []*estate{live, loaded} {
		e.image(1, "r/a", "pkg:npm/a@1.0.0", "pkg:npm/b@1.0.0")
	}
	one, two, other := npm("github", "GHSA-1", "a", "2.0.0"), npm("github", "GHSA-1", "a", "0.5.0"), npm("github", "GHSA-2", "b", "2.0.0", "GHSA-1")
	live.advise(2, one, other)
	live.advise(4, two)
	if err := loaded.LoadAdvisories([]index.Revision{
		{Record: one, From: day(2), To: day(4), Import: "import of day 2"}, {Record: other, From: day(2), Import: "import of day 2"},
		{Record: two, From: day(4), Import: "import of day 4"},
	}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []index.Options{{}, {AsOf: day(3)}, {AsOf: day(5)}} {
		same(t, "answers", live.hit("GHSA-1", o), loaded.hit("GHSA-1", o))
	}
	same(t, "stats", live.Stats(), loaded.Stats())
	if err := loaded.LoadAdvisories([]index.Revision{{Record: two, From: day(6)}}); err == nil {
		t.Error("a second revision that holds was taken")
	}
}

// Readers ask while a writer writes; the race detector watches, and an answer
// is never half of a write.
func TestReadersBesideAWriter(t *testing.T) {
	e := newEstate(t)
	e.advise(0, npm("github", "GHSA-1", "a", "2.0.0"))
	e.image(1, "r/a", "pkg:npm/a@1.0.0", "pkg:npm/b@1.0.0")
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				a, err := e.Affected(index.AffectedQuery{ID: "GHSA-1"}, index.Options{})
				if err != nil || a.Total == 0 || len(a.Images) != min(a.Total, index.DefaultLimit) {
					t.Errorf("%d of %d, %v", len(a.Images), a.Total, err)
					return
				}
				for _, i := range a.Images {
					r, err := e.Image(i.Digest.String(), index.Options{})
					if err != nil || len(r.Packages) != 2 {
						t.Errorf("an image has %d packages, %v", len(r.Packages), err)
						return
					}
				}
				e.Top(index.TopImages, index.Options{})
				e.Explain("GHSA-1", "pkg:npm/a@1.0.0", index.Options{})
			}
		})
	}
	for n := range 150 {
		e.image(n+2, "r/a", fmt.Sprintf("pkg:npm/a@1.0.%d", n), "pkg:npm/b@1.0.0")
		if n%10 == 0 {
			e.advise(n, npm("github", "GHSA-2", "b", fmt.Sprintf("%d.0.0", n+1)))
		}
	}
	close(done)
	wg.Wait()
}
