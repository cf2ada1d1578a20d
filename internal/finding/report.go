package finding

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// MaxReport is the size in bytes above which a report is not read.
const MaxReport = 64 << 20

// Sort puts everything in r in the one order a report is written in: findings
// from the worst severity down, then by identifier, package and version.
func (r *Report) Sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(b.Severity, a.Severity),
			strings.Compare(a.ID, b.ID),
			comparePackages(a.Package, b.Package),
			strings.Compare(a.Namespace, b.Namespace),
		)
	})
	slices.SortStableFunc(r.Coverage, func(a, b Coverage) int { return strings.Compare(a.Ecosystem, b.Ecosystem) })
	slices.SortStableFunc(r.Uncomparable, comparePackages)
}

// sorted is r in order, without touching r's own lists.
func (r Report) sorted() Report {
	r.Findings, r.Coverage, r.Uncomparable = slices.Clone(r.Findings), slices.Clone(r.Coverage), slices.Clone(r.Uncomparable)
	r.Sort()
	return r
}

// Counts counts the findings of each severity. A severity without findings is
// not in the map.
func (r Report) Counts() map[Severity]int {
	counts := map[Severity]int{}
	for _, f := range r.Findings {
		counts[f.Severity]++
	}
	return counts
}

// MarshalJSON writes r as docs/schemas/scan-v1.schema.json describes it. Lists
// that must be there are written even when they are empty.
func (r Report) MarshalJSON() ([]byte, error) {
	type plain Report
	if r.Coverage == nil {
		r.Coverage = []Coverage{}
	}
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return json.Marshal(plain(r))
}

// UnmarshalJSON reads what MarshalJSON writes. Members it does not know are
// ignored, as in-toto asks of readers of predicates; members that must be
// there are not assumed, because a report without findings would otherwise
// read as an image without findings.
func (r *Report) UnmarshalJSON(data []byte) error {
	type plain Report
	var v plain
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	var has struct {
		Subject, Scanner, Database, Coverage, Findings json.RawMessage
	}
	if err := json.Unmarshal(data, &has); err != nil {
		return err
	}
	for _, m := range []struct {
		name  string
		value json.RawMessage
	}{
		{"subject", has.Subject}, {"scanner", has.Scanner}, {"database", has.Database},
		{"coverage", has.Coverage}, {"findings", has.Findings},
	} {
		if len(m.value) == 0 || string(m.value) == "null" {
			return fmt.Errorf("scan report has no %s", m.name)
		}
	}
	for i, f := range v.Findings {
		if f.ID == "" || f.Package.Name == "" {
			return fmt.Errorf("finding %d of the scan report names no vulnerability or no package", i)
		}
	}
	*r = Report(v)
	return nil
}

// UnmarshalJSON reads a finding. Its severity and whether it is known to be
// exploited must be said: the least of both is not a default.
func (f *Finding) UnmarshalJSON(data []byte) error {
	type plain Finding
	v := struct {
		*plain
		Severity *Severity `json:"severity"`
		KEV      *bool     `json:"kev"`
	}{plain: new(plain)}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if v.Severity == nil || v.KEV == nil {
		return fmt.Errorf("finding %s has no severity or does not say kev", v.ID)
	}
	*f = Finding(*v.plain)
	f.Severity, f.KEV = *v.Severity, *v.KEV
	return nil
}

// UnmarshalJSON reads a coverage. Whether it is covered must be said.
func (c *Coverage) UnmarshalJSON(data []byte) error {
	type plain Coverage
	v := struct {
		*plain
		Covered *bool `json:"covered"`
	}{plain: new(plain)}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if v.Covered == nil {
		return fmt.Errorf("coverage of %s does not say covered", v.Ecosystem)
	}
	*c = Coverage(*v.plain)
	c.Covered = *v.Covered
	return nil
}

// Decode reads a report as it is attested.
func Decode(data []byte) (Report, error) {
	var r Report
	if len(data) > MaxReport {
		return r, fmt.Errorf("reading scan report: larger than %d bytes", MaxReport)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Report{}, fmt.Errorf("reading scan report: %w", err)
	}
	return r, nil
}
