// Package image turns a source into an OCI image layout on disk.
//
// Three builders do it: docker (a Dockerfile, through the engine's BuildKit),
// gobuild (Go programs, no daemon, reproducible) and layout (an OCI layout or
// docker archive built elsewhere). All give the same result, Built, whose
// digest is final: pushing it later changes no byte. The package knows nothing
// of registries except that a base image may be read from one, and nothing of
// keys or SBOMs.
package image

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Built is an image on disk as an OCI image layout (OCI image-spec 1.1,
// image-layout.md) whose index.json names exactly one descriptor: the subject.
type Built struct {
	// Dir is the layout's folder. It belongs to the caller.
	Dir string
	// Digest is the subject: the digest of the image manifest, or of the
	// index when there is more than one platform.
	Digest v1.Hash
	// Platforms lists the image manifests, in the index's order; a single
	// image has one, whose digest is the subject's.
	Platforms []Platform
	// Builder is docker, go or layout.
	Builder string
	// Materials are what the build read besides the source, such as base
	// images, by digest. They become the provenance's resolved dependencies.
	Materials []Material
	// Tools are the programs that did the build, by name with their version.
	Tools map[string]string
	// Parameters are the build's own settings, as the policy file gave them,
	// for the provenance's external parameters.
	Parameters map[string]any

	// flat is the folder that holds each layer uncompressed, in a file named
	// by the hex of its diff ID. Cataloguing reads these instead of inflating
	// a second time.
	flat string
}

// Platform is one image of an index, or the only image.
type Platform struct {
	// Name is os/arch[/variant], such as linux/amd64.
	Name   string
	Digest v1.Hash
}

// Material is something a build read.
type Material struct {
	// URI says what and where, such as docker://index.docker.io/library/debian:12.
	URI    string
	Digest v1.Hash
}

// IsIndex says that the subject is an index rather than a single image.
func (b Built) IsIndex() bool {
	return len(b.Platforms) != 1 || b.Platforms[0].Digest != b.Digest
}
