package scan

import (
	"context"

	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/search"
	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// Half of grype's searches ask which records say that a package is not
// affected, a few statements each time, and most databases hold no such record
// for most kinds of package. Whether they do is asked once for a kind.

// settled lists the types of package that no record calls unaffected.
type settled map[syftpkg.Type]bool

// settle asks for each type among the packages. Where grype looks for records
// under another distribution's name, as it does for rpm and for support
// channels, nothing is settled.
func (d *DB) settle(ctx context.Context, packages []pkg.Package) (settled, error) {
	out := settled{}
	for _, p := range packages {
		if _, asked := out[p.Type]; asked {
			continue
		}
		var found bool
		var err error
		switch {
		case p.Type == syftpkg.RpmPkg, p.Distro != nil && len(p.Distro.Channels) > 0:
			found = true
		case isOSPackage(p.Type):
			found, err = d.anyOfDistro(ctx, p.Distro, `SELECT 1 FROM unaffected_package_handles WHERE operating_system_id = ?`)
		default:
			found, err = d.anyOfType(ctx, p.Type, "unaffected_package_handles")
		}
		if err != nil {
			return nil, err
		}
		out[p.Type] = !found
	}
	return out, nil
}

// answers says that a search for a package of a type needs no look-up.
func (s settled) answers(t syftpkg.Type, criteria []vulnerability.Criteria) bool {
	unaffected := false
	for _, c := range criteria {
		switch c.(type) {
		case *search.CPECriteria:
			return false
		case *search.UnaffectedCriteria:
			unaffected = true
		}
	}
	return unaffected && s[t]
}
