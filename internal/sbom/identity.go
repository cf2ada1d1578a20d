package sbom

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/package-url/packageurl-go"
)

// SpecVersion is the CycloneDX version hallmark writes; docs/decisions says
// why it is not the newest.
const SpecVersion = "1.6"

// NoType is the key under which packages without a package URL are counted.
const NoType = "unknown"

// NilSerial is the serial number of a document that has none yet; see Number.
const NilSerial = "urn:uuid:00000000-0000-0000-0000-000000000000"

// Number replaces the first NilSerial in doc by a serial number made from doc
// itself: a UUID version 8 (RFC 9562, section 5.8) of the SHA-256 of the
// document while its serial number is NilSerial. The same content has the same
// number everywhere, and other content has another, which is all CycloneDX
// asks of it. A document without NilSerial is returned as it is.
func Number(doc []byte) []byte {
	id := sha256.Sum256(doc)
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	urn := fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
	return bytes.Replace(doc, []byte(NilSerial), []byte(urn), 1)
}

// ImagePURL is the package URL of an image by digest: the type oci of the
// package URL specification, with the repository as a qualifier and the
// platform's architecture as another. An index has an empty platform.
func ImagePURL(repository string, digest v1.Hash, platform string) string {
	name := strings.ToLower(path.Base(repository))
	if repository == "" {
		name = "image"
	}
	var qualifiers packageurl.Qualifiers
	if parts := strings.SplitN(platform, "/", 3); len(parts) > 1 {
		qualifiers = append(qualifiers, packageurl.Qualifier{Key: "arch", Value: parts[1]})
		if len(parts) > 2 {
			qualifiers = append(qualifiers, packageurl.Qualifier{Key: "variant", Value: parts[2]})
		}
	}
	if repository != "" {
		qualifiers = append(qualifiers, packageurl.Qualifier{Key: "repository_url", Value: repository})
	}
	return packageurl.NewPackageURL(packageurl.TypeOCI, "", name, digest.String(), qualifiers, "").ToString()
}

// typeOf is the type of a package URL in lower case, or NoType.
func typeOf(purl string) string {
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok {
		return NoType
	}
	typ, _, ok := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if !ok || typ == "" {
		return NoType
	}
	return strings.ToLower(typ)
}

// isPackage says that components of a type are packages: not what a package
// consists of, nor what it is installed on or in.
func isPackage(componentType string) bool {
	switch componentType {
	case "file", "operating-system", "container", "device", "data", "cryptographic-asset":
		return false
	}
	return true
}
