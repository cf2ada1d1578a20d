package scan

import (
	"errors"
	"testing"

	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// stubborn is a matcher that fails, or panics, on every package.
type stubborn struct {
	match.Matcher
	err error
}

func (s stubborn) Match(vulnerability.Provider, pkg.Package) ([]match.Match, []match.IgnoreFilter, error) {
	if s.err == nil {
		panic("a bug")
	}
	return nil, nil, s.err
}
func (stubborn) PackageTypes() []syftpkg.Type { return []syftpkg.Type{syftpkg.PythonPkg} }
func (stubborn) Type() match.MatcherType      { return match.PythonMatcher }

// Grype only logs what a matcher returns beside its matches.
func TestLedgerKeepsErrors(t *testing.T) {
	l := newLedger(nil)
	p := pkg.Package{ID: "1", Name: "requests", Version: "2.31.0", Type: syftpkg.PythonPkg}
	broken := errors.New("broken")
	for _, m := range ahead(t.Context(), nil, l.watch([]match.Matcher{stubborn{err: broken}}), []pkg.Package{p}) {
		if _, _, err := m.Match(nil, p); !errors.Is(err, broken) {
			t.Errorf("the matcher gave %v", err)
		}
	}
	if !errors.Is(l.failed, broken) {
		t.Errorf("the ledger has %v", l.failed)
	}
}

// A panic in a worker would end the program; it must reach grype, which makes
// an error of it.
func TestAheadKeepsPanics(t *testing.T) {
	p := pkg.Package{ID: "1", Type: syftpkg.PythonPkg}
	m := ahead(t.Context(), nil, []match.Matcher{stubborn{}}, []pkg.Package{p})[0]
	defer func() {
		if got := recover(); got != "a bug" {
			t.Errorf("recovered %v", got)
		}
	}()
	_, _, _ = m.Match(nil, p)
}
