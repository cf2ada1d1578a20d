package terraform

import (
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// variable wants a description, a type, and a validation unless every value of the type is meant.
func (c *checker) variable(b *hclsyntax.Block) {
	c.described(b)
	if _, ok := b.Body.Attributes["type"]; !ok {
		c.found(b.TypeRange, "variable %s has no type", b.Labels[0])
		return
	}
	typ := strings.TrimSpace(keyword(b.Body.Attributes["type"].Expr))
	if typ == "bool" || b.Labels[0] == "tags" {
		return
	}
	for _, inner := range b.Body.Blocks {
		if inner.Type == "validation" {
			return
		}
	}
	c.found(b.TypeRange, "variable %s takes anything: it has no validation", b.Labels[0])
}

func keyword(e hclsyntax.Expression) string {
	if t, ok := e.(*hclsyntax.ScopeTraversalExpr); ok {
		return t.Traversal.RootName()
	}
	return ""
}

func (c *checker) described(b *hclsyntax.Block) {
	a, ok := b.Body.Attributes["description"]
	if ok {
		if text, literal := literal(a.Expr); !literal || strings.TrimSpace(text) != "" {
			return
		}
	}
	c.found(b.TypeRange, "%s %s has no description", b.Type, b.Labels[0])
}

// chart wants a release of a chart that cannot become another: a version, and an archive or folder at hand, since
// helm_release cannot pin what it fetches by digest.
func (c *checker) chart(b *hclsyntax.Block) {
	name := b.Labels[1]
	if _, ok := b.Body.Attributes["version"]; !ok {
		c.found(b.TypeRange, "helm_release %s names no version", name)
	}
	if a, ok := b.Body.Attributes["repository"]; ok {
		c.found(a.NameRange, "helm_release %s fetches its chart by version, which can be moved: take an archive whose digest is checked", name)
	}
	if a, ok := b.Body.Attributes["chart"]; ok {
		if parts := texts(a.Expr); len(parts) > 0 && strings.Contains(parts[0], "://") {
			c.found(a.NameRange, "helm_release %s fetches its chart by version, which can be moved: take an archive whose digest is checked", name)
		}
	}
}

func texts(e hclsyntax.Expression) []string { return (&module{}).texts(e) }
