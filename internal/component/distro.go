package component

import (
	"regexp"
	"strings"
)

// codenames are the releases that package URLs name by a word.
var codenames = map[string]string{
	"buster": "debian-10", "bullseye": "debian-11", "bookworm": "debian-12", "trixie": "debian-13", "stretch": "debian-9",
	"jessie": "debian-8", "sid": "debian-unstable", "unstable": "debian-unstable",
	"trusty": "ubuntu-14.04", "xenial": "ubuntu-16.04", "bionic": "ubuntu-18.04", "focal": "ubuntu-20.04",
	"jammy": "ubuntu-22.04", "noble": "ubuntu-24.04", "questing": "ubuntu-25.10", "plucky": "ubuntu-25.04",
}

var distroPattern = regexp.MustCompile(`^([a-z][a-z0-9_]*(?:-[a-z][a-z0-9_]*)*)[-:_ ]v?([0-9][0-9a-z.+~_-]*|unstable|edge|rawhide)$`)

// maxDistro bounds the name of a release, in bytes; a longer one names none.
const maxDistro = 64

// Distro normalises the name of a distribution's release, as a package URL's
// qualifier or a document has it, to "debian-12". A codename such as bookworm,
// alone or after the name, becomes its number. A release without a name gets
// it from namespace, which is the package URL's. A name alone is kept: some
// distributions have no releases. Words that say nothing give "".
func Distro(word, namespace string) string {
	word = strings.ToLower(clean(word))
	namespace = strings.ToLower(namespace)
	if word == "" || len(word) > maxDistro {
		return ""
	}
	if known, ok := codenames[word]; ok {
		return known
	}
	if m := distroPattern.FindStringSubmatch(word); m != nil {
		return m[1] + "-" + strings.TrimPrefix(m[2], "v")
	}
	if name, code, ok := cutLast(word, "-"); ok {
		if known, ok := codenames[code]; ok && strings.HasPrefix(known, name+"-") {
			return known
		}
	}
	// The namespace must be the whole name: "a 1" is one with a release already.
	whole := namespace + "-" + word
	if m := distroPattern.FindStringSubmatch(whole); m != nil && len(whole) <= maxDistro && m[1] == namespace && word[0] >= '0' && word[0] <= '9' {
		return whole
	}
	if strings.ContainsAny(word, " /?#") {
		return ""
	}
	return word
}
