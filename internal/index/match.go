package index

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/anchore/grype/grype/version"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// formats are the ways the versions of package URL types compare. Types that
// are not here are compared as the advisory's own range says.
var formats = map[string]version.Format{
	"apk": version.ApkFormat, "bitnami": version.BitnamiFormat, "deb": version.DebFormat, "maven": version.MavenFormat,
	"rpm": version.RpmFormat, "gem": version.GemFormat, "pypi": version.PythonFormat, "ebuild": version.PortageFormat,
	"golang": version.GolangFormat, "alpm": version.PacmanFormat,
}

// parsed gives a package's version ready for comparison. A source package's
// epoch may be missing from what an RPM says of it, and then the other side's
// counts; one of a Debian package that is missing is zero.
func parsed(typ, v string, indirect bool) *version.Version {
	var c version.ComparisonConfig
	switch typ {
	case "deb":
		c.MissingEpochStrategy = version.MissingEpochStrategyZero
	case "rpm":
		c.MissingEpochStrategy = version.MissingEpochStrategyAuto
		if !indirect && v != "" && !strings.EqualFold(v, "unknown") && !strings.Contains(v, ":") {
			v = "0:" + v
		}
	}
	return version.NewWithConfig(v, formats[typ], c)
}

// term is one name advisories on a package may be filed under, with the
// version to compare.
type term struct {
	key      string
	name     string
	version  string
	indirect bool
}

func terms(c component.Package) []term {
	out := []term{{key: searchKey(c.Type, c.FullName()), name: c.FullName(), version: c.Version}}
	for _, s := range sources(c.Upstream) {
		if kernelHeaders(c, s.name) {
			continue
		}
		v := s.version
		if v == "" {
			v = c.Version
		}
		out = append(out, term{key: searchKey(c.Type, s.name), name: s.name, version: v, indirect: true})
	}
	return out
}

var (
	debHeaders = regexp.MustCompile(`^(linux(-.*)?-headers-.*|linux-kbuild-.*)$`)
	anyLinux   = regexp.MustCompile(`^linux.*$`)
)

// kernelHeaders says that a package is merely the headers of the kernel it is
// built from. They hold none of its code; grype leaves them out too.
func kernelHeaders(c component.Package, source string) bool {
	switch c.Type {
	case "rpm":
		return c.Name == "kernel-headers" && source == "kernel"
	case "deb":
		return c.Name == "linux-libc-dev" && source == "linux" || debHeaders.MatchString(c.Name) && anyLinux.MatchString(source)
	}
	return false
}

// concerns says that a row is about the package as far as anything but the
// version goes; why not is said in a word or two.
func (ix *Index) concerns(r row, c component.Package, t term) (bool, string) {
	a := &r.record.Affected[r.at]
	if component.OS(c.Type) {
		if c.Distro == "" {
			return false, "distribution unknown"
		}
		if !slices.Contains(ix.releases(c.Distro), r.record.releases[r.at]) {
			return false, "other distribution"
		}
	}
	if a.Module != nil && c.Module != "" && (*a.Module == "" || !strings.HasPrefix(c.Module, *a.Module)) {
		return false, "other module"
	}
	// A row for source packages is not about a binary one, and the reverse.
	if a.Arch != "" && (a.Arch == "src") != t.indirect {
		return false, "other architecture"
	}
	return true, ""
}

// verdict is the outcome of one row's comparison.
type verdict struct {
	in    bool
	at    int // the range that holds the version
	doubt error
}

var errNoVersion = errors.New("it has no version")

// compare holds the version against the ranges of a row. v is the term's
// version, which keeps what it was parsed to between rows.
func compare(ranges []constraint, v *version.Version) verdict {
	if v.Raw == "" || strings.EqualFold(v.Raw, "unknown") {
		return verdict{doubt: errNoVersion}
	}
	var doubt error
	for n, one := range ranges {
		if one.err != nil {
			doubt = one.err
			continue
		}
		in, err := one.satisfied(v)
		var unsupported *version.UnsupportedComparisonError
		var loose *version.NonFatalConstraintError
		switch {
		case err == nil, errors.As(err, &loose):
		case errors.As(err, &unsupported):
			in = false
		default:
			doubt = err
			continue
		}
		if in {
			return verdict{in: true, at: n}
		}
	}
	return verdict{doubt: doubt}
}

// constraint is a range made ready, or why it cannot be.
type constraint struct {
	version.Constraint
	err error
}

func (c constraint) satisfied(v *version.Version) (bool, error) { return c.Satisfied(v) }

// compile makes ranges ready. What it returns keeps state and is not to be
// used by two goroutines.
func compile(ranges []vulnerability.Range) []constraint {
	out := make([]constraint, len(ranges))
	for n, r := range ranges {
		out[n].Constraint, out[n].err = version.GetConstraint(r.Constraint, version.ParseFormat(r.Format))
		if out[n].err != nil {
			out[n].err = fmt.Errorf("range %q: %w", r.Constraint, out[n].err)
		}
	}
	return out
}

// matches is what evaluating one package gives.
type matches struct {
	hits   []hit
	doubts []doubt
}

// ready are rows' ranges made ready, by one goroutine for itself.
type ready map[row][]constraint

// maxReady bounds what the writer keeps ready between writes.
const maxReady = 20_000

func (y ready) ranges(r row) []constraint {
	made, ok := y[r]
	if !ok {
		if len(y) >= maxReady {
			clear(y)
		}
		made = compile(r.record.Affected[r.at].Ranges)
		y[r] = made
	}
	return made
}

// evaluate compares a package with the advisories filed under its names; pick
// limits it to some records, nil means all. The caller holds writing.
func (ix *Index) evaluate(c component.Package, pick func(*record) bool, y ready) matches {
	var m matches
	var takenBack []*record
	for _, t := range terms(c) {
		own := parsed(c.Type, t.version, t.indirect)
		for _, r := range ix.rows[t.key] {
			unaffected := r.record.Affected[r.at].Unaffected
			if !unaffected && pick != nil && !pick(r.record) || r.record.Withdrawn {
				continue
			}
			if ok, _ := ix.concerns(r, c, t); !ok {
				continue
			}
			v := compare(y.ranges(r), own)
			switch {
			case v.in && unaffected:
				takenBack = append(takenBack, r.record)
			case v.in:
				m.hit(hit{record: r.record, row: int32(r.at), at: int32(v.at)})
			case v.doubt != nil && !unaffected:
				m.doubt(doubt{record: r.record, reason: v.doubt.Error()})
			}
		}
	}
	if len(takenBack) > 0 {
		m.hits = slices.DeleteFunc(m.hits, func(h hit) bool {
			return slices.ContainsFunc(takenBack, func(r *record) bool { return r.overlaps(h.record) && r.sameAs(h.record) })
		})
	}
	// A package that one row hits is not in doubt for another.
	m.doubts = slices.DeleteFunc(m.doubts, func(d doubt) bool {
		return slices.ContainsFunc(m.hits, func(h hit) bool { return h.record == d.record })
	})
	return m
}

// hit keeps the first row of each record: the package's own name comes before
// its source package's.
func (m *matches) hit(h hit) {
	if !slices.ContainsFunc(m.hits, func(o hit) bool { return o.record == h.record }) {
		m.hits = append(m.hits, h)
	}
}

func (m *matches) doubt(d doubt) {
	if !slices.ContainsFunc(m.doubts, func(o doubt) bool { return o.record == d.record }) {
		m.doubts = append(m.doubts, d)
	}
}
