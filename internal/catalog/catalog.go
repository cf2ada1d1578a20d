// Package catalog finds the packages inside a built image and writes them down
// as a CycloneDX document that is the same, byte for byte, each time the same
// image is catalogued.
//
// It is the only user of syft and stereoscope. An image whose layers can be
// read uncompressed from a file is read in place; any other layer is spooled
// to a scratch folder first. A cataloguer that could not read what it found is
// an error here, never a shorter document: see [CatalogerError].
//
// Limits: what syft has no cataloguer for is not found, such as a program
// linked statically in C; and the packages are those of the squashed image,
// so what a later layer deletes is not listed.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	stereoscope "github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/cataloging"
	"github.com/anchore/syft/syft/linux"
	syftsbom "github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source/stereoscopesource"
	_ "github.com/glebarez/go-sqlite" // The RPM database of newer distributions is SQLite; syft brings no driver.
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/package-url/packageurl-go"

	"github.com/hallmark-sh/hallmark/internal/sbom"
)

// Options says what the document is about and what goes into it.
type Options struct {
	// Subject is the digest of the image's manifest.
	Subject v1.Hash
	// Platform is os/arch[/variant].
	Platform string
	// Repository is where the image will live, without tag or digest.
	Repository string
	// Time becomes the document's timestamp: the commit time, so that the
	// same commit gives the same document.
	Time time.Time
	// Files adds a component for each file a package owns, with its SHA-256.
	Files bool
	// Version is hallmark's own, recorded among the document's tools.
	Version string
	// Scratch is the folder for temporary files; empty for the system's.
	Scratch string
}

// Inventory is what one image holds: the document that is attested, and the
// same packages in the form the matcher reads, which knows more than the
// document does.
type Inventory struct {
	Document sbom.Document
	Packages *syftsbom.SBOM
}

// Run catalogues img. It is safe to run several at once. The error wraps a
// *CatalogerError, with a hint, when a cataloguer failed on something inside
// the image.
func Run(ctx context.Context, img v1.Image, opts Options) (*Inventory, error) {
	found, err := packages(ctx, img, opts)
	if err != nil {
		return nil, err
	}
	refused, passed := judge(found)
	if len(refused) > 0 {
		return nil, refusal(refused)
	}
	doc, err := document(found, passed, opts)
	if err != nil {
		return nil, err
	}
	return &Inventory{
		Document: sbom.Document{
			Subject:  opts.Subject,
			Platform: opts.Platform,
			JSON:     doc,
			Distro:   distro(found.Artifacts.LinuxDistribution),
			Packages: countByType(found),
		},
		Packages: found,
	}, nil
}

// packages runs the cataloguers over the layers.
func packages(ctx context.Context, img v1.Image, opts Options) (found *syftsbom.SBOM, err error) {
	scratch, err := os.MkdirTemp(opts.Scratch, "hallmark-catalog-")
	if err != nil {
		return nil, fmt.Errorf("making a scratch folder: %w", err)
	}
	defer func() {
		if rmErr := os.RemoveAll(scratch); rmErr != nil {
			err = errors.Join(err, fmt.Errorf("removing the scratch folder: %w", rmErr))
		}
	}()

	if err := linkFlatLayers(img, scratch); err != nil {
		return nil, err
	}
	contents := stereoscope.New(img, nil, scratch, stereoscope.WithManifestDigest(opts.Subject.String()))
	defer contents.Cleanup()
	if err := contents.Read(ctx); err != nil {
		return nil, fmt.Errorf("reading layers: %w", err)
	}
	src := stereoscopesource.New(contents, stereoscopesource.ImageConfig{
		Reference: opts.Repository + "@" + opts.Subject.String(),
	})

	scanner, err := licences()
	if err != nil {
		return nil, err
	}
	found, err = syft.CreateSBOM(withValues{ctx, scanner}, src, config(opts))
	if ctxErr := ctx.Err(); ctxErr != nil {
		return nil, ctxErr
	}
	if err != nil {
		return nil, refusal([]Problem{{Reason: err.Error()}})
	}
	return found, nil
}

// config is syft's default for images with two changes of ours: no file
// components unless asked for, and the symbols of Go programs, without which
// the matcher cannot tell a vulnerable module from a vulnerable function.
func config(opts Options) *syft.CreateSBOMConfig {
	cfg := syft.DefaultCreateSBOMConfig()
	cfg.Packages.Golang = cfg.Packages.Golang.WithCaptureSymbols(cataloging.SymbolScopeAll)
	if !opts.Files {
		cfg = cfg.WithoutFiles()
		cfg.Relationships = cfg.Relationships.WithPackageFileOwnership(false)
	}
	cfg.Compliance.MissingVersion = cataloging.ComplianceActionStub
	return cfg
}

// distro names a distribution as a reader would: "debian 12".
func distro(r *linux.Release) string {
	if r == nil || r.ID == "" {
		return ""
	}
	for _, version := range []string{r.VersionID, r.BuildID, r.VersionCodename} {
		if version != "" {
			return r.ID + " " + version
		}
	}
	return r.ID
}

// countByType counts packages by package URL type. Syft gives a distribution's
// package no package URL when it knows no distribution; such a package still
// counts as one, or the lack of a distribution would go unseen.
func countByType(found *syftsbom.SBOM) map[string]int {
	counts := map[string]int{}
	for p := range found.Artifacts.Packages.Enumerate() {
		typ := cmp.Or(p.Type.PackageURLType(), sbom.NoType)
		if purl, err := packageurl.FromString(p.PURL); err == nil {
			typ = strings.ToLower(purl.Type)
		}
		counts[typ]++
	}
	return counts
}
