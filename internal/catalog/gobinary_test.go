package catalog_test

import (
	"strings"
	"testing"

	syftpkg "github.com/anchore/syft/syft/pkg"
	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/catalog/catalogtest"
	"github.com/hallmark-sh/hallmark/internal/sbom"
)

// A program alone in an image, as the go builder makes it: no distribution and
// no package database, and yet its modules are known.
func TestRunFindsModulesOfAProgram(t *testing.T) {
	img := catalogtest.Image(t, catalogtest.Files{"app": catalogtest.GoProgram(t, "example.com/demo")})
	inv := run(t, img, options(t, img))
	if diff := cmp.Diff(map[string]int{"golang": 2}, inv.Document.Packages); diff != "" {
		t.Error(diff)
	}
	if err := sbom.Check(inv.Document); err != nil {
		t.Error(err)
	}
	for p := range inv.Packages.Artifacts.Packages.Enumerate() {
		m, ok := p.Metadata.(syftpkg.GolangBinaryBuildinfoEntry)
		if !ok {
			t.Errorf("%s comes without build information", p.Name)
		}
		if p.Name == "stdlib" && len(m.Symbols) == 0 {
			t.Error("the standard library comes without symbols: the matcher cannot tell what is used of it")
		}
	}
	if strings.Contains(string(inv.Document.JSON), "symbols") {
		t.Error("the document lists symbols")
	}
}
