package index

import (
	"strings"
)

// A release of a distribution is named name:version in advisories and
// name-version in packages. The rules by which one finds the other are those
// of grype's database of schema 6.

// relatives are distributions that are served by another's advisories.
var relatives = map[string]string{
	"centos": "rhel", "rocky": "rhel", "rockylinux": "rhel", "alma": "rhel", "scientific": "rhel", "sl": "rhel", "redhat": "rhel",
	"gentoo": "rhel", "raspbian": "debian", "oracle": "ol", "oraclelinux": "ol", "amazon": "amzn", "amazonlinux": "amzn",
	"arch": "archlinux", "almalinux": "rhel",
}

// rolling distributions have advisories for no release in particular.
var rolling = map[string]bool{
	"wolfi": true, "chainguard": true, "secureos": true, "archlinux": true, "minimos": true, "echo": true, "hummingbird": true,
}

// release is a distribution's name and its version's parts.
type release struct{ name, major, minor, label string }

func (r release) String() string {
	switch {
	case r.major == "" && r.label == "":
		return r.name
	case r.major == "":
		return r.name + ":" + r.label
	case r.minor == "":
		return r.name + ":" + r.major
	}
	return r.name + ":" + r.major + "." + r.minor
}

// parseRelease reads debian-12.5, debian:12, alpine:edge or wolfi.
func parseRelease(s string) release {
	s = strings.ToLower(s)
	at := strings.IndexByte(s, ':')
	if at < 0 {
		at = strings.LastIndexByte(s, '-')
		if at >= 0 && (at+1 == len(s) || !versionLike(s[at+1:])) {
			at = -1
		}
	}
	if at < 0 {
		return release{name: s}
	}
	r := release{name: s[:at]}
	version := s[at+1:]
	if version == "" || version[0] < '0' || version[0] > '9' {
		r.label = version
		return r
	}
	parts := strings.SplitN(version, ".", 3)
	r.major = trimZeroes(parts[0])
	if len(parts) > 1 {
		r.minor = trimZeroes(parts[1])
	}
	return r
}

func versionLike(s string) bool {
	return s[0] >= '0' && s[0] <= '9' || s == "unstable" || s == "edge" || s == "rawhide"
}

func trimZeroes(s string) string {
	if t := strings.TrimLeft(s, "0"); t != "" || s == "" {
		return t
	}
	return "0"
}

// releases are the names under which advisories for a package's distribution
// are filed, as rows have them: the most special that there are.
func (ix *Index) releases(distro string) []string {
	if known, ok := ix.resolved[distro]; ok {
		return known
	}
	found := ix.resolve(distro)
	// Readers may ask for a distribution no package has, and must not write.
	return found
}

func (ix *Index) resolve(distro string) []string {
	r := parseRelease(distro)
	if other, ok := relatives[r.name]; ok {
		r.name = other
	}
	if rolling[r.name] {
		r.major, r.minor, r.label = "", "", ""
	}
	if r.name == "alpine" && (strings.Contains(distro, "_alpha") || r.label == "edge") {
		r.major, r.minor, r.label = "", "", "edge"
	}
	tries := []release{r}
	if r.minor != "" {
		tries = append(tries, release{name: r.name, major: r.major})
	}
	for _, try := range tries {
		if ix.distros[try.String()] > 0 {
			return []string{try.String()}
		}
	}
	// Without a version of its own, or without rows for it, every release of
	// the name, or of the major version, is meant.
	var out []string
	for known := range ix.distros {
		k := parseRelease(known)
		if k.name == r.name && (r.major == "" && r.label == "" || r.major != "" && k.major == r.major) {
			out = append(out, known)
		}
	}
	return out
}
