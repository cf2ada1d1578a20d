package difference

import (
	"bytes"
	"fmt"
	"slices"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/sbom"
)

// Packages reads the packages of a CycloneDX document: the components that have
// a package URL, nested ones too.
func Packages(document []byte) ([]component.Listed, error) {
	// The strict reader judges first what kind of document it is, within bounds.
	if _, err := sbom.Decode(bytes.NewReader(document)); err != nil {
		return nil, err
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(document), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return nil, fmt.Errorf("reading SBOM: %w", err)
	}
	var all []component.Listed
	collect(bom.Components, &all)
	return all, nil
}

func collect(components *[]cdx.Component, all *[]component.Listed) {
	if components == nil {
		return
	}
	for _, c := range *components {
		collect(c.Components, all)
		url, err := packageurl.FromString(c.PackageURL)
		if err != nil {
			continue
		}
		*all = append(*all, component.Listed{
			Package: component.Package{Type: url.Type, Namespace: url.Namespace, Name: url.Name, Version: url.Version},
			PURL:    c.PackageURL, Licences: licences(c.Licenses),
		})
	}
}

func licences(given *cdx.Licenses) (all []string) {
	if given == nil {
		return nil
	}
	for _, choice := range *given {
		switch {
		case choice.Expression != "":
			all = append(all, choice.Expression)
		case choice.License != nil && choice.License.ID != "":
			all = append(all, choice.License.ID)
		case choice.License != nil && choice.License.Name != "":
			all = append(all, choice.License.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
