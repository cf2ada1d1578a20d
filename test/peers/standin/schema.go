package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// facts are a provider's schemas, in the shape of terraform providers schema -json.
type facts struct {
	Provider  block            `json:"provider"`
	Resources map[string]block `json:"resources"`
	Data      map[string]block `json:"data"`
}

type block struct {
	Attributes map[string]attribute `json:"attributes"`
	BlockTypes map[string]struct {
		Block    block  `json:"block"`
		Nesting  string `json:"nesting_mode"`
		MinItems int64  `json:"min_items"`
		MaxItems int64  `json:"max_items"`
	} `json:"block_types"`
}

type attribute struct {
	Type   json.RawMessage `json:"type"`
	Nested *struct {
		Attributes map[string]attribute `json:"attributes"`
		Nesting    string               `json:"nesting_mode"`
	} `json:"nested_type"`
	Required  bool `json:"required"`
	Optional  bool `json:"optional"`
	Computed  bool `json:"computed"`
	Sensitive bool `json:"sensitive"`
	WriteOnly bool `json:"write_only"`
}

var blockNesting = map[string]tfprotov6.SchemaNestedBlockNestingMode{
	"single": tfprotov6.SchemaNestedBlockNestingModeSingle, "list": tfprotov6.SchemaNestedBlockNestingModeList,
	"set": tfprotov6.SchemaNestedBlockNestingModeSet, "map": tfprotov6.SchemaNestedBlockNestingModeMap,
	"group": tfprotov6.SchemaNestedBlockNestingModeGroup,
}

var objectNesting = map[string]tfprotov6.SchemaObjectNestingMode{
	"single": tfprotov6.SchemaObjectNestingModeSingle, "list": tfprotov6.SchemaObjectNestingModeList,
	"set": tfprotov6.SchemaObjectNestingModeSet, "map": tfprotov6.SchemaObjectNestingModeMap,
}

func (b block) proto() (*tfprotov6.SchemaBlock, error) {
	out := &tfprotov6.SchemaBlock{}
	var err error
	if out.Attributes, err = protoAttributes(b.Attributes); err != nil {
		return nil, err
	}
	for name, n := range b.BlockTypes {
		inner, err := n.Block.proto()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		mode, ok := blockNesting[n.Nesting]
		if !ok {
			return nil, fmt.Errorf("%s: nesting %q", name, n.Nesting)
		}
		out.BlockTypes = append(out.BlockTypes, &tfprotov6.SchemaNestedBlock{TypeName: name, Block: inner, Nesting: mode, MinItems: n.MinItems, MaxItems: n.MaxItems})
	}
	return out, nil
}

func protoAttributes(in map[string]attribute) ([]*tfprotov6.SchemaAttribute, error) {
	var out []*tfprotov6.SchemaAttribute
	for name, a := range in {
		s := &tfprotov6.SchemaAttribute{Name: name, Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive, WriteOnly: a.WriteOnly}
		if a.Nested != nil {
			inner, err := protoAttributes(a.Nested.Attributes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			mode, ok := objectNesting[a.Nested.Nesting]
			if !ok {
				return nil, fmt.Errorf("%s: nesting %q", name, a.Nested.Nesting)
			}
			s.NestedType = &tfprotov6.SchemaObject{Attributes: inner, Nesting: mode}
		} else {
			t, err := tftypes.ParseJSONType(a.Type) //nolint:staticcheck // the facts are in that form
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			s.Type = t
		}
		out = append(out, s)
	}
	return out, nil
}

// at returns the attribute at a path of names.
func (b block) at(names []string) (attribute, bool) {
	if len(names) == 0 {
		return attribute{}, false
	}
	if n, ok := b.BlockTypes[names[0]]; ok {
		return n.Block.at(names[1:])
	}
	a, ok := b.Attributes[names[0]]
	for _, name := range names[1:] {
		if !ok || a.Nested == nil {
			return attribute{}, false
		}
		a, ok = a.Nested.Attributes[name]
	}
	return a, ok
}

// names are the attributes' names along a path, without the keys of lists and maps.
func names(p *tftypes.AttributePath) []string {
	var out []string
	for _, step := range p.Steps() {
		if name, ok := step.(tftypes.AttributeName); ok {
			out = append(out, string(name))
		}
	}
	return slices.Clip(out)
}
