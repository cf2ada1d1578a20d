package terraform

import (
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// What terraform itself understands in a resource or data block.
var (
	metaArguments = []string{"count", "for_each", "depends_on", "provider"}
	metaBlocks    = []string{"lifecycle", "provisioner", "connection"}
)

func (c *checker) resource(_ *module, b *hclsyntax.Block) {
	typ := b.Labels[0]
	if strings.HasPrefix(typ, "terraform_") {
		return // terraform's own
	}
	full, p, ok := c.facts.named(typ)
	if !ok {
		c.found(b.TypeRange, "%s: no provider here has types of that name", typ)
		return
	}
	schema, ok := p.Resources[typ]
	kind := "resource"
	if b.Type == "data" {
		schema, ok = p.Data[typ]
		kind = "data source"
	}
	if !ok {
		c.found(b.LabelRanges[0], "%s %s has no %s %s%s", full, p.Version, kind, typ, near(typ, slices.Concat(names(p.Resources), names(p.Data))))
		return
	}
	c.body(b.Body, schema, typ, p.Enums, true)
	if typ == "helm_release" {
		c.chart(b)
	}
}

func (c *checker) provider(_ *module, b *hclsyntax.Block) {
	for full, p := range c.facts.providers {
		if path.Base(full) == b.Labels[0] {
			c.body(b.Body, p.Provider, "provider "+b.Labels[0], nil, true)
			return
		}
	}
	c.found(b.LabelRanges[0], "provider %s is not among those known here", b.Labels[0])
}

// body judges the arguments and blocks of one body. at is the type, then the path of blocks to here.
func (c *checker) body(body *hclsyntax.Body, schema block, at string, enums map[string][]string, top bool) {
	for name, a := range body.Attributes {
		if top && (slices.Contains(metaArguments, name) || strings.HasPrefix(at, "provider ") && (name == "alias" || name == "version")) {
			continue
		}
		known, ok := schema.Attributes[name]
		switch {
		case !ok:
			c.found(a.NameRange, "%s has no argument %s%s", at, name, near(name, names(schema.Attributes)))
		case known.Computed && !known.Optional && !known.Required:
			c.found(a.NameRange, "%s: %s is the provider's to set", at, name)
		default:
			c.value(a.Expr, known, at+"."+name, enums)
		}
	}
	for name, known := range schema.Attributes {
		if _, given := body.Attributes[name]; known.Required && !given {
			c.found(body.MissingItemRange(), "%s lacks %s, which is required", at, name)
		}
	}
	c.blocks(body, schema, at, enums, top)
}

func (c *checker) blocks(body *hclsyntax.Body, schema block, at string, enums map[string][]string, top bool) {
	count := map[string]int{}
	dynamic := map[string]bool{}
	for _, b := range body.Blocks {
		if top && slices.Contains(metaBlocks, b.Type) {
			continue
		}
		name, inner, where := b.Type, b.Body, b.TypeRange
		if name == "dynamic" && len(b.Labels) == 1 {
			name, inner, where = b.Labels[0], content(b), b.LabelRanges[0]
			dynamic[name] = true
		}
		count[name]++
		known, ok := schema.BlockTypes[name]
		switch {
		case !ok:
			c.found(where, "%s has no block %s%s", at, name, near(name, names(schema.BlockTypes)))
		case inner == nil:
			c.found(where, "%s: dynamic %s has no content", at, name)
		default:
			c.body(inner, known.Block, at+"."+name, enums, false)
		}
	}
	for name, known := range schema.BlockTypes {
		if count[name] < known.MinItems && !dynamic[name] {
			c.found(body.MissingItemRange(), "%s lacks a block %s, which is required", at, name)
		}
		if known.MaxItems > 0 && count[name] > known.MaxItems {
			c.found(body.MissingItemRange(), "%s has %d blocks %s where %d is the most", at, count[name], name, known.MaxItems)
		}
	}
}

func content(b *hclsyntax.Block) *hclsyntax.Body {
	for _, inner := range b.Body.Blocks {
		if inner.Type == "content" {
			return inner.Body
		}
	}
	return nil
}

// value judges enumerations, and the members of an argument that is an object.
func (c *checker) value(e hclsyntax.Expression, a attribute, at string, enums map[string][]string) {
	if want := enums[at]; want != nil {
		for _, v := range outcomes(e) {
			if text, ok := literal(v); ok && !slices.Contains(want, text) {
				c.found(v.Range(), "%q is not a value of %s: it takes %s", text, at, strings.Join(want, ", "))
			}
		}
	}
	if a.NestedType == nil {
		return
	}
	schema := block{Attributes: a.NestedType.Attributes}
	each(e, a.NestedType.Nesting, func(o *hclsyntax.ObjectConsExpr) {
		given := map[string]bool{}
		for _, item := range o.Items {
			name, ok := key(item.KeyExpr)
			if !ok {
				continue
			}
			given[name] = true
			known, ok := schema.Attributes[name]
			if !ok {
				c.found(item.KeyExpr.Range(), "%s has no member %s%s", at, name, near(name, names(schema.Attributes)))
				continue
			}
			c.value(item.ValueExpr, known, at+"."+name, enums)
		}
		for name, known := range schema.Attributes {
			if known.Required && !given[name] {
				c.found(o.Range(), "%s lacks %s, which is required", at, name)
			}
		}
	})
}

// each calls f for every object literal that is the value, or an element of it.
func each(e hclsyntax.Expression, nesting string, f func(*hclsyntax.ObjectConsExpr)) {
	for _, v := range outcomes(e) {
		switch v := v.(type) {
		case *hclsyntax.ObjectConsExpr:
			if nesting != "map" {
				f(v)
				continue
			}
			for _, item := range v.Items {
				each(item.ValueExpr, "single", f)
			}
		case *hclsyntax.TupleConsExpr:
			for _, element := range v.Exprs {
				each(element, "single", f)
			}
		case *hclsyntax.ForExpr:
			each(v.ValExpr, "single", f)
		}
	}
}
