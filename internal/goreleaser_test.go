package internal_test

import (
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// TestGoreleaser: the configuration of the archives is valid by goreleaser's
// own schema, the one of the version that test/peers/goreleaser builds, and
// names archives as the action looks for them.
func TestGoreleaser(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("testdata/goreleaser.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text := read("../.goreleaser.yaml")
	validate := func(text string) error {
		var config any
		if err := yaml.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(config)
	}
	if err := validate(text); err != nil {
		t.Error(err)
	}
	if err := validate(strings.Replace(text, "name_template:", "name_tmpl:", 1)); err == nil {
		t.Error("the schema takes a key that is none")
	}
	if !strings.Contains(text, `name_template: "hallmark_{{ .Version }}_{{ .Os }}_{{ .Arch }}"`) ||
		!strings.Contains(read("../action/install.sh"), `archive=hallmark_${version#v}_$platform.tar.gz`) {
		t.Error("goreleaser and the action name the archive differently")
	}
	if notice := read("testdata/NOTICE"); !strings.Contains(read("../test/peers/goreleaser/go.mod"), "goreleaser/v2 "+strings.Fields(notice)[4]) {
		t.Error("the schema is another version's than the goreleaser that is built")
	}
}
