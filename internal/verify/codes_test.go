package verify_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/verify"
)

var update = flag.Bool("update", false, "write the table of codes into docs/verify.md")

const (
	docs  = "../../docs/verify.md"
	begin = "<!-- codes: written by go test ./internal/verify -run Codes -update -->\n"
	end   = "<!-- end of codes -->\n"
)

// TestCodesDocumented holds the documentation to the program's own table.
func TestCodesDocumented(t *testing.T) {
	raw, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), begin)
	got, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the codes", docs)
	}
	var want strings.Builder
	want.WriteString("\n| code | meaning | next step |\n| --- | --- | --- |\n")
	for _, c := range verify.Codes() {
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", c.Code, c.Meaning, c.Next)
	}
	want.WriteString("\n")
	if *update {
		if err := os.WriteFile(docs, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("docs/verify.md, run with -update (-want +got):\n%s", diff)
	}
}

// TestCodesExplained finds every code the program can give in its source, and
// wants each explained once.
func TestCodesExplained(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "code") {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		declared[code] = true
		return true
	})
	if len(declared) < 40 {
		t.Fatalf("only %d codes found in codes.go", len(declared))
	}
	explained := map[string]bool{}
	for _, c := range verify.Codes() {
		if explained[c.Code] {
			t.Errorf("%s is explained twice", c.Code)
		}
		explained[c.Code] = true
		if c.Meaning == "" || c.Next == "" {
			t.Errorf("%s lacks a meaning or a next step", c.Code)
		}
	}
	if diff := cmp.Diff(declared, explained); diff != "" {
		t.Errorf("(-declared +explained):\n%s", diff)
	}
}
