package policy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

func TestReferenceIsTrue(t *testing.T) {
	data, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	blocks := strings.Split(doc, "```yaml\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("no example")
	}
	for i, block := range blocks {
		example, _, _ := strings.Cut(block, "```")
		if _, err := policy.Parse("example", []byte(example)); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
	}
	known := map[string]bool{}
	for _, key := range policy.Keys() {
		known[key] = true
		if !strings.Contains(doc, "\n| `"+key+"` |") {
			t.Errorf("no row for %s", key)
		}
	}
	for _, line := range strings.Split(doc, "\n") {
		if key, ok := strings.CutPrefix(line, "| `"); ok {
			if key, _, _ = strings.Cut(key, "`"); !known[key] {
				t.Errorf("a row for %s, which is no key", key)
			}
		}
	}
}
