package policy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(policy.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("hallmark.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("hallmark.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// beyondSchema lists the bad files whose fault a JSON Schema cannot say: YAML
// that JSON does not have, and rules about two values together.
var beyondSchema = []string{
	"anchor", "merge", "tag", "two-documents", "question-mark",
	// A package URL has its own grammar.
	"exception-purl",
	// The year of an instant depends on its offset.
	"exception-years",
	// The issuer's default depends on the host of the repository.
	"identity-other-host", "identity-subject-no-issuer",
	// Whether two exemptions meet, and what goes with another section.
	"admission-overlap", "admission-tuf-public",
}

func TestSchemaAgreesWithParse(t *testing.T) {
	s := schema(t)
	for short, data := range files(t, "good") {
		var doc any
		if err := yaml.Unmarshal(data, &doc); err != nil {
			t.Errorf("%s: %v", short, err)
		} else if err := s.Validate(viaJSON(t, doc)); err != nil {
			t.Errorf("schema refuses good file %s: %v", short, err)
		}
	}
	for short, data := range files(t, "bad") {
		var doc any
		if err := yaml.Unmarshal(data, &doc); err != nil || slices.Contains(beyondSchema, short) {
			continue
		}
		if err := s.Validate(viaJSON(t, doc)); err == nil {
			t.Errorf("schema accepts bad file %s", short)
		}
	}
}

// viaJSON gives a decoded YAML document as a JSON decoder would.
func viaJSON(t testing.TB, doc any) any {
	t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		return nil // a document that JSON cannot hold is no policy either
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSchemaHasExactlyTheKeysOfThePolicy keeps the struct and the schema from
// drifting apart.
func TestSchemaHasExactlyTheKeysOfThePolicy(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(policy.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	var got []string
	var walk func(node map[string]any, under string)
	walk = func(node map[string]any, under string) {
		if ref, ok := node["$ref"].(string); ok {
			node = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		if items, ok := node["items"].(map[string]any); ok {
			walk(items, under+"[]")
		}
		properties, _ := node["properties"].(map[string]any)
		for key, value := range properties {
			path := key
			if under != "" {
				path = under + "." + key
			}
			got = append(got, path)
			walk(value.(map[string]any), path)
		}
	}
	walk(root, "")
	want := policy.Keys()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-struct +schema):\n%s", diff)
	}
}

func TestPublishedSchemaIsTheEmbeddedOne(t *testing.T) {
	const published = "../../docs/schemas/hallmark.yaml.schema.json"
	if *update {
		if err := os.WriteFile(published, policy.Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(published)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(policy.Schema()), string(data)); diff != "" {
		t.Errorf("docs/schemas differs, -update writes it:\n%s", diff)
	}
}
