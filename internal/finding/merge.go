package finding

import (
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/package-url/packageurl-go"
)

// MergePlatforms folds the reports on the images of an index into one on the
// index. A finding that several platforms have is listed once and says which;
// an ecosystem is covered when it is on every platform that has it. What the
// reports disagree about is taken from the worse side: the higher severity,
// the older database. Without reports the result is one that no gate passes.
func MergePlatforms(index v1.Hash, reports ...Report) Report {
	out := Report{Subject: index}
	findings, ecosystems, uncomparable := map[string]*Finding{}, map[string]*Coverage{}, map[string]*Package{}
	for i, r := range reports {
		if i == 0 {
			out.Image, out.Scanner, out.ScannerVersion, out.Database = r.Image, r.Scanner, r.ScannerVersion, r.Database
		}
		if r.Database.Built.Before(out.Database.Built) {
			out.Database = r.Database
		}
		for _, f := range r.Findings {
			fold(findings, f, r.Platform)
		}
		for _, c := range r.Coverage {
			if was := ecosystems[c.Ecosystem]; was != nil {
				c.Covered, c.Packages = c.Covered && was.Covered, max(c.Packages, was.Packages)
			}
			ecosystems[c.Ecosystem] = &c
		}
		for _, p := range r.Uncomparable {
			p.PURL = withoutArch(p.PURL)
			if was := uncomparable[packageKey(p)]; was != nil {
				p.Locations = union(was.Locations, p.Locations, maxLocations)
			}
			uncomparable[packageKey(p)] = &p
		}
	}
	for _, f := range findings {
		out.Findings = append(out.Findings, *f)
	}
	for _, c := range ecosystems {
		out.Coverage = append(out.Coverage, *c)
	}
	for _, p := range uncomparable {
		out.Uncomparable = append(out.Uncomparable, *p)
	}
	out.Sort()
	return out
}

// maxLocations is how many paths a package keeps.
const maxLocations = 5

// fold adds one platform's finding to those of the platforms before it. The
// package URL loses its architecture: kept, an exception or VEX statement for
// one architecture would clear the finding on all.
func fold(findings map[string]*Finding, f Finding, platform string) {
	if platform != "" {
		f.Platforms = union(f.Platforms, []string{platform}, 0)
	}
	f.Package.PURL = withoutArch(f.Package.PURL)
	key := strings.Join([]string{f.ID, f.Namespace, packageKey(f.Package)}, "\x00")
	was := findings[key]
	if was == nil {
		findings[key] = &f
		return
	}
	was.Platforms = union(was.Platforms, f.Platforms, 0)
	was.Package.Locations = union(was.Package.Locations, f.Package.Locations, maxLocations)
	was.Aliases = union(was.Aliases, f.Aliases, 0)
	was.FixedIn = union(was.FixedIn, f.FixedIn, 0)
	was.KEV = was.KEV || f.KEV
	if f.Severity > was.Severity {
		was.Severity, was.SeveritySource = f.Severity, f.SeveritySource
	}
	if f.Fixable() {
		was.FixState = f.FixState
	}
}

func packageKey(p Package) string {
	return strings.Join([]string{p.Name, p.Version, p.Type, p.PURL}, "\x00")
}

// withoutArch is a package URL that does not say the architecture.
func withoutArch(purl string) string {
	p, err := packageurl.FromString(purl)
	if err != nil || p.Qualifiers.Map()["arch"] == "" {
		return purl
	}
	p.Qualifiers = slices.DeleteFunc(p.Qualifiers, func(q packageurl.Qualifier) bool { return q.Key == "arch" })
	return p.ToString()
}

// union is the sorted union of two lists, cut to most entries unless that is
// zero; nil when it is empty.
func union(a, b []string, most int) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	all = slices.Compact(all)
	if most > 0 && len(all) > most {
		all = all[:most]
	}
	return slices.Clip(all)
}
