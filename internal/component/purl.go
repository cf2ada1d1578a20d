package component

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/package-url/packageurl-go"
)

// types maps the spellings tools have used to the package URL specification's
// types.
var types = map[string]string{
	"alpine": "apk", "debian": "deb", "dotnet": "nuget", "dotnet-core": "nuget", "python": "pypi", "go": "golang",
	"gomod": "golang", "java": "maven", "rust": "cargo", "crates": "cargo", "php": "composer", "ruby": "gem",
	"dart": "pub", "js": "npm", "javascript": "npm", "arch": "alpm",
}

// Type is the package URL type for a word that means one, in lower case.
func Type(word string) string {
	word = strings.ToLower(word)
	if typ, ok := types[word]; ok {
		return typ
	}
	return word
}

// FromPURL makes the identity of a package from its package URL as it is
// written. The document's own version counts before the URL's; distro is that
// of the document, such as "debian-12", and is used where the URL names none.
func FromPURL(purl, version, distro string) (Package, error) {
	u, err := packageurl.FromString(purl)
	if err != nil {
		return Package{}, fmt.Errorf("reading package URL %q: %w", shorten(purl), err)
	}
	p := Package{Type: u.Type, Namespace: u.Namespace, Name: u.Name, Version: version}
	if p.Version == "" {
		p.Version = u.Version
	}
	var upstream, epoch string
	for _, q := range u.Qualifiers {
		switch q.Key {
		case "distro":
			distro = q.Value
		case "upstream":
			upstream = q.Value
		case "epoch":
			epoch = q.Value
		case "modularitylabel", "rpmmod":
			p.Module = q.Value
		}
	}
	// The distribution and the source packages are told by the cleaned names.
	p = p.Normalize()
	if OS(p.Type) {
		p.Distro = Distro(distro, p.Namespace)
		p.Upstream = Upstream(p.Type, p.Name, upstream)
	}
	if p.Type == "rpm" && epoch != "" && epoch != "0" && p.Version != "" && !strings.Contains(p.Version, ":") {
		p.Version = epoch + ":" + p.Version
	}
	p = p.Normalize()
	if p.Name == "" {
		return Package{}, fmt.Errorf("reading package URL %q: it has no name", shorten(purl))
	}
	return p, nil
}

// Normalize brings the fields into the spelling of the package URL
// specification: letter case where an ecosystem ignores it, PEP 503 for PyPI,
// no control characters, no spaces around. Fields that are not of the type are
// left.
func (p Package) Normalize() Package {
	// What is taken apart may have to be cleaned, or taken apart, once more.
	// Each round makes the fields shorter or leaves them.
	for {
		next := p.normalize()
		if next == p {
			return p
		}
		p = next
	}
}

func (p Package) normalize() Package {
	for _, f := range []*string{&p.Type, &p.Namespace, &p.Name, &p.Version, &p.Distro, &p.Upstream, &p.Module} {
		*f = clean(*f)
	}
	p.Type = Type(p.Type)
	if p.Type == "" {
		p.Type = Unknown
	}
	p.Namespace = segments(p.Namespace)
	switch p.Type {
	case "golang":
		// A module path may be written wholly as the name.
		if dir, base, ok := cutLast(p.Name, "/"); ok {
			p.Namespace, p.Name = segments(p.Namespace+"/"+dir), base
		}
		p.Namespace, p.Name = strings.ToLower(p.Namespace), strings.ToLower(p.Name)
	case "pypi":
		p.Name = pep503(p.Name)
	case "deb", "apk", "composer", "github", "bitbucket", "nuget", "hex", "pub", "alpm":
		p.Namespace, p.Name = strings.ToLower(p.Namespace), strings.ToLower(p.Name)
	case "rpm":
		p.Namespace = strings.ToLower(p.Namespace)
	case "npm":
		if scope, name, ok := strings.Cut(p.Name, "/"); ok && p.Namespace == "" && strings.HasPrefix(scope, "@") {
			p.Namespace, p.Name = scope, name
		}
		p.Namespace = strings.ToLower(p.Namespace)
	case "maven":
		if group, artifact, ok := strings.Cut(p.Name, ":"); ok && p.Namespace == "" {
			p.Namespace, p.Name = group, artifact
		}
	}
	if !OS(p.Type) {
		p.Distro, p.Upstream = "", ""
	}
	return p
}

// segments leaves out the empty segments of a namespace, as its canonical form
// does.
func segments(namespace string) string {
	return strings.Join(strings.FieldsFunc(namespace, func(r rune) bool { return r == '/' }), "/")
}

// PURL is the canonical package URL of p, with its distribution and source
// package as qualifiers; empty for a package of the type Unknown.
func (p Package) PURL() string {
	if p.Type == Unknown {
		return ""
	}
	var q packageurl.Qualifiers
	for _, pair := range [][2]string{{"distro", p.Distro}, {"rpmmod", p.Module}, {"upstream", p.Upstream}} {
		if pair[1] != "" {
			q = append(q, packageurl.Qualifier{Key: pair[0], Value: pair[1]})
		}
	}
	return packageurl.NewPackageURL(p.Type, p.Namespace, p.Name, p.Version, q, "").ToString()
}

// SearchName is the full name in the letter case under which advisories and
// questions are looked up: the same for every spelling.
func SearchName(typ, fullName string) string {
	if typ == "pypi" {
		return pep503(fullName)
	}
	return strings.ToLower(fullName)
}

var runs = regexp.MustCompile(`[-_.]+`)

// pep503 is PyPI's own normalisation, https://peps.python.org/pep-0503/.
func pep503(name string) string {
	return strings.ToLower(runs.ReplaceAllString(name, "-"))
}

// sourceRPM takes NAME-VERSION-RELEASE.src.rpm apart.
var sourceRPM = regexp.MustCompile(`^(.+)-([^-]+)-([^-]+)\.(?:src|nosrc)\.rpm$`)

// Upstream normalises the source packages of a package called name, as a
// package URL's qualifier has them: without the package itself, as NAME or
// NAME@VERSION, separated by commas.
func Upstream(typ, name, value string) string {
	var out []string
	for _, one := range strings.Split(value, ",") {
		one = clean(one)
		if m := sourceRPM.FindStringSubmatch(one); m != nil && typ == "rpm" {
			one = m[1] + "@" + m[2] + "-" + m[3]
		}
		source, version, _ := strings.Cut(one, "@")
		source, version = clean(source), clean(version)
		if typ != "rpm" {
			source = strings.ToLower(source)
		}
		if source == "" || source == name {
			continue
		}
		if version != "" {
			source += "@" + version
		}
		out = append(out, source)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}

// clean removes what cannot be part of a name and could spoil a key, a log or
// a terminal.
func clean(s string) string {
	if strings.ContainsFunc(s, bad) {
		s = strings.Map(func(r rune) rune {
			if bad(r) {
				return -1
			}
			return r
		}, s)
	}
	return strings.TrimSpace(s)
}

func bad(r rune) bool {
	return unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func shorten(s string) string {
	if len(s) > 120 {
		return s[:120] + "…"
	}
	return s
}
