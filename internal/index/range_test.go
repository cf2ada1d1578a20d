package index_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// ladder is an ecosystem with versions in their order, written down by hand:
// what decides below is the place on the ladder, and no comparison.
type ladder struct {
	osv, purl string
	versions  []string
}

var ladders = []ladder{
	{"PyPI", "pkg:pypi/thing@%s", []string{"0.9", "1.0.dev1", "1.0a1", "1.0rc1", "1.0", "1.0.post1", "1.0.1", "1.2", "1.10", "2.0", "10.0", "1!0.1"}},
	{"npm", "pkg:npm/thing@%s", []string{"0.9.0", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0-rc.1", "2.0.0", "10.0.0"}},
	{"Go", "pkg:golang/example.com/thing@v%s", []string{"0.0.0-20200101000000-aaaaaaaaaaaa", "0.9.0", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0+incompatible", "10.0.0+incompatible"}},
	{"Debian:12", "pkg:deb/debian/thing@%s?distro=debian-12", []string{"1.0~rc1-1", "1.0-1~bpo12+1", "1.0-1", "1.0-1+deb12u1", "1.0-1+deb12u2", "1.0-2", "1.0.1-1", "1.10-1", "2:0.5-1"}},
	{"Alpine:v3.20", "pkg:apk/alpine/thing@%s?distro=alpine-3.20.1", []string{"0.9-r0", "1.0_alpha1-r0", "1.0_rc1-r0", "1.0-r0", "1.0-r1", "1.0-r10", "1.0_p1-r0", "1.1-r0", "1.10-r0"}},
	{"Maven", "pkg:maven/org.example/thing@%s", []string{"0.9", "1.0-alpha-1", "1.0-beta-1", "1.0-rc1", "1.0-SNAPSHOT", "1.0", "1.0.1", "1.2", "1.10", "2.0"}},
	{"RubyGems", "pkg:gem/thing@%s", []string{"0.9", "1.0.a", "1.0.pre", "1.0", "1.0.1", "1.2", "1.10", "2.0"}},
}

func (l ladder) name() string {
	switch l.osv {
	case "Go":
		return "example.com/thing"
	case "Maven":
		return "org.example:thing"
	}
	return "thing"
}

// event is one event by its place on the ladder; -1 is "0".
type event struct {
	kind  string
	place int
}

// brute is the schema's evaluation algorithm on places.
func brute(place int, events []event, listed []int) bool {
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b event) int {
		if a.place == b.place && (a.kind == "last_affected") != (b.kind == "last_affected") {
			return map[bool]int{true: 1, false: -1}[a.kind == "last_affected"]
		}
		return a.place - b.place
	})
	in := false
	for _, e := range sorted {
		switch {
		case e.kind == "introduced" && place >= e.place:
			in = true
		case e.kind == "fixed" && place >= e.place, e.kind == "last_affected" && place > e.place:
			in = false
		}
	}
	return in || slices.Contains(listed, place)
}

// drawn makes a record about a ladder's package.
func drawn(r *rand.Rand, l ladder) (events []event, listed []int, document []byte) {
	var written []map[string]string
	for range 1 + r.IntN(7) {
		e := event{[]string{"introduced", "introduced", "fixed", "last_affected"}[r.IntN(4)], r.IntN(len(l.versions))}
		if e.kind == "introduced" && r.IntN(4) == 0 {
			e.place = -1
		}
		// Two events at one version are in the order they are written, and
		// nobody writes that.
		if slices.ContainsFunc(events, func(o event) bool { return o.place == e.place }) {
			continue
		}
		events = append(events, e)
		version := "0"
		if e.place >= 0 {
			version = l.versions[e.place]
		}
		written = append(written, map[string]string{e.kind: version})
	}
	versions := []string{}
	for range r.IntN(3) {
		listed = append(listed, r.IntN(len(l.versions)))
		versions = append(versions, l.versions[listed[len(listed)-1]])
	}
	document, _ = json.Marshal(map[string]any{"id": "GHSA-x", "modified": "2024-01-01T00:00:00Z", "affected": []any{map[string]any{
		"package": map[string]string{"ecosystem": l.osv, "name": l.name()},
		"ranges":  []any{map[string]any{"type": "ECOSYSTEM", "events": written}}, "versions": versions,
	}}})
	return events, listed, document
}

func readOSV(t *testing.T, document []byte) []vulnerability.Record {
	t.Helper()
	records, _, err := advisory.ReadOSV(t.Context(), []advisory.Source{{Kind: advisory.OSV, Path: ".", FS: fstest.MapFS{"a.json": {Data: document}}}})
	if err != nil {
		return nil // Nothing in it can be used: it affects nothing.
	}
	return records
}

// affects gives the package URLs, of those given, that records hit.
func affects(t *testing.T, records []vulnerability.Record, purls ...string) map[string]bool {
	t.Helper()
	ix := index.New()
	image := index.Image{ID: 1, Digest: digest(1), Recorded: day(1)}
	byPackage := map[component.Package]string{}
	for n, purl := range purls {
		c := pkg(t, purl)
		byPackage[c] = purl
		image.Packages = append(image.Packages, uint32(n+1))
		if err := ix.AddPackages([]index.PackageRow{{ID: uint32(n + 1), Package: c}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ix.AddImage(image); err != nil {
		t.Fatal(err)
	}
	if _, err := ix.Apply(index.Change{Records: records, At: day(2)}); err != nil {
		t.Fatal(err)
	}
	report, err := ix.Image(digest(1).String(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, f := range report.Findings {
		out[byPackage[f.Package]] = true
	}
	return out
}

// FuzzRanges holds the whole way, from an OSV record to an answer, against the
// schema's algorithm on versions whose order was written down by hand.
func FuzzRanges(f *testing.F) {
	for seed := range uint64(140) {
		f.Add(seed, uint8(seed%7))
	}
	f.Fuzz(func(t *testing.T, seed uint64, which uint8) {
		l := ladders[int(which)%len(ladders)]
		events, listed, document := drawn(rand.New(rand.NewPCG(seed, 5)), l)
		var purls []string
		for _, v := range l.versions {
			purls = append(purls, fmt.Sprintf(l.purl, v))
		}
		got := affects(t, readOSV(t, document), purls...)
		for place := range l.versions {
			if want := brute(place, events, listed); got[purls[place]] != want {
				t.Errorf("%s\n%s: affected %v, want %v", document, purls[place], got[purls[place]], want)
			}
		}
	})
}

// Two intervals in one range: a peer reads them as one without an end.
func TestDisjointIntervals(t *testing.T) {
	document := []byte(`{"id":"PYSEC-2019-16","modified":"2019-12-18T19:15:00Z","aliases":["CVE-2019-19844"],"affected":[{
		"package":{"ecosystem":"PyPI","name":"Django"},"ranges":[{"type":"ECOSYSTEM","events":[
		{"introduced":"0"},{"fixed":"1.11.27"},{"introduced":"2.2"},{"fixed":"2.2.9"}]}]}]}`)
	got := affects(t, readOSV(t, document), "pkg:pypi/django@1.11.26", "pkg:pypi/Django@1.11.27", "pkg:pypi/django@2.1.5", "pkg:pypi/django@2.2.8",
		"pkg:pypi/django@2.2.9", "pkg:pypi/django@6.0.4")
	same(t, "affected", map[string]bool{"pkg:pypi/django@1.11.26": true, "pkg:pypi/django@2.2.8": true}, got)
}
