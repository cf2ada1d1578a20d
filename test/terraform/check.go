// Package terraform judges Terraform configurations without terraform, without providers and without a network.
//
// It knows what terraform would say: every type, argument, block and required argument, for the providers and modules of
// facts. And it knows what terraform would not: a misspelt member of an object handed to a module, which terraform drops
// in silence; a trust policy that trusts too many; a variable that anything may be put into. See Check.
//
// Limits: expressions are read, not evaluated. Literal text is followed through locals and the defaults of variables, so
// a pattern hidden there is found; one that a caller passes in is found where the caller writes it. A policy that is
// neither a jsonencode of an object, nor a policy document, nor literal JSON is a finding, because it cannot be judged.
package terraform

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Finding is one thing that is wrong, where.
type Finding struct {
	File    string // relative to the folder that was checked
	Line    int
	Message string
}

func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message) }

// checker goes through one root and the local modules it calls.
type checker struct {
	facts    *facts
	root     string
	seen     map[string]*module
	findings []Finding
}

// module is the parsed files of one folder.
type module struct {
	dir    string
	blocks []*hclsyntax.Block
	locals map[string]hclsyntax.Expression
	face   moduleFace
}

// Check judges the root in dir and every local module it calls, and returns what is wrong in the order of files and lines.
// The error is non-nil when the configuration cannot be read at all.
func Check(dir string) ([]Finding, error) {
	f, err := readFacts()
	if err != nil {
		return nil, err
	}
	c := &checker{facts: f, root: dir, seen: map[string]*module{}}
	if _, err := c.module(dir); err != nil {
		return nil, err
	}
	slices.SortFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Message, b.Message))
	})
	return slices.Compact(c.findings), nil
}

func (c *checker) found(r hcl.Range, format string, args ...any) {
	file := r.Filename
	if rel, err := filepath.Rel(c.root, file); err == nil {
		file = filepath.ToSlash(rel)
	}
	c.findings = append(c.findings, Finding{File: file, Line: r.Start.Line, Message: fmt.Sprintf(format, args...)})
}

// module parses and judges the folder once, however often it is called.
func (c *checker) module(dir string) (*module, error) {
	dir = filepath.Clean(dir)
	if m, ok := c.seen[dir]; ok {
		return m, nil
	}
	m, err := parse(dir)
	if err != nil {
		return nil, err
	}
	c.seen[dir] = m
	for _, b := range m.blocks {
		switch b.Type {
		case "resource", "data":
			c.resource(m, b)
		case "provider":
			c.provider(m, b)
		case "module":
			if err := c.call(m, b); err != nil {
				return nil, err
			}
		case "variable":
			c.variable(b)
		case "output":
			c.described(b)
		}
	}
	c.policies(m)
	return m, c.references(m)
}

func parse(dir string) (*module, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("reading %s: %w with a .tf file", dir, os.ErrNotExist)
	}
	m := &module{dir: dir, locals: map[string]hclsyntax.Expression{}, face: moduleFace{Variables: map[string]variableFace{}}}
	parser := hclparse.NewParser()
	for _, name := range files {
		file, diags := parser.ParseHCLFile(name)
		if diags.HasErrors() {
			return nil, fmt.Errorf("reading %s: %w", name, diags)
		}
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			m.blocks = append(m.blocks, b)
			m.learn(b, file.Bytes)
		}
	}
	return m, nil
}

// learn keeps what other blocks and callers refer to.
func (m *module) learn(b *hclsyntax.Block, source []byte) {
	text := func(name string) string {
		if a, ok := b.Body.Attributes[name]; ok {
			return string(a.Expr.Range().SliceBytes(source))
		}
		return ""
	}
	switch b.Type {
	case "locals":
		for name, a := range b.Body.Attributes {
			m.locals[name] = a.Expr
		}
	case "variable":
		_, optional := b.Body.Attributes["default"]
		m.face.Variables[b.Labels[0]] = variableFace{Type: text("type"), Default: text("default"), Required: !optional}
	case "output":
		m.face.Outputs = append(m.face.Outputs, b.Labels[0])
	}
}
