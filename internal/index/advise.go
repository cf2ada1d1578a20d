package index

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// The bounds of an Event's lists.
const (
	maxEventPackages = 50
	maxEventImages   = 20
)

// LoadAdvisories adds revisions as a store kept them, ended ones too, and
// compares them with the packages there are. It emits no events.
func (ix *Index) LoadAdvisories(revisions []Revision) error {
	ix.writing.Lock()
	defer ix.writing.Unlock()
	made := make([]*record, 0, len(revisions))
	seen := map[string]bool{}
	for _, v := range revisions {
		r, err := newRecord(v)
		if err != nil {
			return fmt.Errorf("loading advisories: %w", err)
		}
		if r.to == 0 && (ix.current[r.key] != nil || seen[r.key]) {
			return fmt.Errorf("loading advisories: %s has two revisions that hold", r.key)
		}
		seen[r.key] = seen[r.key] || r.to == 0
		made = append(made, r)
	}
	ix.take(made, nil, 0)
	return nil
}

// Diff compares records with what holds now, and gives what is to change:
// records that are new or other, and, of the providers that are whole, those
// that are missing. Records that were withdrawn are removed. It changes
// nothing; the store keeps the change first, and Apply makes it.
func (ix *Index) Diff(records []vulnerability.Record, whole []string) (Change, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var c Change
	seen := map[string]bool{}
	for _, r := range records {
		key := r.Key()
		if seen[key] {
			return Change{}, fmt.Errorf("comparing advisories: %s is there twice", key)
		}
		seen[key] = true
		old := ix.current[key]
		if r.Withdrawn {
			if old != nil {
				c.Removed = append(c.Removed, key)
			}
			continue
		}
		sum, err := r.Hash()
		if err != nil {
			return Change{}, err
		}
		if old == nil || old.sum != sum {
			c.Records = append(c.Records, r)
		}
	}
	for key, r := range ix.current {
		if !seen[key] && slices.Contains(whole, r.Provider) {
			c.Removed = append(c.Removed, key)
		}
	}
	slices.Sort(c.Removed)
	return c, nil
}

// Apply makes a change of the advisories. Only the packages that the records
// named before or name now are compared again. The events tell what is newly
// affected: packages that the advisory, under any of its names, did not hit
// before and that a live image holds.
func (ix *Index) Apply(c Change) ([]Event, error) {
	ix.writing.Lock()
	defer ix.writing.Unlock()
	var made, gone []*record
	seen := map[string]bool{}
	for _, v := range c.Records {
		r, err := newRecord(Revision{Record: v, From: c.At, Import: c.Import})
		if err != nil {
			return nil, fmt.Errorf("changing advisories: %w", err)
		}
		if seen[r.key] {
			return nil, fmt.Errorf("changing advisories: %s is there twice", r.key)
		}
		seen[r.key] = true
		made = append(made, r)
		if old := ix.current[r.key]; old != nil {
			gone = append(gone, old)
		}
	}
	for _, key := range c.Removed {
		if old := ix.current[key]; old != nil && !seen[key] {
			gone = append(gone, old)
		}
	}
	before := ix.hitBefore(made)
	ix.take(made, gone, nanos(c.At))
	return ix.events(made, before, c.At), nil
}

// hitBefore gives, for each record, the packages that its vulnerability hits
// under any name now.
func (ix *Index) hitBefore(made []*record) []map[uint32]bool {
	out := make([]map[uint32]bool, len(made))
	for n, r := range made {
		out[n] = map[uint32]bool{}
		for _, same := range ix.group(r.Names(), 0) {
			for _, id := range same.hits {
				out[n][id] = true
			}
		}
	}
	return out
}

// take ends the records that are gone at a time, adds those that are made, and
// compares. It is the only place where findings come to be. The caller holds
// writing.
func (ix *Index) take(made, gone []*record, at int64) {
	ix.mu.Lock()
	for _, r := range gone {
		r.to = at
		delete(ix.current, r.key)
		ix.findings -= len(r.hits)
		ix.count(r, -1)
	}
	wide := ix.add(made)
	ix.mu.Unlock()

	// Nobody else writes, so what is compared stays as it is without the lock.
	picked := map[*record]bool{}
	keys := map[string]bool{}
	for _, r := range slices.Concat(made, gone) {
		picked[r] = true
		for _, a := range r.Affected {
			keys[searchKey(a.Type, a.Name)] = true
			// A row that takes back others concerns those too.
			wide = wide || a.Unaffected && len(ix.records) > len(made)
		}
	}
	pick := func(r *record) bool { return picked[r] && r.to != at }
	if at == 0 {
		pick = func(r *record) bool { return picked[r] }
	}
	if wide {
		pick = nil
	}
	found := ix.evaluateAll(ix.packagesUnder(keys, wide), pick)
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.install(found, pick == nil)
	for _, r := range made {
		ix.advised = latest(ix.advised, instant(max(r.from, r.to)))
	}
	ix.advised = latest(ix.advised, instant(at))
	ix.doubts.Store(nil)
}

// evaluateAll evaluates packages on all processors. Packages of one name mostly
// go to one of them, so that each makes few ranges ready. The caller holds
// writing, and nobody else changes what is read here.
func (ix *Index) evaluateAll(ids []uint32, pick func(*record) bool) map[uint32]matches {
	workers := min(runtime.GOMAXPROCS(0), 1+len(ids)/256)
	if workers == 1 {
		found := map[uint32]matches{}
		for _, id := range ids {
			found[id] = ix.evaluate(ix.packageOf(id), pick, ix.ready)
		}
		return found
	}
	parts := make([]map[uint32]matches, workers)
	var wg sync.WaitGroup
	for n := range workers {
		wg.Go(func() {
			parts[n] = map[uint32]matches{}
			y := ready{}
			for _, id := range ids {
				if int(ix.packages[id].name)%workers != n {
					continue
				}
				if m := ix.evaluate(ix.packageOf(id), pick, y); len(m.hits)+len(m.doubts) > 0 {
					parts[n][id] = m
				}
			}
		})
	}
	wg.Wait()
	for _, part := range parts[1:] {
		maps.Copy(parts[0], part)
	}
	return parts[0]
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// add files records under their names and keys. wide says that the releases
// under which packages are looked up have changed.
func (ix *Index) add(made []*record) (wide bool) {
	before := len(ix.distros)
	for _, r := range made {
		ix.records = append(ix.records, r)
		if r.to == 0 {
			ix.current[r.key] = r
		}
		for _, n := range r.Names() {
			n = strings.ToUpper(n)
			if !slices.Contains(ix.byName[n], r) {
				ix.byName[n] = append(ix.byName[n], r)
			}
		}
		for n, a := range r.Affected {
			key := searchKey(a.Type, a.Name)
			ix.rows[key] = append(ix.rows[key], row{r, n})
			if r.releases[n] != "" {
				ix.distros[r.releases[n]]++
			}
		}
		ix.count(r, 1)
	}
	if len(ix.distros) != before {
		clear(ix.resolved)
		for _, e := range ix.ecos {
			if e.distro != "" {
				ix.resolved[e.distro] = ix.resolve(e.distro)
			}
		}
		return len(ix.records) > len(made)
	}
	return false
}

// count keeps the times when ecosystems had advisories.
func (ix *Index) count(r *record, by int) {
	for n, a := range r.Affected {
		if a.Unaffected {
			continue
		}
		key := a.Type + licenceSeparator + r.releases[n]
		s, ok := ix.coverage[key]
		if !ok || r.from < s.from {
			s.from = r.from
		}
		if by < 0 || r.to == 0 {
			s.open += by
		}
		s.to = max(s.to, r.to)
		ix.coverage[key] = s
	}
}

// packagesUnder are the packages that advisories under the keys may concern.
func (ix *Index) packagesUnder(keys map[string]bool, wide bool) []uint32 {
	if wide {
		out := make([]uint32, 0, ix.known)
		for id := range ix.packages {
			if ix.packages[id].name != 0 {
				out = append(out, uint32(id))
			}
		}
		return out
	}
	var out []uint32
	for key := range keys {
		for _, n := range ix.bySearchKey[key] {
			out = append(out, ix.names[n-1].packages...)
		}
		out = append(out, ix.upstreams[key]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// install puts what was found in its place. whole says that it is everything
// there is on these packages, and replaces what is there.
func (ix *Index) install(found map[uint32]matches, whole bool) {
	if whole {
		ix.findings = 0
		clear(ix.hits)
		ix.doubtful = nil
		for _, r := range ix.records {
			r.hits, r.doubts = nil, nil
		}
	}
	for id, m := range found {
		ix.keep(id, m)
	}
	for _, r := range ix.records {
		slices.Sort(r.hits)
	}
}

// keep adds findings of one package.
func (ix *Index) keep(id uint32, m matches) {
	if len(m.hits) > 0 {
		ix.hits[id] = append(ix.hits[id], m.hits...)
	}
	for _, h := range m.hits {
		h.record.hits = append(h.record.hits, id)
		if h.record.to == 0 {
			ix.findings++
		}
	}
	for _, d := range m.doubts {
		d.pkg = id
		if len(d.record.doubts) == 0 {
			ix.doubtful = append(ix.doubtful, d.record)
		}
		d.record.doubts = append(d.record.doubts, d)
	}
}

// events tells what the records hit that was not hit before.
func (ix *Index) events(made []*record, before []map[uint32]bool, at time.Time) []Event {
	var out []Event
	for n, r := range made {
		var fresh []uint32
		images := make(set, len(ix.live))
		for _, id := range r.hits {
			if !before[n][id] {
				fresh = append(fresh, id)
				images.join(&ix.packages[id].images)
			}
		}
		images.intersect(ix.live)
		total := images.count()
		if total == 0 {
			continue
		}
		group := ix.group(r.Names(), 0)
		severity, _ := chain(r, group)
		e := Event{At: at, ID: r.ID, Aliases: r.Aliases, Severity: severity, KEV: exploited(group), Images: total}
		slices.SortFunc(fresh, func(a, b uint32) int {
			return cmp.Compare(ix.packages[b].images.size(), ix.packages[a].images.size())
		})
		for _, id := range fresh[:min(len(fresh), maxEventPackages)] {
			e.Packages = append(e.Packages, ix.packageOf(id))
		}
		for _, id := range images.newest(maxID, maxEventImages) {
			e.Newest = append(e.Newest, ix.ref(id))
		}
		out = append(out, e)
	}
	return out
}
