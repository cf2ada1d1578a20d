package sbom

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// The ways in which a document says too little to be worth signing. Each
// reads as "nothing wrong" to every scanner that is given the document.
var (
	// ErrNoPackages means that not one package was found.
	ErrNoPackages = errors.New("the SBOM lists no package")
	// ErrNoDistribution means that operating system packages have no
	// distribution, without which no advisory can be matched to them.
	ErrNoDistribution = errors.New("the SBOM lists operating system packages of no known distribution")
)

// osTypes are the package URL types whose advisories are those of a
// distribution.
var osTypes = []string{"deb", "rpm", "apk", "alpm", "ebuild", "qpkg"}

// OSType says that packages of a package URL type belong to a distribution.
func OSType(typ string) bool { return slices.Contains(osTypes, typ) }

// Check refuses a document that would pass every gate by saying nothing: it
// returns ErrNoPackages or ErrNoDistribution, with a hint.
func Check(d Document) error {
	if d.Total() == 0 {
		return hint.Add(ErrNoPackages,
			"keep the package database (/var/lib/dpkg, /lib/apk, *.dist-info) or the build information of Go programs in the image")
	}
	if d.Distro != "" {
		return nil
	}
	var types []string
	for typ, n := range d.Packages {
		if n > 0 && OSType(typ) {
			types = append(types, fmt.Sprintf("%d %s", n, typ))
		}
	}
	if len(types) == 0 {
		return nil
	}
	slices.Sort(types)
	return hint.Add(fmt.Errorf("%w: %s", ErrNoDistribution, strings.Join(types, ", ")),
		"keep /etc/os-release (or /usr/lib/os-release) in the image, with ID and VERSION_ID")
}
