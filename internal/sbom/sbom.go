// Package sbom carries software bills of materials: the CycloneDX document a
// release attests, what it is about, and counts of what it holds.
//
// It is plain data with a codec. Cataloguing an image is package catalog's
// work; matching packages against advisories is package scan's.
package sbom

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// PredicateType is the in-toto predicate type of a CycloneDX document, as
// cosign and Kyverno know it.
const PredicateType = "https://cyclonedx.org/bom"

// MediaType is the registered media type of CycloneDX JSON.
const MediaType = "application/vnd.cyclonedx+json"

// Document is one CycloneDX JSON document about one image.
type Document struct {
	// Subject is the digest of the manifest or index the document describes.
	Subject v1.Hash
	// Platform is the platform of the image in the form os/arch[/variant];
	// empty for the document of an index.
	Platform string
	// JSON is the document as it is attested, byte for byte.
	JSON []byte
	// Distro is the Linux distribution with its version, such as
	// "debian 12"; empty when none was recognised.
	Distro string
	// Packages counts the components of each package URL type, such as
	// "deb" or "pypi".
	Packages map[string]int
}

// Total is the number of packages in d.
func (d Document) Total() int {
	n := 0
	for _, c := range d.Packages {
		n += c
	}
	return n
}
