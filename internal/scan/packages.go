package scan

import (
	"slices"
	"strings"

	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/cataloging"
	syftpkg "github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"
)

// packagesOf turns what syft found into what grype matches, as the grype
// command does for an image: distribution on every package, then packages
// that are part of a distribution's package removed, since the distribution's
// own advisories speak for them. Packages without a version, which grype drops
// before it matches, are given apart.
func packagesOf(found *syftsbom.SBOM) (packages, versionless []pkg.Package, where pkg.Context) {
	where = pkg.Context{Source: &found.Source, Distro: distroOf(found)}
	where.DistroDetectionFailed = found.Artifacts.LinuxDistribution != nil && where.Distro == nil

	all := pkg.FromCollection(found.Artifacts.Packages, found.Relationships, pkg.SynthesisConfig{
		Distro: pkg.DistroConfig{FixChannels: distro.DefaultFixChannels()},
	})
	for _, p := range all {
		p.Distro = where.Distro
	}
	all = slices.DeleteFunc(all, ownedByDistribution)
	for _, p := range pkg.FromPtrs(all) {
		if noVersion(p) {
			versionless = append(versionless, p)
		} else {
			packages = append(packages, p)
		}
	}
	return packages, versionless, where
}

func noVersion(p pkg.Package) bool {
	return p.Version == "" || p.Version == cataloging.UnknownStubValue
}

// distroOf is the distribution with the fix channels that grype applies without
// being told.
func distroOf(found *syftsbom.SBOM) *distro.Distro {
	if found.Artifacts.LinuxDistribution == nil {
		return nil
	}
	// Grype rewrites the names of similar distributions where they stand.
	release := *found.Artifacts.LinuxDistribution
	release.IDLike = slices.Clone(release.IDLike)
	return distro.FromRelease(&release, distro.DefaultFixChannels())
}

// comprehensive are the distributions that also publish what they have not
// fixed, so that their silence about a package of theirs means something.
var comprehensive = []distro.Type{
	distro.ArchLinux, distro.Azure, distro.Debian, distro.Mariner,
	distro.RedHat, distro.SLES, distro.Ubuntu,
}

// ownedByDistribution says that p is only another view of a distribution's
// package, of about the same version, that owns p's files. Grype has the same
// rule; it is not exported there, and a test compares the two.
func ownedByDistribution(p *pkg.Package) bool {
	for _, owner := range p.RelatedPackages[artifact.OwnershipByFileOverlapRelationship] {
		if owner.Distro == nil ||
			!strings.HasPrefix(owner.Version, p.Version) && !strings.HasPrefix(p.Version, owner.Version) {
			continue
		}
		if p.Type == syftpkg.BinaryPkg {
			return true
		}
		if isComprehensive(owner.Distro) && isOSPackage(owner.Type) && !isOSPackage(p.Type) {
			return true
		}
	}
	return false
}

func isComprehensive(d *distro.Distro) bool {
	if d.Type == distro.AmazonLinux {
		return false
	}
	for _, c := range comprehensive {
		if strings.EqualFold(string(c), d.Name()) {
			return true
		}
		if slices.ContainsFunc(d.IDLike, func(like string) bool { return strings.EqualFold(string(c), like) }) {
			return true
		}
	}
	return false
}

// isOSPackage says that packages of a type come from a distribution.
func isOSPackage(t syftpkg.Type) bool {
	switch t {
	case syftpkg.DebPkg, syftpkg.RpmPkg, syftpkg.PortagePkg, syftpkg.AlpmPkg, syftpkg.ApkPkg:
		return true
	}
	return false
}
