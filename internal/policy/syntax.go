package policy

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What is above these is refused before the parser sees it: its time grows
// with the square of the nesting, so that a small file could hold it for
// minutes. A policy nests four deep, and an exception is sixteen tokens.
const (
	maxTokens      = 50000
	maxFlowDepth   = 16 // [ and { open at once
	maxLineNesting = 8  // block entries begun on one line, such as "- - -"
)

// parseYAML reads the one document of text, or says where it isn't one. A nil
// node without a problem is an empty document.
func parseYAML(text string) (ast.Node, *Problem) {
	tokens := lexer.Tokenize(text)
	if p := plain(tokens); p != nil {
		return nil, p
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, syntaxProblem(err)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, at(doc.Body.GetToken(), "a second document begins here; a policy is one document")
		}
		body = doc.Body
	}
	return body, nil
}

// plain refuses the parts of YAML that a policy has no use for and that make
// a reader see something else than the parser does.
func plain(tokens token.Tokens) *Problem {
	if len(tokens) > maxTokens {
		return at(tokens[maxTokens], "the file is too long for a policy")
	}
	depth, line, begun := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return at(t, "anchors and aliases are not read; write the value where it is used")
		case token.TagType, token.DirectiveType:
			return at(t, "tags and directives are not read")
		case token.MappingKeyType:
			return at(t, "keys are plain words, without ?")
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth = max(depth-1, 0)
		case token.SequenceEntryType, token.MappingValueType:
			if t.Position.Line != line {
				line, begun = t.Position.Line, 0
			}
			if depth == 0 {
				begun++
			}
			if t.Type == token.SequenceEntryType && depth > 0 {
				return at(t, "a list item begins where none can")
			}
		}
		if depth > maxFlowDepth || begun > maxLineNesting {
			return at(t, "the nesting is too deep for a policy")
		}
	}
	return nil
}

func syntaxProblem(err error) *Problem {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		return at(y.GetToken(), "not valid YAML: "+y.GetMessage())
	}
	return &Problem{Message: fmt.Sprintf("not valid YAML: %v", err)}
}

func at(t *token.Token, message string) *Problem {
	where := placeOf(t)
	return &Problem{Line: where.line, Column: where.column, Message: message}
}

// place is a position in the file, counted from 1.
type place struct{ line, column int }

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}
