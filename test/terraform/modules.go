package terraform

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

var moduleArguments = []string{"source", "version", "count", "for_each", "depends_on", "providers"}

// call judges one module block: where it comes from, and what it is handed.
func (c *checker) call(m *module, b *hclsyntax.Block) error {
	face, name, err := c.face(m, b)
	if err != nil || face == nil {
		return err
	}
	for arg, a := range b.Body.Attributes {
		if slices.Contains(moduleArguments, arg) {
			continue
		}
		v, ok := face.Variables[arg]
		if !ok {
			c.found(a.NameRange, "module %s has no variable %s%s", name, arg, near(arg, names(face.Variables)))
			continue
		}
		t, err := typeOf(v.Type)
		if err != nil {
			return fmt.Errorf("reading the type of %s of module %s: %w", arg, name, err)
		}
		c.handed(m, a.Expr, t, arg)
	}
	for _, v := range names(face.Variables) {
		if _, given := b.Body.Attributes[v]; face.Variables[v].Required && !given {
			c.found(b.TypeRange, "module %s is not given %s, which is required", name, v)
		}
	}
	return nil
}

// face finds what the called module takes. A nil face was already found wanting.
func (c *checker) face(m *module, b *hclsyntax.Block) (*moduleFace, string, error) {
	at := b.TypeRange
	source := ""
	if a, ok := b.Body.Attributes["source"]; ok {
		source, _ = literal(a.Expr)
		at = a.Expr.Range()
	}
	switch {
	case source == "":
		c.found(at, "module %s has no source that can be read", b.Labels[0])
		return nil, "", nil
	case strings.HasPrefix(source, "./"), strings.HasPrefix(source, "../"):
		called, err := c.module(filepath.Join(m.dir, filepath.FromSlash(source)))
		if err != nil {
			return nil, "", fmt.Errorf("reading module %s: %w", b.Labels[0], err)
		}
		return &called.face, source, nil
	}
	name, sub, _ := strings.Cut(source, "//")
	pkg, ok := c.facts.modules[name]
	if !ok {
		c.found(at, "module %s is not among those known here: its policies and arguments cannot be judged", source)
		return nil, "", nil
	}
	face, ok := pkg.Modules[sub]
	if !ok {
		c.found(at, "module %s %s has no %s known here", name, pkg.Version, sub)
		return nil, "", nil
	}
	version := ""
	if a, ok := b.Body.Attributes["version"]; ok {
		version, _ = literal(a.Expr)
		at = a.Expr.Range()
	}
	if version != pkg.Version {
		c.found(at, "module %s is not pinned to %s, the version its arguments are known of", name, pkg.Version)
	}
	return &face, source, nil
}

func typeOf(text string) (cty.Type, error) {
	if text == "" {
		return cty.DynamicPseudoType, nil
	}
	e, diags := hclsyntax.ParseExpression([]byte(text), "type", hcl.InitialPos)
	if diags.HasErrors() {
		return cty.NilType, diags
	}
	t, _, diags := typeexpr.TypeConstraintWithDefaults(e)
	if diags.HasErrors() {
		return cty.NilType, diags
	}
	return t, nil
}

// handed goes down an argument and its type side by side, and finds the members that the type has not: terraform would
// drop them and say nothing.
func (c *checker) handed(m *module, e hclsyntax.Expression, t cty.Type, at string) {
	for _, v := range outcomes(e) {
		switch v := v.(type) {
		case *hclsyntax.ObjectConsExpr:
			c.members(m, v, t, at)
		case *hclsyntax.TupleConsExpr:
			if t.IsListType() || t.IsSetType() {
				for _, element := range v.Exprs {
					c.handed(m, element, t.ElementType(), at+"[]")
				}
			}
		case *hclsyntax.ForExpr:
			if t.IsCollectionType() {
				c.handed(m, v.ValExpr, t.ElementType(), at+"[]")
			}
		case *hclsyntax.ScopeTraversalExpr:
			if v.Traversal.RootName() == "local" && len(v.Traversal) == 2 {
				if target := m.target(v.Traversal); target != nil && !refers(target, v) {
					c.handed(m, target, t, at)
				}
			}
		}
	}
}

func (c *checker) members(m *module, o *hclsyntax.ObjectConsExpr, t cty.Type, at string) {
	if t.IsMapType() {
		for _, item := range o.Items {
			name, _ := key(item.KeyExpr)
			c.handed(m, item.ValueExpr, t.ElementType(), at+"."+name)
		}
		return
	}
	if !t.IsObjectType() {
		return
	}
	given := map[string]bool{}
	for _, item := range o.Items {
		name, ok := key(item.KeyExpr)
		if !ok {
			continue
		}
		given[name] = true
		if !t.HasAttribute(name) {
			c.found(item.KeyExpr.Range(), "%s has no member %s%s: terraform would drop it in silence", at, name, near(name, names(t.AttributeTypes())))
			continue
		}
		c.handed(m, item.ValueExpr, t.AttributeType(name), at+"."+name)
	}
	for _, name := range names(t.AttributeTypes()) {
		if !given[name] && !t.AttributeOptional(name) {
			c.found(o.Range(), "%s lacks %s, which is required", at, name)
		}
	}
}

// refers says whether a local is defined by itself, which terraform refuses too.
func refers(e hclsyntax.Expression, to *hclsyntax.ScopeTraversalExpr) bool {
	for _, t := range e.Variables() {
		if t.RootName() == "local" && step(t, 1) == step(to.Traversal, 1) {
			return true
		}
	}
	return false
}

// references finds uses of what is not there: locals, variables, and outputs of modules.
func (c *checker) references(m *module) error {
	calls := map[string]*moduleFace{}
	for _, b := range m.blocks {
		if b.Type != "module" {
			continue
		}
		before := len(c.findings)
		face, _, err := c.face(m, b)
		c.findings = c.findings[:before] // said when the call was judged
		if err != nil {
			return err
		}
		if face != nil {
			calls[b.Labels[0]] = face
		}
	}
	for _, b := range m.blocks {
		_ = hclsyntax.VisitAll(b.Body, func(n hclsyntax.Node) hcl.Diagnostics {
			if e, ok := n.(*hclsyntax.ScopeTraversalExpr); ok {
				c.reference(m, calls, e.Traversal)
			}
			return nil
		})
	}
	return nil
}

func (c *checker) reference(m *module, calls map[string]*moduleFace, t hcl.Traversal) {
	name := step(t, 1)
	switch t.RootName() {
	case "local":
		if _, ok := m.locals[name]; !ok {
			c.found(t.SourceRange(), "local.%s is not defined%s", name, near(name, names(m.locals)))
		}
	case "var":
		if _, ok := m.face.Variables[name]; !ok {
			c.found(t.SourceRange(), "var.%s is not declared%s", name, near(name, names(m.face.Variables)))
		}
	case "module":
		if face, ok := calls[name]; ok {
			if output := step(t, 2); output != "" && !slices.Contains(face.Outputs, output) {
				c.found(t.SourceRange(), "module.%s has no output %s%s", name, output, near(output, face.Outputs))
			}
		}
	}
}
