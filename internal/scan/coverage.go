package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/pkg"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// coverage says for each ecosystem among the packages whether the database has
// anything that could have matched. A language package that belongs to a
// distribution's package is not among them: the distribution answers for it.
func (d *DB) coverage(ctx context.Context, packages []pkg.Package, distroName string) ([]finding.Coverage, error) {
	byName := map[string]*finding.Coverage{}
	known := map[syftpkg.Type]bool{}
	for _, p := range packages {
		if _, seen := known[p.Type]; !seen {
			covered, err := d.covers(ctx, p)
			if err != nil {
				return nil, fmt.Errorf("looking for advisories on %s packages: %w", p.Type, err)
			}
			known[p.Type] = covered
		}
		name := ecosystem(p, distroName)
		c := byName[name]
		if c == nil {
			c = &finding.Coverage{Ecosystem: name}
			byName[name] = c
		}
		c.Packages++
		c.Covered = c.Covered || known[p.Type]
	}
	out := []finding.Coverage{}
	for _, c := range byName {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b finding.Coverage) int { return strings.Compare(a.Ecosystem, b.Ecosystem) })
	return out, nil
}

func ecosystem(p pkg.Package, distroName string) string {
	name := typeOf(p)
	if !isOSPackage(p.Type) {
		return name
	}
	if distroName == "" {
		distroName = "no distribution"
	}
	return fmt.Sprintf("%s (%s)", name, distroName)
}

// covers says that the database holds a row for packages of p's type, and for
// p's distribution when it comes from one. A type that no matcher of its own
// looks after is matched by name and by CPE.
func (d *DB) covers(ctx context.Context, p pkg.Package) (bool, error) {
	if isOSPackage(p.Type) {
		return d.coversDistro(ctx, p.Distro)
	}
	covered, err := d.anyOfType(ctx, p.Type, "affected_package_handles")
	if err != nil || covered || !matchedByCPE(p.Type) {
		return covered, err
	}
	return d.exists(ctx, `SELECT 1 FROM affected_cpe_handles`)
}

// anyOfType says that a table of packages has a row for a type of package, of
// no distribution.
func (d *DB) anyOfType(ctx context.Context, t syftpkg.Type, table string) (bool, error) {
	return d.exists(ctx, `SELECT 1 FROM packages p JOIN `+table+` a ON a.package_id = p.id
		WHERE a.operating_system_id IS NULL AND (p.ecosystem = ? COLLATE NOCASE OR p.ecosystem IN (
			SELECT replacement_ecosystem FROM package_specifier_overrides WHERE ecosystem = ? COLLATE NOCASE))`,
		string(t), string(t))
}

func (d *DB) coversDistro(ctx context.Context, os *distro.Distro) (bool, error) {
	return d.anyOfDistro(ctx, os, `SELECT 1 FROM affected_package_handles WHERE operating_system_id = ?`)
}

// anyOfDistro says that a query has a row for one of the database's records of
// a distribution, found as grype finds them.
func (d *DB) anyOfDistro(ctx context.Context, os *distro.Distro, query string) (bool, error) {
	if os == nil {
		return false, nil
	}
	systems, err := d.reader.GetOperatingSystems(v6.OSSpecifier{
		Name:             os.Name(),
		MajorVersion:     os.MajorVersion(),
		MinorVersion:     os.MinorVersion(),
		RemainingVersion: os.RemainingVersion(),
		LabelVersion:     os.LabelVersion(),
	})
	if err != nil && !errors.Is(err, v6.ErrMissingOSIdentification) {
		return false, err
	}
	for _, s := range systems {
		found, err := d.exists(ctx, query, int64(s.ID))
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// matchedByCPE says that grype's stock matcher, which searches CPEs, gets
// packages of a type.
func matchedByCPE(t syftpkg.Type) bool {
	for _, m := range matchers() {
		if slices.Contains(m.PackageTypes(), t) {
			return false
		}
	}
	return true
}
