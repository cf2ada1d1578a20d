package finding_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

func TestSARIF(t *testing.T) {
	for name, r := range map[string]finding.Report{"report.sarif": sample(), "empty.sarif": {Subject: hash("a"), Image: app}} {
		data, err := finding.SARIF(r)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, data)
		log, err := sarif.FromBytes(data, sarif.WithStrictValidation())
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Validate(); err != nil {
			t.Errorf("%s is not SARIF 2.1.0: %v", name, err)
		}
		if bytes.Contains(data, []byte("null")) {
			t.Errorf("%s has a null, which the published schema of SARIF refuses", name)
		}
	}
}

func TestSARIFSaysWhatGitHubReads(t *testing.T) {
	r := sample()
	data, err := finding.SARIF(r)
	if err != nil {
		t.Fatal(err)
	}
	log, err := sarif.FromBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	severities := map[string]any{}
	for _, rule := range run.Tool.Driver.Rules {
		severities[*rule.ID] = rule.Properties.Properties["security-severity"]
	}
	// CVE-2024-1 is critical in one package and low in another: the rule has
	// the worst. What has no severity must not read as 0.0.
	want := map[string]any{"CVE-2024-1": "9.5", "PYSEC-2023-62": "8.0", "GO-2024-1": nil}
	if diff := cmp.Diff(want, severities); diff != "" {
		t.Errorf("security-severity (-want +got):\n%s", diff)
	}
	if len(run.Results) != len(r.Findings) {
		t.Errorf("%d results for %d findings", len(run.Results), len(r.Findings))
	}
	prints := map[string]bool{}
	for _, result := range run.Results {
		if got := *run.Tool.Driver.Rules[result.RuleIndex].ID; got != *result.RuleID {
			t.Errorf("rule %s has the index of %s", *result.RuleID, got)
		}
		prints[result.PartialFingerprints["hallmarkFinding/v1"]] = true
		for _, l := range result.Locations {
			if uri := *l.PhysicalLocation.ArtifactLocation.URI; strings.HasPrefix(uri, "/") || strings.ContainsAny(uri, " ?#") {
				t.Errorf("location %q", uri)
			}
		}
	}
	if len(prints) != len(r.Findings) {
		t.Errorf("%d fingerprints for %d findings", len(prints), len(r.Findings))
	}
	upgraded := sample()
	upgraded.Findings[0].Package.Version, upgraded.Subject = "2.2.3", hash("b")
	later, err := finding.SARIF(upgraded)
	if err != nil {
		t.Fatal(err)
	}
	if log, err = sarif.FromBytes(later); err != nil {
		t.Fatal(err)
	}
	for _, result := range log.Runs[0].Results {
		if !prints[result.PartialFingerprints["hallmarkFinding/v1"]] {
			t.Errorf("a new version of the package gives %s a new fingerprint", *result.RuleID)
		}
	}
}

func TestSARIFMessagesHoldNoLinks(t *testing.T) {
	r := sample()
	r.Findings = r.Findings[:1]
	r.Findings[0].Package.Name = `[fix](https://evil.example) {0} \`
	data, err := finding.SARIF(r)
	if err != nil {
		t.Fatal(err)
	}
	log, err := sarif.FromBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	want := `\[fix\](https://evil.example) {{0}} \\ 2.2.2 has PYSEC-2023-62 (high); fixed in 2.2.5, 2.3.2.`
	if got := *log.Runs[0].Results[0].Message.Text; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWritingDoesNotReorderTheReport(t *testing.T) {
	r := sample()
	slices.Reverse(r.Coverage)
	before := clone(r)
	if _, err := finding.SARIF(r); err != nil {
		t.Fatal(err)
	}
	r.Markdown()
	if diff := cmp.Diff(before, r); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestMarkdown(t *testing.T) {
	r := sample()
	text := r.Markdown()
	golden(t, "report.md", []byte(text))
	if rest := regexp.MustCompile(`</?code>`).ReplaceAllString(text, ""); strings.ContainsAny(rest, "<>`") {
		t.Errorf("markup from a package name got through:\n%s", text)
	}
	golden(t, "empty.md", []byte(finding.Report{Image: app}.Markdown()))
}

func TestMarkdownIsBounded(t *testing.T) {
	r := sample()
	for range 300 {
		f := r.Findings[0]
		f.Package.Version = strings.Repeat("9", 100000)
		r.Findings = append(r.Findings, f)
	}
	text := r.Markdown()
	if len(text) > 1<<20 || !strings.Contains(text, "104 more are in the JSON report") {
		t.Errorf("%d bytes", len(text))
	}
}

func FuzzMarkdownText(f *testing.F) {
	for _, seed := range []string{"a|b", "<!-- x", "[a](javascript:x)", "@everyone", "`", "\u202e", "\x00", "a\nb", "www.evil.example", "http://evil.example", "&lt;", "\xff", "# a", "*_~"} {
		f.Add(seed)
	}
	safe := regexp.MustCompile(`^([A-Za-z0-9 .,;?'"/+\-=()\x{fffd}…]|&#[0-9]+;)*$`)
	f.Fuzz(func(t *testing.T, text string) {
		got := finding.MarkdownText(text)
		if !safe.MatchString(got) || strings.Contains(got, "www.") {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func TestReportsAreWhatTheSchemaSays(t *testing.T) {
	raw, err := os.ReadFile("../../docs/schemas/scan-v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scan.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("scan.json")
	if err != nil {
		t.Fatal(err)
	}
	index := finding.MergePlatforms(hash("f"), sample(), platformReport("linux/arm64", "arm64"))
	for _, r := range []finding.Report{sample(), index, {Subject: hash("a")}} {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%v\n%s", err, data)
		}
		delete(doc.(map[string]any), "findings")
		if err := s.Validate(doc); err == nil {
			t.Error("the schema takes a report without findings")
		}
	}

	var root map[string]any
	if err := json.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	defs := root["$defs"].(map[string]any)
	database := root["properties"].(map[string]any)["database"]
	coverage := root["properties"].(map[string]any)["coverage"].(map[string]any)["items"]
	for _, pair := range []struct {
		of   reflect.Type
		node any
	}{
		{reflect.TypeFor[finding.Report](), root},
		{reflect.TypeFor[finding.Database](), database},
		{reflect.TypeFor[finding.Coverage](), coverage},
		{reflect.TypeFor[finding.Finding](), defs["finding"]},
		{reflect.TypeFor[finding.Package](), defs["package"]},
	} {
		var want, got []string
		for i := range pair.of.NumField() {
			key, _, _ := strings.Cut(pair.of.Field(i).Tag.Get("json"), ",")
			want = append(want, key)
		}
		for key := range pair.node.(map[string]any)["properties"].(map[string]any) {
			got = append(got, key)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-struct +schema):\n%s", pair.of, diff)
		}
	}
}
