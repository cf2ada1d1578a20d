package advisory

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/name"
	"github.com/anchore/grype/grype/version"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// target is where grype looks for an OSV package: the package type it stores
// rows under, the format it compares versions in, and the operating system for
// distribution packages.
type target struct {
	ecosystem string
	// format is the word stored beside each constraint.
	format string
	os     *v6.OperatingSystem
	// provider is what grype's own feeds call the distribution's data; empty
	// for language packages, whose provider depends on the record.
	provider string
}

// languages maps OSV ecosystems of language packages to grype's types, as its
// GitHub and OSV providers store them.
var languages = map[string]target{
	"Bitnami":        {ecosystem: "Bitnami", format: "bitnami"},
	"crates.io":      {ecosystem: string(syftpkg.RustPkg), format: "semver"},
	"GitHub Actions": {ecosystem: string(syftpkg.GithubActionPkg), format: "github-action"},
	"Go":             {ecosystem: string(syftpkg.GoModulePkg), format: "go"},
	"Hex":            {ecosystem: string(syftpkg.HexPkg), format: "hex"},
	"Maven":          {ecosystem: string(syftpkg.JavaPkg), format: "maven"},
	"npm":            {ecosystem: string(syftpkg.NpmPkg), format: "npm"},
	"NuGet":          {ecosystem: string(syftpkg.DotnetPkg), format: "nuget"},
	"Packagist":      {ecosystem: string(syftpkg.PhpComposerPkg), format: "composer"},
	"Pub":            {ecosystem: string(syftpkg.DartPubPkg), format: "pub"},
	"PyPI":           {ecosystem: string(syftpkg.PythonPkg), format: "python"},
	"RubyGems":       {ecosystem: string(syftpkg.GemPkg), format: "gem"},
	"SwiftURL":       {ecosystem: string(syftpkg.SwiftPkg), format: "swift"},
}

// refused are ecosystems that look usable and are not, with the reason shown.
var refused = map[string]string{
	"AlmaLinux":   "grype matches AlmaLinux on Red Hat's advisories",
	"Rocky Linux": "grype matches Rocky Linux on Red Hat's advisories",
	"Red Hat":     "names repositories by CPE, which a release does not determine",
}

// locate finds the target of an OSV ecosystem. The error says why there is
// none, for the list of what was left out.
func locate(ecosystem string) (target, error) {
	if t, ok := languages[ecosystem]; ok {
		return t, nil
	}
	distro, release, _ := strings.Cut(ecosystem, ":")
	if t, ok := languages[distro]; ok && distro == "Maven" {
		// A Maven repository follows the colon; the package is the same.
		return t, nil
	}
	if why, ok := refused[distro]; ok {
		return target{}, fmt.Errorf("ecosystem %s: %s", distro, why)
	}
	var t target
	switch distro {
	case "Debian":
		t = target{ecosystem: string(syftpkg.DebPkg), format: "dpkg", provider: "debian", os: debianRelease(release)}
	case "Ubuntu":
		t = target{ecosystem: string(syftpkg.DebPkg), format: "dpkg", provider: "ubuntu", os: ubuntuRelease(release)}
	case "Alpine":
		t = target{ecosystem: string(syftpkg.ApkPkg), format: "apk", provider: "alpine", os: alpineRelease(release)}
	case "Wolfi", "Chainguard":
		id := strings.ToLower(distro)
		t = target{ecosystem: string(syftpkg.ApkPkg), format: "apk", provider: id,
			os: &v6.OperatingSystem{Name: id, ReleaseID: id, LabelVersion: "rolling"}}
	default:
		return target{}, fmt.Errorf("ecosystem %s: grype has no matcher for it", distro)
	}
	if distro == "Ubuntu" && strings.HasPrefix(release, "Pro:") {
		return target{}, errors.New("ecosystem Ubuntu Pro: an ordinary host cannot install its fixes")
	}
	if t.os == nil {
		return target{}, fmt.Errorf("ecosystem %s: release %q is not known", distro, release)
	}
	return t, nil
}

// normalize gives the name a package is stored under. Names are compared
// without regard to case, so none is lowered here.
func (t target) normalize(pkg string) string {
	return name.Normalize(pkg, syftpkg.Type(t.ecosystem))
}

// compare orders versions the way grype does for this target.
func (t target) compare(a, b string) (int, error) {
	return compareAs(version.ParseFormat(t.format), a, b)
}

func compareAs(f version.Format, a, b string) (int, error) {
	return version.New(a, f).Compare(version.New(b, f))
}

var debianCodenames = map[string]string{
	"woody": "3.0", "sarge": "3.1", "etch": "4", "lenny": "5", "squeeze": "6",
	"wheezy": "7", "jessie": "8", "stretch": "9", "buster": "10",
	"bullseye": "11", "bookworm": "12", "trixie": "13",
}

// debianRelease finds a release by number or codename. What follows trixie has
// no number that grype's hosts report: they all read the row "unstable".
func debianRelease(release string) *v6.OperatingSystem {
	for codename, number := range debianCodenames {
		if release != codename && release != number {
			continue
		}
		major, minor, _ := strings.Cut(number, ".")
		return &v6.OperatingSystem{Name: "debian", ReleaseID: "debian", MajorVersion: major, MinorVersion: minor, Codename: codename}
	}
	switch release {
	case "14", "forky", "sid", "unstable":
		return &v6.OperatingSystem{Name: "debian", ReleaseID: "debian", LabelVersion: "unstable"}
	}
	return nil
}

var ubuntuCodenames = map[string]string{
	"14.04": "trusty", "16.04": "xenial", "18.04": "bionic", "20.04": "focal",
	"22.04": "jammy", "22.10": "kinetic", "23.04": "lunar", "23.10": "mantic",
	"24.04": "noble", "24.10": "oracular", "25.04": "plucky", "25.10": "questing",
	"26.04": "resolute",
}

// ubuntuRelease finds a release such as "22.04:LTS".
func ubuntuRelease(release string) *v6.OperatingSystem {
	number := strings.TrimSuffix(release, ":LTS")
	codename, ok := ubuntuCodenames[number]
	if !ok {
		return nil
	}
	major, minor, _ := strings.Cut(number, ".")
	return &v6.OperatingSystem{Name: "ubuntu", ReleaseID: "ubuntu", MajorVersion: major,
		MinorVersion: strings.TrimLeft(minor, "0"), Codename: codename}
}

var alpineNumber = regexp.MustCompile(`^v?(\d+)\.(\d+)$`)

func alpineRelease(release string) *v6.OperatingSystem {
	if release == "edge" {
		return &v6.OperatingSystem{Name: "alpine", ReleaseID: "alpine", LabelVersion: "edge"}
	}
	m := alpineNumber.FindStringSubmatch(release)
	if m == nil {
		return nil
	}
	return &v6.OperatingSystem{Name: "alpine", ReleaseID: "alpine", MajorVersion: m[1], MinorVersion: m[2]}
}

// providerOf names the data set a language record belongs to. GitHub's, Go's
// and Bitnami's are what grype's own feeds call them; the others have no feed
// there and take the name of their publisher.
func providerOf(id string) string {
	prefix, _, _ := strings.Cut(id, "-")
	switch prefix {
	case "GHSA":
		return "github"
	case "GO":
		return "govulndb"
	case "BIT":
		return "bitnami"
	case "PYSEC":
		return "pypa"
	case "RUSTSEC":
		return "rustsec"
	case "MAL":
		return "openssf-malicious"
	}
	return "osv-" + strings.ToLower(prefix)
}
