package terraform_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/test/terraform"
)

const roots = "../../terraform"

// The project's own roots, each with the modules it calls.
func TestOwnRoots(t *testing.T) {
	var dirs []string
	for _, pattern := range []string{"modules/*", "examples/*"} {
		found, err := filepath.Glob(filepath.Join(roots, pattern))
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, found...)
	}
	if len(dirs) < 5 {
		t.Fatalf("only %v found", dirs)
	}
	for _, dir := range dirs {
		findings, err := terraform.Check(dir)
		if err != nil {
			t.Error(err)
		}
		for _, f := range findings {
			t.Errorf("%s: %s", filepath.Base(dir), f)
		}
	}
}

// Each folder of testdata/weak is wrong on purpose, and says so: a comment "want: TEXT | TEXT" on the line found, or
// "want below: TEXT" on the line before it.
func TestWeakRoots(t *testing.T) {
	dirs, err := filepath.Glob("testdata/weak/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no weak roots: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			findings, err := terraform.Check(dir)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				got = append(got, f.String())
				t.Log(f)
			}
			if diff := cmp.Diff(wanted(t, dir), got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

var want = regexp.MustCompile(`# want( below)?: (.*)$`)

func wanted(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			m := want.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			at := i + 1
			if m[1] != "" {
				at++
			}
			messages := strings.Split(m[2], " | ")
			slices.Sort(messages)
			for _, message := range messages {
				all = append(all, filepath.Base(name)+":"+strconv.Itoa(at)+": "+message)
			}
		}
	}
	return all
}

// A folder that cannot be read is an error, not a pass.
func TestUnreadable(t *testing.T) {
	empty := t.TempDir()
	if _, err := terraform.Check(empty); err == nil {
		t.Error("a folder without configuration passed")
	}
	if err := os.WriteFile(filepath.Join(empty, "main.tf"), []byte("resource \"aws_kms_key\" {"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := terraform.Check(empty); err == nil {
		t.Error("a file that is no HCL passed")
	}
}

var item = regexp.MustCompile(`^\| .*\| ([0-9]+(?:\.[0-9]{2})?) \|$`)

// The README's total is the sum of its items.
func TestCostAddsUp(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(roots, "examples", "eks", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	sum, total := 0.0, -1.0
	for line := range strings.Lines(string(text)) {
		m := item.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		cost, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "**total**") {
			total = cost
		} else {
			sum += cost
		}
	}
	if diff := sum - total; sum == 0 || diff > 0.005 || diff < -0.005 {
		t.Errorf("the items cost %.2f, the table says %.2f", sum, total)
	}
}
