package query_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the published schemas anew")

// published are the schemas of what the command line prints with --json, and
// the component of the description that each is.
var published = map[string]string{
	"who-has": "WhoHas", "affected": "Affected", "image": "ImageReport", "licences": "Licences", "top": "Top", "explain": "Explanation",
	"memory-diff": "Diff", // of hallmark diff with --server or --db
}

// The published schema of an answer must be that of the served description.
func TestPublishedSchemasAreTheServedOnes(t *testing.T) {
	var api struct {
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	raw := must(t, service(t, false), http.MethodGet, "/openapi.json", "", "")
	if err := json.Unmarshal([]byte(strings.ReplaceAll(raw, "#/components/schemas/", "#/$defs/")), &api); err != nil {
		t.Fatal(err)
	}
	check := func(short string, schema map[string]any, roots ...string) {
		defs := map[string]json.RawMessage{}
		for _, root := range roots {
			gather(api.Components.Schemas, root, defs)
		}
		schema["$schema"], schema["$id"], schema["$defs"] = "https://json-schema.org/draft/2020-12/schema", "https://hallmark.sh/schemas/"+short+"-v1.schema.json", defs
		got, err := json.MarshalIndent(schema, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("..", "..", "docs", "schemas", short+"-v1.schema.json")
		if *update {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
			t.Errorf("%s (-published +served, -update writes it):\n%s", file, diff)
		}
	}
	for short, component := range published {
		check(short, map[string]any{"title": "The answer of hallmark " + strings.TrimPrefix(short, "memory-") + " --json, from a memory", "$ref": "#/$defs/" + component}, component)
	}
	check("ingest", map[string]any{
		"title": "The answer of hallmark ingest --json", "type": "object", "additionalProperties": false, "required": []string{"schema", "results"},
		"properties": map[string]any{
			"schema":   map[string]any{"const": "hallmark.ingest/v1"},
			"results":  map[string]any{"type": "array", "items": map[string]any{"$ref": "#/$defs/Result"}},
			"problems": map[string]any{"type": "array", "items": map[string]any{"$ref": "#/$defs/Problem"}},
		},
	}, "Result", "Problem")
	var imported map[string]any
	if err := json.Unmarshal(api.Components.Schemas["Import"], &imported); err != nil {
		t.Fatal(err)
	}
	word, some := map[string]any{"type": "string"}, imported["properties"].(map[string]any)
	some["schema"] = map[string]any{"const": "hallmark.imported/v1"}
	some["problems"] = map[string]any{"type": "array", "items": map[string]any{"type": "object", "additionalProperties": false,
		"required":   []string{"source", "reason", "lost"},
		"properties": map[string]any{"source": word, "id": word, "package": word, "reason": word, "lost": map[string]any{"type": "boolean"}}}}
	imported["required"] = append(imported["required"].([]any), "schema")
	imported["title"] = "The answer of hallmark advisories import --server or --db, --json"
	check("imported", imported)
}

// gather adds a component and all that it refers to.
func gather(all map[string]json.RawMessage, root string, into map[string]json.RawMessage) {
	if into[root] != nil {
		return
	}
	into[root] = all[root]
	for rest := string(all[root]); ; {
		_, after, found := strings.Cut(rest, `"#/$defs/`)
		if !found {
			return
		}
		name, _, _ := strings.Cut(after, `"`)
		gather(all, name, into)
		rest = after
	}
}
