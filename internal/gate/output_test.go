package gate_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/gate"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got, -update writes it):\n%s", path, diff)
	}
}

// everything is a decision with every kind of member in it.
func everything(t testing.TB) gate.Decision {
	named := func(name string, change ...func(*finding.Finding)) finding.Finding {
		return vulnerability(append(change, func(f *finding.Finding) {
			f.Package.Name, f.Package.PURL = name, "pkg:deb/debian/"+name+"@3.0.1-1"
		})...)
	}
	r := clean()
	r.Findings = []finding.Finding{
		named("refused"), named("exploited", exploited, severity(finding.Low)), named("unknown", severity(finding.Unknown)),
		named("excepted"), named("vexed"), named("expired", unfixed),
		named("<img src=x onerror=alert(1)>|`@everyone`\n# \u202e", severity(finding.High), exploited),
	}
	r.Database.Built = now.AddDate(0, 0, -9)
	r.Coverage = append(r.Coverage, finding.Coverage{Ecosystem: "npm", Packages: 4})
	r.Uncomparable = []finding.Package{{Name: "odd", Version: "?", Type: "generic"}}
	g := policy.Gate{Exceptions: []policy.Exception{
		exception(func(e *policy.Exception) { e.Package = "excepted" }),
		exception(func(e *policy.Exception) { e.Package, e.Expires, e.Author = "expired", now, "<b>al|ice" }),
		exception(func(e *policy.Exception) { e.Package = "absent" }),
		exception(func(e *policy.Exception) { e.Reason = "" }),
	}}
	vex := []finding.VEX{document(t, "not_affected", "pkg:oci/app?repository_url="+image, "pkg:deb/debian/vexed", "2026-01-01T00:00:00Z")}
	return gate.Decide(g, image, r, vex, now)
}

func TestDecisionAsJSON(t *testing.T) {
	d := everything(t)
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "decision.json", append(data, '\n'))
	var again gate.Decision
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, again); diff != "" {
		t.Errorf("round trip (-before +after):\n%s", diff)
	}
}

func TestDecisionsAreWhatTheSchemaSays(t *testing.T) {
	s := schema(t)
	for name, d := range map[string]gate.Decision{
		"everything": everything(t),
		"clean":      gate.Decide(policy.Gate{}, image, clean(), nil, now),
	} {
		data, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v\n%s", name, err, data)
		}
		doc.(map[string]any)["refused"] = !d.Refused
		if err := s.Validate(doc); err == nil {
			t.Errorf("%s: the schema takes a decision that contradicts its reasons", name)
		}
	}
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	for _, name := range []string{"scan-v1.schema.json", "gate-v1.schema.json"} {
		data, err := os.ReadFile("../../docs/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("https://hallmark.sh/schemas/"+name, doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("https://hallmark.sh/schemas/gate-v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDecisionAsMarkdown(t *testing.T) {
	text := everything(t).Markdown()
	golden(t, "decision.md", []byte(text))
	golden(t, "pass.md", []byte(gate.Decide(policy.Gate{}, image, clean(), nil, now).Markdown()))
	if rest := regexp.MustCompile(`</?code>`).ReplaceAllString(text, ""); strings.ContainsAny(rest, "<>@`\u202e") {
		t.Errorf("markup from a package name got through:\n%s", rest)
	}
}

func TestExcusedSaysByWhom(t *testing.T) {
	f := vulnerability()
	for _, test := range []struct {
		excused gate.Excused
		want    string
	}{
		{gate.Excused{Finding: f, VEX: &finding.Statement{Author: "bob", Status: "not_affected", Impact: "not linked"}}, "VEX of bob says not_affected: not linked"},
		{gate.Excused{Finding: f, VEX: &finding.Statement{Author: "bob", Status: "fixed"}}, "VEX of bob says fixed: no reason given"},
		{gate.Excused{Finding: f}, "nothing"},
	} {
		if got, want := test.excused.String(), "DSA-1 in openssl 3.0.1-1: "+test.want; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
