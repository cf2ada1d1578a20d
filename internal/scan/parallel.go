package scan

import (
	"context"
	"runtime"
	"sync"

	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// Grype matches one package after the other, and nearly all of that time goes
// into look-ups that do not depend on each other: its matchers hold settings
// only, and the store opens a connection for each look-up that runs beside
// another. So the matchers run ahead on all cores, and grype is then given
// matchers that only repeat what was found, for it to merge, ignore and drop
// as it always does.

// outcome is what a matcher returned for one package.
type outcome struct {
	matches  []match.Match
	ignored  []match.IgnoreFilter
	err      error
	panicked any
}

// remembered is a matcher that has already looked at every package.
type remembered struct {
	match.Matcher
	outcomes map[pkg.ID]*outcome
}

func (r remembered) Match(_ vulnerability.Provider, p pkg.Package) ([]match.Match, []match.IgnoreFilter, error) {
	o := r.outcomes[p.ID]
	if o.panicked != nil {
		panic(o.panicked) // Grype makes an error of it, as it would have before.
	}
	return o.matches, o.ignored, o.err
}

// ahead runs each matcher over the packages it looks after. A context that
// ends leaves the outcomes incomplete; the caller must not use them then.
func ahead(ctx context.Context, store vulnerability.Provider, matchers []match.Matcher, packages []pkg.Package) []match.Matcher {
	type job struct {
		m match.Matcher
		p pkg.Package
		o *outcome
	}
	var jobs []job
	out := make([]match.Matcher, len(matchers))
	byType, stock := indexed(matchers)
	for i, m := range matchers {
		r := remembered{m, map[pkg.ID]*outcome{}}
		for _, p := range packages {
			if !byType[p.Type][i] && (len(byType[p.Type]) > 0 || i != stock) {
				continue
			}
			o := &outcome{}
			r.outcomes[p.ID] = o
			jobs = append(jobs, job{m, p, o})
		}
		out[i] = r
	}

	work := make(chan job)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range work {
				j.o.run(j.m, store, j.p)
			}
		})
	}
	for _, j := range jobs {
		if ctx.Err() != nil {
			break
		}
		work <- j
	}
	close(work)
	workers.Wait()
	return out
}

func (o *outcome) run(m match.Matcher, store vulnerability.Provider, p pkg.Package) {
	defer func() { o.panicked = recover() }()
	o.matches, o.ignored, o.err = m.Match(store, p)
}

// indexed says which matchers look after a type of package, and which one is
// the stock matcher, which gets the types nobody looks after.
func indexed(matchers []match.Matcher) (byType map[syftpkg.Type]map[int]bool, stock int) {
	byType = map[syftpkg.Type]map[int]bool{}
	for i, m := range matchers {
		if m.Type() == match.StockMatcher {
			stock = i
			continue
		}
		for _, t := range m.PackageTypes() {
			if byType[t] == nil {
				byType[t] = map[int]bool{}
			}
			byType[t][i] = true
		}
	}
	return byType, stock
}

// unmetered is the store without the look-ups that only feed grype's progress
// display: three for each match.
type unmetered struct{ vulnerability.Provider }

func (unmetered) VulnerabilityMetadata(vulnerability.Reference) (*vulnerability.Metadata, error) {
	return nil, nil
}
