package advisory

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/version"

	"github.com/hallmark-sh/hallmark/internal/advisory/osv"
)

// writable says that a version can stand in a constraint: grype's parser gives
// the other characters a meaning of their own.
var writable = regexp.MustCompile(`^[A-Za-z0-9.+_~:^!-]+$`)

var (
	errNoVersion = errors.New("names no version")
	errGitOnly   = errors.New("names commits (GIT ranges) only")
)

// rangesOf turns what a record says of one package into grype's ranges, one an
// interval, with its own fix, joined with the listed versions that no interval
// holds. The notes say where it had to be inexact; it is then never narrower
// than the record.
func rangesOf(a osv.Affected, t target) (ranges []v6.Range, notes []string, err error) {
	intervals, notes := intervalsOf(a, t)
	for _, i := range intervals {
		if i.All() {
			return []v6.Range{{Version: v6.Version{Type: t.format}, Fix: &v6.Fix{State: v6.NotFixedStatus}}}, notes, nil
		}
	}
	for _, i := range intervals {
		r, note := t.rangeFor(i)
		if note != "" {
			notes = append(notes, note)
		}
		ranges = append(ranges, r)
	}
	listed, more := t.listed(a.Versions, intervals)
	notes = append(notes, more...)
	ranges = append(ranges, listed...)
	if len(ranges) > 0 {
		return ranges, notes, nil
	}
	if slices.ContainsFunc(a.Ranges, func(r osv.Range) bool { return r.Type == "GIT" }) {
		return nil, notes, errGitOnly
	}
	return nil, notes, errNoVersion
}

func intervalsOf(a osv.Affected, t target) (intervals []osv.Interval, notes []string) {
	walk := func(ranges []osv.Range) (out []osv.Interval) {
		for _, r := range ranges {
			if r.Type == "GIT" {
				continue
			}
			found, exact := osv.Walk(r.Events, t.compare)
			if !exact {
				notes = append(notes, "a range's events cannot be put in order; taken as written")
			}
			out = append(out, found...)
		}
		return out
	}
	intervals = walk(a.Ranges)
	if t.format == "go" && len(a.Eco.Custom) > 0 {
		intervals = joinCustom(intervals, walk(a.Eco.Custom), t.compare)
	}
	if bound, ok := a.Specific["last_known_affected_version_range"].(string); ok {
		intervals = capOpen(intervals, bound)
	}
	return intervals, notes
}

// joinCustom joins Go's standard range with its custom ranges, which tell the
// same in the versions the module is tagged with. An open end on one side is
// the database's "could not say": the side with an end decides, above the
// other's first version.
func joinCustom(standard, custom []osv.Interval, cmp osv.Compare) []osv.Interval {
	bounded := func(in []osv.Interval) (out []osv.Interval) {
		for _, i := range in {
			if i.High != "" {
				out = append(out, i)
			}
		}
		return out
	}
	var joined []osv.Interval
	switch {
	case len(custom) == 0:
		joined = standard
	case len(standard) == 0:
		joined = custom
	case len(bounded(standard)) == 0:
		joined = osv.Clip(custom, standard[0].Low, "", cmp)
	case len(bounded(custom)) == 0:
		joined = osv.Clip(bounded(standard), custom[0].Low, "", cmp)
	default:
		joined = append(bounded(standard), custom...)
	}
	if len(joined) == 0 {
		return standard
	}
	return joined
}

// capOpen ends the open intervals where GitHub says the last known affected
// version lies, as "<= 1.2.3" or "< 1.2.3".
func capOpen(intervals []osv.Interval, bound string) []osv.Interval {
	rest, found := strings.CutPrefix(strings.TrimSpace(bound), "<")
	if !found {
		return intervals
	}
	high, closed := strings.CutPrefix(rest, "=")
	high = strings.TrimSpace(high)
	if !writable.MatchString(high) {
		return intervals
	}
	out := slices.Clone(intervals)
	for i := range out {
		if out[i].High == "" {
			out[i].High, out[i].Closed = high, closed
		}
	}
	return out
}

// rangeFor writes one interval as a grype range. A bound that cannot stand in
// a constraint is left out, which widens the range. One that the ecosystem's
// format cannot read makes grype compare loosely, as it does for GitHub's.
func (t target) rangeFor(i osv.Interval) (r v6.Range, note string) {
	format := t.format
	var parts []string
	bound := func(operator, v string) {
		switch {
		case v == "":
		case !writable.MatchString(v):
			note = fmt.Sprintf("bound %q cannot be written; left out", v)
		default:
			parts = append(parts, operator+v)
			if version.New(v, version.ParseFormat(t.format)).Validate() != nil {
				format, note = "unknown", fmt.Sprintf("bound %q is no %s version; compared loosely", v, t.format)
			}
		}
	}
	bound(">=", i.Low)
	if i.Closed {
		bound("<=", i.High)
	} else {
		bound("<", i.High)
	}
	r.Version = v6.Version{Type: format, Constraint: strings.Join(parts, ",")}
	switch {
	case i.Fixed:
		r.Fix = &v6.Fix{Version: i.High, State: v6.FixedStatus}
	case i.High == "":
		r.Fix = &v6.Fix{State: v6.NotFixedStatus}
	}
	return r, note
}

// listed gives ranges for the versions that a record lists and no interval
// holds: exact versions, compared loosely when the format cannot read them.
func (t target) listed(versions []string, intervals []osv.Interval) (ranges []v6.Range, notes []string) {
	exact := map[string][]string{}
	for _, v := range versions {
		if slices.ContainsFunc(intervals, func(i osv.Interval) bool {
			in, err := i.Contains(v, t.compare)
			return err == nil && in
		}) {
			continue
		}
		format := t.format
		switch {
		case !writable.MatchString(v):
			notes = append(notes, fmt.Sprintf("listed version %q cannot be written; left out", v))
			continue
		case version.New(v, version.ParseFormat(t.format)).Validate() != nil:
			format = "unknown"
		}
		exact[format] = append(exact[format], "="+v)
	}
	for _, format := range []string{t.format, "unknown"} {
		list := exact[format]
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		ranges = append(ranges, v6.Range{Version: v6.Version{
			Type: format, Constraint: strings.Join(slices.Compact(list), "||")}})
	}
	return ranges, notes
}
