package scan

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/anchore/grype/grype"
	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/matcher"
	"github.com/anchore/grype/grype/matcher/dpkg"
	"github.com/anchore/grype/grype/matcher/rpm"
	"github.com/anchore/grype/grype/matcher/stock"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/search"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/hallmark-sh/hallmark/internal/catalog"
	"github.com/hallmark-sh/hallmark/internal/finding"
)

// Match matches what an image holds against the database. A look-up that
// failed for any package is an error; there is no partial report.
func (d *DB) Match(ctx context.Context, inv *catalog.Inventory) (finding.Report, error) {
	packages, versionless, where := packagesOf(inv.Packages)
	settled, err := d.settle(ctx, packages)
	if err != nil {
		return finding.Report{}, fmt.Errorf("looking for records of unaffected packages: %w", err)
	}
	ledger := newLedger(settled)
	m := grype.VulnerabilityMatcher{
		VulnerabilityProvider: unmetered{d.provider},
		Matchers:              ahead(ctx, d.provider, ledger.watch(matchers()), packages),
		IgnoreRules:           kernelHeaders(),
	}
	matches, _, err := m.FindMatchesContext(ctx, packages, where)
	if err == nil {
		err = ledger.failed
	}
	if err != nil {
		return finding.Report{}, err
	}

	r := finding.Report{
		Subject:        inv.Document.Subject,
		Platform:       inv.Document.Platform,
		Scanner:        "grype",
		ScannerVersion: grypeVersion(),
		Findings:       []finding.Finding{},
	}
	for found := range matches.Enumerate() {
		f, err := d.finding(found)
		if err != nil {
			return finding.Report{}, err
		}
		r.Findings = append(r.Findings, f)
	}
	slices.SortFunc(r.Findings, byWeight)

	if r.Coverage, err = d.coverage(ctx, append(packages, versionless...), inv.Document.Distro); err != nil {
		return finding.Report{}, err
	}
	if err := d.unversioned(packages, versionless, ledger); err != nil {
		return finding.Report{}, err
	}
	for _, p := range ledger.uncomparable {
		r.Uncomparable = append(r.Uncomparable, packageOf(p))
	}
	slices.SortFunc(r.Uncomparable, byName)

	r.Database, err = d.Database(ctx)
	return r, err
}

// matchers are grype's with the settings of its command line.
func matchers() []match.Matcher {
	return matcher.NewDefaultMatchers(matcher.Config{
		Stock: stock.MatcherConfig{UseCPEs: true},
		Dpkg:  dpkg.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyZero},
		Rpm:   rpm.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyAuto},
	})
}

// kernelHeaders are the only matches grype's command ignores of its own accord:
// those a package of kernel headers has merely because it is built from the
// kernel's source.
func kernelHeaders() []match.IgnoreRule {
	rule := func(name, upstream string, t syftpkg.Type) match.IgnoreRule {
		return match.IgnoreRule{
			Package:   match.IgnoreRulePackage{Name: name, UpstreamName: upstream, Type: string(t)},
			MatchType: match.ExactIndirectMatch,
		}
	}
	return []match.IgnoreRule{
		rule("kernel-headers", "kernel", syftpkg.RpmPkg),
		rule("linux(-.*)?-headers-.*", "linux.*", syftpkg.DebPkg),
		rule("linux-libc-dev", "linux", syftpkg.DebPkg),
		rule("linux-kbuild-.*", "linux.*", syftpkg.DebPkg),
	}
}

// unversioned adds to the ledger the packages grype does not even try: those
// without a version, and the main module of a Go program built outside version
// control. Only those that an advisory names are in doubt.
func (d *DB) unversioned(packages, versionless []pkg.Package, l *ledger) error {
	for _, p := range packages {
		if m, ok := p.Metadata.(pkg.GolangBinMetadata); ok && p.Name == m.MainModule &&
			(strings.HasPrefix(p.Version, "(devel)") || strings.HasPrefix(p.Version, "v0.0.0-")) {
			versionless = append(versionless, p)
		}
	}
	for _, p := range versionless {
		for _, name := range d.provider.PackageSearchNames(p) {
			criteria := []vulnerability.Criteria{search.ByPackageName(name)}
			if isOSPackage(p.Type) {
				if p.Distro == nil {
					continue
				}
				criteria = append(criteria, search.ByDistro(*p.Distro))
			} else {
				criteria = append(criteria, search.ByEcosystem(p.Language, p.Type))
			}
			found, err := d.provider.FindVulnerabilities(criteria...)
			if err != nil {
				return fmt.Errorf("looking up %s: %w", name, err)
			}
			if len(found) > 0 {
				l.cannotCompare(p)
			}
		}
	}
	return nil
}

// grypeVersion is the version of grype that is linked in.
func grypeVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/anchore/grype" {
				return dep.Version
			}
		}
	}
	return "unknown"
}
