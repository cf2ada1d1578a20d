package terraform

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// policyArguments are the arguments that hold an IAM policy, by resource type; nil are all types.
var policyArguments = map[string][]string{
	"assume_role_policy": nil,
	"repository_policy":  nil,
	"policy":             {"aws_iam_role_policy", "aws_iam_policy", "aws_kms_key", "aws_ecr_repository_policy"},
}

// policies finds every IAM policy of the module, in each of the ways one can be written.
func (c *checker) policies(m *module) {
	for _, b := range m.blocks {
		switch {
		case b.Type == "data" && b.Labels[0] == "aws_iam_policy_document":
			c.document(m, b)
		case b.Type == "resource":
			for name, a := range b.Body.Attributes {
				if types, ok := policyArguments[name]; ok && (types == nil || slices.Contains(types, b.Labels[0])) {
					c.policy(m, a.Expr, name, 0)
				}
			}
		}
	}
}

// policy judges an expression that is a policy's JSON. depth bounds the following of locals.
func (c *checker) policy(m *module, e hclsyntax.Expression, argument string, depth int) {
	for _, v := range outcomes(e) {
		switch v := v.(type) {
		case *hclsyntax.FunctionCallExpr:
			if v.Name == "jsonencode" && len(v.Args) == 1 {
				c.encoded(m, v.Args[0], depth)
				continue
			}
		case *hclsyntax.ScopeTraversalExpr:
			if v.Traversal.RootName() == "data" && step(v.Traversal, 1) == "aws_iam_policy_document" {
				continue // judged where it stands
			}
			if target := m.target(v.Traversal); target != nil && v.Traversal.RootName() == "local" && depth < 10 {
				c.policy(m, target, argument, depth+1)
				continue
			}
		case *hclsyntax.TemplateExpr:
			c.text(v)
			continue
		case *hclsyntax.LiteralValueExpr:
			if v.Val.IsNull() {
				continue
			}
		}
		c.found(v.Range(), "%s cannot be judged: write it with jsonencode or as a policy document here", argument)
	}
}

// encoded judges the object that a policy's JSON is made from.
func (c *checker) encoded(m *module, e hclsyntax.Expression, depth int) {
	for _, v := range outcomes(e) {
		if t, ok := v.(*hclsyntax.ScopeTraversalExpr); ok && t.Traversal.RootName() == "local" && depth < 10 {
			if target := m.target(t.Traversal); target != nil {
				c.encoded(m, target, depth+1)
				continue
			}
		}
		o, ok := v.(*hclsyntax.ObjectConsExpr)
		if !ok {
			c.found(v.Range(), "a policy that cannot be judged: write its object here")
			continue
		}
		statements := member(o, "Statement")
		if statements == nil {
			c.found(v.Range(), "a policy without statements")
			continue
		}
		for _, s := range elements(statements) {
			o, ok := s.(*hclsyntax.ObjectConsExpr)
			if !ok {
				c.found(s.Range(), "a statement that cannot be judged: write its object here")
				continue
			}
			c.judge(m.statement(o))
		}
	}
}

// elements lists the objects that are a statement, or the statements, of a policy.
func elements(e hclsyntax.Expression) []hclsyntax.Expression {
	var out []hclsyntax.Expression
	for _, v := range outcomes(e) {
		switch v := v.(type) {
		case *hclsyntax.TupleConsExpr:
			for _, element := range v.Exprs {
				out = append(out, elements(element)...)
			}
		case *hclsyntax.ForExpr:
			out = append(out, elements(v.ValExpr)...)
		default:
			out = append(out, v)
		}
	}
	return out
}

func member(o *hclsyntax.ObjectConsExpr, name string) hclsyntax.Expression {
	for _, item := range o.Items {
		if k, _ := key(item.KeyExpr); k == name {
			return item.ValueExpr
		}
	}
	return nil
}

func (m *module) statement(o *hclsyntax.ObjectConsExpr) statement {
	s := statement{at: o.Range()}
	for _, item := range o.Items {
		name, _ := key(item.KeyExpr)
		switch name {
		case "Effect":
			s.effect, _ = literal(item.ValueExpr)
		case "Action":
			s.actions = m.texts(item.ValueExpr)
		case "NotAction":
			s.notAction = true
		case "NotPrincipal":
			s.notPrinc = true
		case "Principal":
			s.principals = m.principals(item.ValueExpr)
		case "Condition":
			for _, operator := range entries(item.ValueExpr) {
				for _, claim := range entries(operator.value) {
					s.conditions = append(s.conditions, condition{operator: operator.key, key: claim.key,
						texts: m.texts(claim.value), certain: operator.certain && claim.certain})
				}
			}
		}
	}
	return s
}

func (m *module) principals(e hclsyntax.Expression) []principal {
	var out []principal
	for _, v := range outcomes(e) {
		if text, ok := literal(v); ok {
			out = append(out, principal{kind: text})
		}
	}
	for _, entry := range entries(e) {
		out = append(out, principal{kind: entry.key, texts: m.texts(entry.value)})
	}
	return out
}

type entry struct {
	key     string
	value   hclsyntax.Expression
	certain bool
}

// entries lists the members of an object, of all objects that are merged into it, and of both sides of a condition: what
// stands on one side only is not certain.
func entries(e hclsyntax.Expression) []entry {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return entries(e.Expression)
	case *hclsyntax.ObjectConsExpr:
		var out []entry
		for _, item := range e.Items {
			name, _ := key(item.KeyExpr)
			out = append(out, entry{name, item.ValueExpr, true})
		}
		return out
	case *hclsyntax.FunctionCallExpr:
		var out []entry
		if e.Name == "merge" {
			for _, arg := range e.Args {
				out = append(out, entries(arg)...)
			}
		}
		return out
	case *hclsyntax.ConditionalExpr:
		out := append(entries(e.TrueResult), entries(e.FalseResult)...)
		for i, a := range out {
			twice := 0
			for _, b := range out {
				if a.key == b.key {
					twice++
				}
			}
			out[i].certain = a.certain && twice > 1
		}
		return out
	}
	return nil
}

// document judges a data source aws_iam_policy_document.
func (c *checker) document(m *module, b *hclsyntax.Block) {
	for _, inner := range b.Body.Blocks {
		body := inner.Body
		if inner.Type == "dynamic" && inner.Labels[0] == "statement" {
			body = content(inner)
		} else if inner.Type != "statement" {
			continue
		}
		if body == nil {
			continue
		}
		s := statement{at: inner.TypeRange, effect: "Allow"}
		if a, ok := body.Attributes["effect"]; ok {
			s.effect, _ = literal(a.Expr)
		}
		if a, ok := body.Attributes["actions"]; ok {
			s.actions = m.texts(a.Expr)
		}
		_, s.notAction = body.Attributes["not_actions"]
		for _, part := range body.Blocks {
			s.add(m, part)
		}
		c.judge(s)
	}
}

func (s *statement) add(m *module, part *hclsyntax.Block) {
	name, body, certain := part.Type, part.Body, true
	if name == "dynamic" {
		name, body, certain = part.Labels[0], content(part), false
	}
	get := func(argument string) (string, []string) {
		if body == nil || body.Attributes[argument] == nil {
			return "", nil
		}
		e := body.Attributes[argument].Expr
		if text, ok := key(e); ok {
			return text, m.texts(e)
		}
		return "", m.texts(e)
	}
	switch name {
	case "principals":
		kind, _ := get("type")
		_, identifiers := get("identifiers")
		s.principals = append(s.principals, principal{kind, identifiers})
	case "not_principals":
		s.notPrinc = true
	case "condition":
		operator, _ := get("test")
		variable, _ := get("variable")
		_, values := get("values")
		s.conditions = append(s.conditions, condition{operator, variable, values, certain})
	}
}

// text judges a policy written as JSON, with ${} for what is put in.
func (c *checker) text(e *hclsyntax.TemplateExpr) {
	var b strings.Builder
	for _, part := range e.Parts {
		if text, ok := literal(part); ok {
			b.WriteString(text)
		} else {
			b.WriteString("${}")
		}
	}
	var doc struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(b.String()), &doc); err != nil {
		c.found(e.Range(), "a policy that is not JSON: %v", err)
		return
	}
	var many []map[string]any
	if json.Unmarshal(doc.Statement, &many) != nil {
		var one map[string]any
		if err := json.Unmarshal(doc.Statement, &one); err != nil {
			c.found(e.Range(), "a policy without statements")
			return
		}
		many = append(many, one)
	}
	for _, s := range many {
		c.judge(fromJSON(e.Range(), s))
	}
}

func fromJSON(at hcl.Range, in map[string]any) statement {
	s := statement{at: at}
	s.effect, _ = in["Effect"].(string)
	s.actions = strs(in["Action"])
	_, s.notAction = in["NotAction"]
	_, s.notPrinc = in["NotPrincipal"]
	switch p := in["Principal"].(type) {
	case string:
		s.principals = append(s.principals, principal{kind: p})
	case map[string]any:
		for _, kind := range names(p) {
			s.principals = append(s.principals, principal{kind, strs(p[kind])})
		}
	}
	conditions, _ := in["Condition"].(map[string]any)
	for _, operator := range names(conditions) {
		claims, _ := conditions[operator].(map[string]any)
		for _, claim := range names(claims) {
			s.conditions = append(s.conditions, condition{operator, claim, strs(claims[claim]), true})
		}
	}
	return s
}

func strs(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, strs(e)...)
		}
		return out
	}
	return nil
}
