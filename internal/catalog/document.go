package catalog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/anchore/syft/syft/format/common/cyclonedxhelpers"
	syftsbom "github.com/anchore/syft/syft/sbom"

	"github.com/hallmark-sh/hallmark/internal/sbom"
)

// document writes what syft found as CycloneDX JSON, compact, in one order,
// with nothing in it that differs from run to run: syft's own encoder gives
// each document a random serial number and the time of day. What the
// cataloguers passed over is listed among the metadata's properties.
func document(found *syftsbom.SBOM, passed []Problem, opts Options) ([]byte, error) {
	bom := cyclonedxhelpers.ToFormatModel(*found)
	bom.SerialNumber = sbom.NilSerial
	bom.Metadata.Timestamp = opts.Time.UTC().Format(time.RFC3339)
	bom.Metadata.Component = subject(opts)
	bom.Metadata.Tools = &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{
		{Type: cyclonedx.ComponentTypeApplication, Name: "hallmark", Version: opts.Version},
		{Type: cyclonedx.ComponentTypeApplication, Name: found.Descriptor.Name, Version: found.Descriptor.Version},
	}}
	if len(passed) > 0 {
		var props []cyclonedx.Property
		if bom.Metadata.Properties != nil {
			props = *bom.Metadata.Properties
		}
		for _, p := range passed {
			props = append(props, cyclonedx.Property{Name: "hallmark:catalog:passed-over", Value: p.String()})
		}
		bom.Metadata.Properties = &props
	}
	slices.SortFunc(*bom.Components, func(a, b cyclonedx.Component) int {
		return strings.Compare(a.BOMRef, b.BOMRef)
	})

	var out bytes.Buffer
	enc := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON)
	enc.SetEscapeHTML(false)
	if err := enc.EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encoding CycloneDX: %w", err)
	}
	return sbom.Number(bytes.TrimSpace(out.Bytes())), nil
}

// subject is the image as the component the document describes.
func subject(opts Options) *cyclonedx.Component {
	purl := sbom.ImagePURL(opts.Repository, opts.Subject, opts.Platform)
	return &cyclonedx.Component{
		BOMRef:     purl,
		Type:       cyclonedx.ComponentTypeContainer,
		Name:       opts.Repository,
		Version:    opts.Subject.String(),
		PackageURL: purl,
		Hashes: &[]cyclonedx.Hash{
			{Algorithm: cyclonedx.HashAlgoSHA256, Value: opts.Subject.Hex},
		},
	}
}
