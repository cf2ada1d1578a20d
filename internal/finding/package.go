package finding

import (
	"cmp"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"
)

// Is says that ref means this package: either its exact name, or a package URL
// that is equal to it or more general. A package URL is more general when it
// leaves out the version, qualifiers or subpath; what it does write must be
// the same. A package without a package URL of its own is never meant by one.
func (p Package) Is(ref string) bool {
	if !strings.HasPrefix(ref, "pkg:") {
		return ref != "" && ref == p.Name
	}
	general, err := packageurl.FromString(ref)
	if err != nil {
		return false
	}
	own, err := packageurl.FromString(p.PURL)
	if err != nil {
		return false
	}
	if general.Type != own.Type || general.Namespace != own.Namespace || general.Name != own.Name {
		return false
	}
	if general.Version != "" && general.Version != own.Version {
		return false
	}
	if general.Subpath != "" && general.Subpath != own.Subpath {
		return false
	}
	qualifiers := own.Qualifiers.Map()
	return !slices.ContainsFunc(general.Qualifiers, func(q packageurl.Qualifier) bool {
		value, has := qualifiers[q.Key]
		return !has || value != q.Value
	})
}

func comparePackages(a, b Package) int {
	return cmp.Or(
		strings.Compare(a.Name, b.Name),
		strings.Compare(a.Version, b.Version),
		strings.Compare(a.Type, b.Type),
		strings.Compare(a.PURL, b.PURL),
		slices.Compare(a.Locations, b.Locations),
	)
}
