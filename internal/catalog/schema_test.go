package catalog_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/catalog/catalogtest"
	"github.com/hallmark-sh/hallmark/internal/sbom"
)

// schema is the CycloneDX project's own, from its Go module.
func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "schema")
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for id, file := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		raw, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(id, doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDocumentsKeepToTheSchema(t *testing.T) {
	s := schema(t)
	valid := func(name string, doc []byte) {
		t.Helper()
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	amd := catalogtest.Image(t, catalogtest.Merge(sample(), catalogtest.Files{
		"app/node_modules/lodash/test/package.json": "{", "opt/x.jar": jar(t),
	}))
	arm := catalogtest.Image(t, sample(), catalogtest.Npm("left-pad", "1.3.0"))
	one := options(t, amd)
	doc := run(t, amd, one).Document
	valid("one image", doc.JSON)
	two := options(t, arm)
	two.Platform, two.Files = "linux/arm64", true
	other := run(t, arm, two).Document
	valid("with files", other.JSON)

	index := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	merged, err := sbom.Merge(index, one.Repository, time.Unix(1700000000, 0), doc, other)
	if err != nil {
		t.Fatal(err)
	}
	valid("index", merged.JSON)
	read, err := sbom.Decode(bytes.NewReader(merged.JSON))
	if err != nil {
		t.Fatal(err)
	}
	if read.Total() != merged.Total() || merged.Packages["deb"] < 2 {
		t.Errorf("the merged document counts %v, and says %v", read.Packages, merged.Packages)
	}
	if err := sbom.Check(merged); err != nil {
		t.Error(err)
	}
}
