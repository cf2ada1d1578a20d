package scan

import (
	"fmt"
	"sync"

	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/grype/grype/vulnerability"
)

// ledger writes down what grype's matchers pass over in silence. A failed
// look-up reads as "no vulnerability" there, and so does a version that no
// range can be compared with.
type ledger struct {
	settled settled

	mu           sync.Mutex
	failed       error
	uncomparable map[pkg.ID]pkg.Package
}

func newLedger(s settled) *ledger {
	return &ledger{settled: s, uncomparable: map[pkg.ID]pkg.Package{}}
}

// fail keeps the first error.
func (l *ledger) fail(p pkg.Package, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("matching %s %s: %w", p.Name, p.Version, err)
	}
}

func (l *ledger) cannotCompare(p pkg.Package) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uncomparable[p.ID] = p
}

// watch gives the matchers with their silences written down in l.
func (l *ledger) watch(matchers []match.Matcher) []match.Matcher {
	out := make([]match.Matcher, len(matchers))
	for i, m := range matchers {
		out[i] = watchedMatcher{m, l}
	}
	return out
}

type watchedMatcher struct {
	match.Matcher
	ledger *ledger
}

func (m watchedMatcher) Match(store vulnerability.Provider, p pkg.Package) ([]match.Match, []match.IgnoreFilter, error) {
	matches, ignored, err := m.Matcher.Match(watchedStore{store, m.ledger, p}, p)
	if err != nil {
		m.ledger.fail(p, err)
	}
	return matches, ignored, err
}

// watchedStore is the database while one package is matched.
type watchedStore struct {
	vulnerability.Provider
	ledger *ledger
	p      pkg.Package
}

func (s watchedStore) FindVulnerabilities(criteria ...vulnerability.Criteria) ([]vulnerability.Vulnerability, error) {
	if s.ledger.settled.answers(s.p.Type, criteria) {
		return nil, nil
	}
	found, err := s.Provider.FindVulnerabilities(criteria...)
	if err != nil {
		s.ledger.fail(s.p, err)
		return nil, err
	}
	for i := range found {
		if c := found[i].Constraint; c != nil {
			found[i].Constraint = watchedConstraint{c, s}
		}
	}
	return found, nil
}

type watchedConstraint struct {
	version.Constraint
	store watchedStore
}

func (c watchedConstraint) Satisfied(v *version.Version) (bool, error) {
	ok, err := c.Constraint.Satisfied(v)
	if err != nil {
		c.store.ledger.cannotCompare(c.store.p)
	}
	return ok, err
}
