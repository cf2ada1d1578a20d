// Package component carries packages as the memory knows them: what is
// installed, named so that the same thing has one name however a tool spells
// it.
//
// A Package holds what can change the verdict of an advisory and nothing
// more: type, namespace, name and version as the package URL specification
// normalises them, the distribution, the source package it was built from, an
// RPM's module stream. Where it lies in an image, its architecture and its
// licences are not part of what it is.
//
// Limits: packages without a package URL have the type Unknown and can be
// found by name, but no advisory is matched to them.
package component

import (
	"fmt"
	"strings"
)

// Unknown is the type of a package whose document gives no package URL.
const Unknown = "unknown"

// Package is the identity of an installed package. Two packages that are equal
// are one row of the memory. Make it with FromPURL or Normalize, which bring
// the fields into their canonical spelling.
type Package struct {
	// Type is the package URL type, such as deb, apk, golang or npm.
	Type string `json:"type"`
	// Namespace is the package URL's, such as debian, @angular or
	// github.com/spf13; empty where the type has none.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Version is empty when the document gives none. An RPM's epoch stands
	// before it, as 1:2.3-4.
	Version string `json:"version,omitempty"`
	// Distro is the distribution of an operating system package as
	// "debian-12"; empty when it is unknown and for all other packages.
	Distro string `json:"distro,omitempty"`
	// Upstream is the source package under which advisories may be filed, as
	// NAME or NAME@VERSION when its version is another; several are separated
	// by commas, sorted. Empty when it is the package itself.
	Upstream string `json:"upstream,omitempty"`
	// Module is an RPM's module stream, such as nodejs:18.
	Module string `json:"module,omitempty"`
}

// Listed is one package as a document lists it.
type Listed struct {
	Package
	// PURL is the package URL as it is written; empty when there is none.
	PURL string `json:"purl,omitempty"`
	// Digests are the hashes the document gives, as "sha256:hex", sorted.
	Digests []string `json:"digests,omitempty"`
	// Licences are SPDX identifiers or expressions, or names, sorted.
	Licences []string `json:"licences,omitempty"`
	// Supplier is who supplies the package, as it is written.
	Supplier string `json:"supplier,omitempty"`
}

// separator cannot occur in a field: Normalize removes control characters.
const separator = "\x1f"

// Key is an injective text for p, to intern it by; ParseKey reads it back. It
// is stable: rows are stored under it.
func (p Package) Key() string {
	return strings.Join([]string{p.Type, p.Namespace, p.Name, p.Version, p.Distro, p.Upstream, p.Module}, separator)
}

// ParseKey reads what Key writes.
func ParseKey(key string) (Package, error) {
	f := strings.Split(key, separator)
	if len(f) != 7 || f[0] == "" || f[2] == "" {
		return Package{}, fmt.Errorf("reading package key %q: not seven fields with a type and a name", key)
	}
	return Package{Type: f[0], Namespace: f[1], Name: f[2], Version: f[3], Distro: f[4], Upstream: f[5], Module: f[6]}, nil
}

// FullName is namespace and name as people of the ecosystem write them:
// group:artifact for Maven, namespace/name for npm, Go and others, the bare
// name for packages of a distribution.
func (p Package) FullName() string {
	switch {
	case p.Namespace == "" || OS(p.Type):
		return p.Name
	case p.Type == "maven":
		return p.Namespace + ":" + p.Name
	}
	return p.Namespace + "/" + p.Name
}

// String is the package as a person reads it: type, name and version.
func (p Package) String() string {
	return strings.TrimSpace(p.Type + " " + p.FullName() + " " + p.Version)
}

// OS says that packages of a package URL type belong to a distribution, whose
// own advisories speak for them.
func OS(typ string) bool {
	switch typ {
	case "deb", "rpm", "apk", "alpm", "ebuild", "qpkg":
		return true
	}
	return false
}
