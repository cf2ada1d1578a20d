package index_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// day is a time that many days into the tests' calendar.
func day(n int) time.Time { return time.Date(2026, 1, 1+n, 0, 0, 0, 0, time.UTC) }

func digest(n int) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%064x", n)} }

// estate is an index with a store's counters beside it.
type estate struct {
	*index.Index
	t      *testing.T
	ids    map[component.Package]uint32
	images uint32
}

func newEstate(t *testing.T) *estate {
	return &estate{Index: index.New(), t: t, ids: map[component.Package]uint32{}}
}

func pkg(t *testing.T, purl string) component.Package {
	t.Helper()
	c, err := component.FromPURL(purl, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// image takes in an image of n days and digests, with packages by URL.
func (e *estate) image(n int, repository string, purls ...string) uint32 {
	e.t.Helper()
	i := index.Image{Digest: digest(n), Repository: repository, Tags: []string{"v1"}, Evidence: digest(1000 + n), Verified: true, Recorded: day(n)}
	return e.add(i, purls...)
}

func (e *estate) add(i index.Image, purls ...string) uint32 {
	e.t.Helper()
	var rows []index.PackageRow
	for _, purl := range purls {
		c := pkg(e.t, purl)
		id, ok := e.ids[c]
		if !ok {
			id = uint32(len(e.ids) + 1)
			e.ids[c] = id
			rows = append(rows, index.PackageRow{ID: id, Package: c, Licences: []string{"MIT"}})
		}
		i.Packages = append(i.Packages, id)
	}
	if err := e.AddPackages(rows); err != nil {
		e.t.Fatal(err)
	}
	e.images++
	i.ID = e.images
	if err := e.AddImage(i); err != nil {
		e.t.Fatal(err)
	}
	return i.ID
}

func (e *estate) advise(n int, records ...vulnerability.Record) []index.Event {
	e.t.Helper()
	c, err := e.Diff(records, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	c.At, c.Import = day(n), fmt.Sprintf("import of day %d", n)
	events, err := e.Apply(c)
	if err != nil {
		e.t.Fatal(err)
	}
	return events
}

// npm is an advisory on versions of an npm package before fixed.
func npm(provider, id, name, fixed string, aliases ...string) vulnerability.Record {
	return vulnerability.Record{Provider: provider, ID: id, Aliases: aliases, Affected: []vulnerability.Row{{
		Type: "npm", Name: name, Ranges: []vulnerability.Range{{Format: "semver", Constraint: "<" + fixed, FixedIn: fixed, FixState: "fixed"}},
	}}}
}

// hit is what Affected answers, in short: image numbers with what hits them.
func (e *estate) hit(id string, o index.Options) []string {
	e.t.Helper()
	a, err := e.Affected(index.AffectedQuery{ID: id}, o)
	if err != nil {
		e.t.Fatal(err)
	}
	out := []string{}
	for _, i := range a.Images {
		var packages []string
		for _, h := range i.Hits {
			packages = append(packages, h.ID+" "+h.Package.Name+" "+h.Package.Version)
		}
		out = append(out, strings.TrimLeft(strings.TrimPrefix(i.Digest.String(), "sha256:"), "0")+": "+strings.Join(packages, ", "))
	}
	if a.Total < len(out) {
		e.t.Errorf("%s: a total of %d, and %d images on the page", id, a.Total, len(out))
	}
	return out
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestAffected(t *testing.T) {
	e := newEstate(t)
	e.image(1, "registry.example/a", "pkg:npm/lodash@4.17.20", "pkg:npm/left@1.0.0")
	e.image(2, "registry.example/b", "pkg:npm/lodash@4.17.21")
	events := e.advise(3, npm("github", "GHSA-1", "lodash", "4.17.21", "CVE-1"))
	if len(events) != 1 || events[0].Images != 1 || events[0].Packages[0].Version != "4.17.20" || events[0].Newest[0].Digest.String() != digest(1).String() {
		t.Errorf("events are %+v", events)
	}
	want := []string{"1: GHSA-1 lodash 4.17.20"}
	same(t, "by CVE", want, e.hit("cve-1", index.Options{}))
	same(t, "by GHSA", want, e.hit("GHSA-1", index.Options{}))

	// A second publisher of the same is no news, a wider range is.
	if events := e.advise(4, npm("other", "OTHER-1", "lodash", "4.17.21", "GHSA-1")); len(events) != 0 {
		t.Errorf("the same from another publisher made events: %+v", events)
	}
	if events := e.advise(5, npm("github", "GHSA-1", "lodash", "4.17.22", "CVE-1")); len(events) != 1 || events[0].Packages[0].Version != "4.17.21" {
		t.Errorf("a wider range made the events %+v", events)
	}
	same(t, "as of day 4", []string{"1: GHSA-1 lodash 4.17.20, OTHER-1 lodash 4.17.20"}, e.hit("CVE-1", index.Options{AsOf: day(4)}))
	same(t, "as of day 3", want, e.hit("CVE-1", index.Options{AsOf: day(3)}))
	if _, err := e.Affected(index.AffectedQuery{ID: "CVE-1"}, index.Options{AsOf: day(2)}); !errors.Is(err, index.ErrUnknownAdvisory) {
		t.Errorf("before it was known the error is %v", err)
	}
	// An image that comes later is compared by itself.
	e.image(6, "registry.example/c", "pkg:npm/lodash@3.0.0")
	same(t, "a new image", []string{"6: GHSA-1 lodash 3.0.0, OTHER-1 lodash 3.0.0", "2: GHSA-1 lodash 4.17.21", "1: GHSA-1 lodash 4.17.20, OTHER-1 lodash 4.17.20"}, e.hit("CVE-1", index.Options{}))
	if got := e.Stats(); got.Findings != 5 || got.Images != 3 || got.Advisories != 2 {
		t.Errorf("stats are %+v", got)
	}
}
