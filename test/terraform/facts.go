package terraform

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

var (
	//go:embed facts/providers.json
	providersJSON []byte
	//go:embed facts/modules.json
	modulesJSON []byte
)

// provider is what a provider knows: its configuration, its resources and its data sources.
type provider struct {
	Version   string              `json:"version"`
	Provider  block               `json:"provider"`
	Resources map[string]block    `json:"resources"`
	Data      map[string]block    `json:"data"`
	Enums     map[string][]string `json:"enums"`
}

// block is a body's schema, in the shape of terraform providers schema -json.
type block struct {
	Attributes map[string]attribute `json:"attributes"`
	BlockTypes map[string]nested    `json:"block_types"`
}

type attribute struct {
	Type       json.RawMessage `json:"type"`
	NestedType *nestedType     `json:"nested_type"`
	Required   bool            `json:"required"`
	Optional   bool            `json:"optional"`
	Computed   bool            `json:"computed"`
}

type nestedType struct {
	Attributes map[string]attribute `json:"attributes"`
	Nesting    string               `json:"nesting_mode"`
}

type nested struct {
	Block    block  `json:"block"`
	Nesting  string `json:"nesting_mode"`
	MinItems int    `json:"min_items"`
	MaxItems int    `json:"max_items"`
}

// modulePackage is one published module with its submodules; "" is the root.
type modulePackage struct {
	Version string                `json:"version"`
	Modules map[string]moduleFace `json:"modules"`
}

// moduleFace is what a caller of a module sees. Types are HCL.
type moduleFace struct {
	Variables map[string]variableFace `json:"variables"`
	Outputs   []string                `json:"outputs"`
	Providers map[string]string       `json:"required_providers"`
}

type variableFace struct {
	Type     string `json:"type"`
	Default  string `json:"default"`
	Nullable string `json:"nullable"`
	Required bool   `json:"required"`
}

type facts struct {
	providers map[string]provider
	modules   map[string]modulePackage
}

func readFacts() (*facts, error) {
	f := &facts{}
	if err := json.Unmarshal(providersJSON, &f.providers); err != nil {
		return nil, fmt.Errorf("reading facts/providers.json: %w", err)
	}
	if err := json.Unmarshal(modulesJSON, &f.modules); err != nil {
		return nil, fmt.Errorf("reading facts/modules.json: %w", err)
	}
	return f, nil
}

// named returns the provider whose types begin with NAME_, with its full name.
func (f *facts) named(typ string) (string, provider, bool) {
	name, _, _ := strings.Cut(typ, "_")
	for full, p := range f.providers {
		if path.Base(full) == name {
			return full, p, true
		}
	}
	return "", provider{}, false
}

func names[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
