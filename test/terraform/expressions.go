package terraform

import (
	"fmt"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// outcomes lists the expressions whose value e may be: both sides of a condition, every argument of merge, concat,
// coalesce and try.
func outcomes(e hclsyntax.Expression) []hclsyntax.Expression {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return outcomes(e.Expression)
	case *hclsyntax.ConditionalExpr:
		return append(outcomes(e.TrueResult), outcomes(e.FalseResult)...)
	case *hclsyntax.FunctionCallExpr:
		switch e.Name {
		case "merge", "concat", "coalesce", "try":
			var all []hclsyntax.Expression
			for _, arg := range e.Args {
				all = append(all, outcomes(arg)...)
			}
			return all
		}
	}
	return []hclsyntax.Expression{e}
}

// literal returns the text of an expression that is nothing but text.
func literal(e hclsyntax.Expression) (string, bool) {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		if e.Val.Type() == cty.String {
			return e.Val.AsString(), true
		}
	case *hclsyntax.TemplateExpr:
		var b strings.Builder
		for _, part := range e.Parts {
			text, ok := literal(part)
			if !ok {
				return "", false
			}
			b.WriteString(text)
		}
		return b.String(), true
	}
	return "", false
}

// key returns the name of an object's member, with ${} for each part that is not literal.
func key(e hclsyntax.Expression) (string, bool) {
	if k, ok := e.(*hclsyntax.ObjectConsKeyExpr); ok {
		if name := hcl.ExprAsKeyword(k.Wrapped); name != "" && !k.ForceNonLiteral {
			return name, true
		}
		e = k.Wrapped
	}
	if text, ok := literal(e); ok {
		return text, true
	}
	if t, ok := e.(*hclsyntax.TemplateExpr); ok {
		var b strings.Builder
		for _, part := range t.Parts {
			if text, ok := literal(part); ok {
				b.WriteString(text)
			} else {
				b.WriteString("${}")
			}
		}
		return b.String(), true
	}
	return "", false
}

// texts collects every piece of literal text that may become part of e's value, through locals and the defaults of
// variables.
func (m *module) texts(e hclsyntax.Expression) []string {
	var out []string
	visited := map[string]bool{}
	var walk func(hclsyntax.Expression)
	walk = func(e hclsyntax.Expression) {
		_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
			switch n := n.(type) {
			case *hclsyntax.LiteralValueExpr:
				if n.Val.Type() == cty.String {
					out = append(out, n.Val.AsString())
				}
			case *hclsyntax.ScopeTraversalExpr:
				name := fmt.Sprint(n.Traversal.RootName(), ".", step(n.Traversal, 1))
				if visited[name] {
					return nil
				}
				visited[name] = true
				if target := m.target(n.Traversal); target != nil {
					walk(target)
				}
			}
			return nil
		})
	}
	walk(e)
	return out
}

// target is the expression that a reference to a local or a variable stands for, if it is written here.
func (m *module) target(t hcl.Traversal) hclsyntax.Expression {
	name := step(t, 1)
	switch t.RootName() {
	case "local":
		return m.locals[name]
	case "var":
		for _, b := range m.blocks {
			if b.Type == "variable" && b.Labels[0] == name {
				if a, ok := b.Body.Attributes["default"]; ok {
					return a.Expr
				}
			}
		}
	}
	return nil
}

// step is the nth name of a traversal, or "".
func step(t hcl.Traversal, n int) string {
	if n < len(t) {
		if a, ok := t[n].(hcl.TraverseAttr); ok {
			return a.Name
		}
	}
	return ""
}

// near says which name was probably meant.
func near(name string, all []string) string {
	best, distance := "", 4
	for _, other := range all {
		if d := levenshtein.Distance(name, other, nil); d < distance && other != name {
			best, distance = other, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}
