//go:build kills

package kills_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/storetest"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// checker holds what is in a store, and what is answered, against the ledger.
type checker struct {
	*ledger
	// open opens the store beside the services.
	open func() store.Store
	// orphans lets packages be there that no image has, as PostgreSQL's store
	// does: see its Put.
	orphans bool

	checked  map[uint32]string // records that were looked at, as they were
	standing map[string]int    // digest by record
	hit      int               // standing documents that KILL advisories hit
	died     map[string]int    // what a kill met, counted
}

// store looks at the store itself, after a kill.
func (c *checker) store(t *testing.T, when string) {
	t.Helper()
	s := c.open()
	defer s.Close()
	content := storetest.Load(t, s)
	content.Check(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.images(t, when, content)
	c.advisories(t, when, content)
}

func (c *checker) images(t *testing.T, when string, content storetest.Content) {
	t.Helper()
	keys := make([]string, len(content.Packages)+1)
	held := make([]bool, len(content.Packages)+1)
	for _, p := range content.Packages {
		keys[p.ID] = string(p.Body)
	}
	if c.checked == nil {
		c.checked = map[uint32]string{}
	}
	c.standing, c.hit = map[string]int{}, 0
	records := map[string]int{}
	for _, i := range content.Images {
		for _, p := range i.Packages {
			held[p] = true
		}
		records[i.Digest]++
		if i.Until.IsZero() {
			c.standing[i.Digest]++
		}
		d, loose := c.known[i.Digest]
		if loose && d.hit && i.Until.IsZero() {
			c.hit++
		}
		is := fmt.Sprint(i.Digest, i.Evidence, i.Verified, i.Names, i.At, string(i.Body), len(i.Packages))
		if was, ok := c.checked[i.ID]; ok {
			if was != is {
				t.Errorf("%s: record %d was %s and is %s", when, i.ID, was, is)
			}
			continue
		}
		c.checked[i.ID] = is
		if !loose {
			continue
		}
		names := make([]string, len(i.Packages))
		for k, p := range i.Packages {
			names[k] = keys[p]
		}
		slices.Sort(names)
		if !slices.Equal(names, d.packages) || i.Evidence != d.evidence || i.Verified || !i.Until.IsZero() {
			t.Errorf("%s: record %d of %s has %d packages of %d, evidence %s", when, i.ID, i.Digest, len(names), len(d.packages), i.Evidence)
		}
	}
	for _, n := range c.acked {
		if d := documentOf(n).digest; records[d] != 1 {
			t.Errorf("%s: document %d was acknowledged and has %d records", when, n, records[d])
		}
	}
	for digest := range c.known {
		if records[digest] > 1 {
			t.Errorf("%s: %s has %d records", when, digest, records[digest])
		}
	}
	for _, v := range c.verified {
		c.one(t, when, v, records[v.digest])
	}
	for id := 1; id < len(held) && !c.orphans; id++ {
		if !held[id] {
			t.Errorf("%s: package %d is of no image", when, id)
		}
	}
}

// one looks at an image that is taken in and retired in turn.
func (c *checker) one(t *testing.T, when string, v *verified, records int) {
	t.Helper()
	most := v.records
	if v.more {
		most++
	}
	if records < v.records || records > most {
		t.Errorf("%s: %s has %d records, %d to %d were acknowledged or lost", when, v.image, records, v.records, most)
	}
	standing := c.standing[v.digest] == 1
	if !v.unsure && standing != v.standing {
		t.Errorf("%s: %s stands: %v, acknowledged: %v", when, v.image, standing, v.standing)
	}
	if v.more && standing != (records > v.records) {
		t.Errorf("%s: %s stands: %v, with %d records of %d", when, v.image, standing, records, v.records)
	}
	v.records, v.standing, v.unsure, v.more = records, standing, false, false
}

// advisories holds that the data set is wholly one version.
func (c *checker) advisories(t *testing.T, when string, content storetest.Content) {
	t.Helper()
	version := len(content.Imports)
	if version != c.version && version != c.trying || version < c.version {
		t.Errorf("%s: %d imports are in the store; %d was acknowledged and %d under way", when, version, c.version, c.trying)
	}
	if c.trying > 0 {
		c.met(map[bool]string{true: "an import, which was done", false: "an import, of which nothing is left"}[version == c.trying])
	}
	c.version, c.trying = version, 0
	count := 0
	for _, row := range content.Rows {
		if row.Removed != 0 {
			continue
		}
		count++
		var r vulnerability.Record
		if err := json.Unmarshal(row.Body, &r); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(r.ID, "KILL-") && r.Summary != said(version) {
			t.Errorf("%s: of data set %d stands %s, %s", when, version, r.ID, r.Summary)
		}
	}
	if version > 0 && count != rowsOf(version) {
		t.Errorf("%s: data set %d has %d rows of %d", when, version, count, rowsOf(version))
	}
}

func (c *checker) met(what string) {
	if c.died == nil {
		c.died = map[string]int{}
	}
	c.died[what]++
}

// imageAnswer is what is looked at in answers about an image.
type imageAnswer struct {
	Digest, Evidence string
	Verified         bool
	Packages         []component.Package
	Findings         []struct{ ID string }
}

// answers asks a process that has caught up about some images and advisories.
// It may only be called while nothing is taken in.
func (c *checker) answers(t *testing.T, when string, l *life, r *rand.Rand) {
	t.Helper()
	l.caughtUp()
	total := func(path string) (n int, summary string) {
		var answer struct {
			Total         int
			Vulnerability struct{ Summary string }
		}
		l.ask(path, &answer)
		return answer.Total, answer.Vulnerability.Summary
	}
	loose := 0
	for digest, n := range c.standing {
		if _, ok := c.known[digest]; ok {
			loose += n
		}
	}
	if n, _ := total("/v1/who-has?package=" + url.QueryEscape("pkg:pypi/common-7")); n != loose {
		t.Errorf("%s: %s: %d images have a package, in the store %d do", when, l.name, n, loose)
	}
	if c.version > 0 {
		for _, id := range []int{0, r.IntN(common), r.IntN(common), common + r.IntN(rows-common)} {
			n, summary := total(fmt.Sprintf("/v1/affected/KILL-%d", id))
			if id < common && n != c.hit || id >= common && n != 0 || summary != said(c.version) {
				t.Errorf("%s: %s: KILL-%d hits %d images of %d, %s of %d", when, l.name, id, n, c.hit, summary, c.version)
			}
		}
		if n, _ := total("/v1/affected/" + newID(c.version)); n != loose {
			t.Errorf("%s: %s: %s hits %d images of %d", when, l.name, newID(c.version), n, loose)
		}
	}
	if n, _ := total("/v1/affected/" + newID(c.version+1)); n != 0 {
		t.Errorf("%s: %s: an advisory of a data set that never came in hits %d images", when, l.name, n)
	}
	// The last to be acknowledged, those that were lost, and some others.
	about := slices.Clone(c.lost)
	about = append(about, c.acked[max(0, len(c.acked)-6):]...)
	for range 4 {
		if len(c.acked) > 0 {
			about = append(about, c.acked[r.IntN(len(c.acked))])
		}
	}
	for _, n := range about {
		c.document(t, when, l, documentOf(n))
	}
}

func (c *checker) document(t *testing.T, when string, l *life, d document) {
	t.Helper()
	var answer imageAnswer
	found := l.ask("/v1/image?ref="+d.digest, &answer)
	if found != (c.standing[d.digest] == 1) {
		t.Errorf("%s: %s: %s is answered about: %v, in the store: %d", when, l.name, d.digest, found, c.standing[d.digest])
	}
	if !found {
		return
	}
	var keys []string
	for _, p := range answer.Packages {
		keys = append(keys, p.Key())
	}
	slices.Sort(keys)
	if !slices.Equal(keys, d.packages) || answer.Evidence != d.evidence || answer.Verified || len(answer.Findings) != findings(d, c.version) {
		t.Errorf("%s: %s: %s has %d packages of %d, %d findings of %d, evidence %s of %s", when, l.name, d.digest,
			len(keys), len(d.packages), len(answer.Findings), findings(d, c.version), answer.Evidence, d.evidence)
	}
}
