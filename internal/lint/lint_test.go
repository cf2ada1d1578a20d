package lint_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/lint"
	"github.com/hallmark-sh/hallmark/internal/manifest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func objects(t testing.TB, patterns ...string) []manifest.Object {
	t.Helper()
	var all []manifest.Object
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files, %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, parse(t, filepath.ToSlash(file), string(data))...)
		}
	}
	return all
}

func parse(t testing.TB, name, text string) []manifest.Object {
	t.Helper()
	all, err := manifest.Read(name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func run(t testing.TB, all []manifest.Object) lint.Report {
	t.Helper()
	r, err := lint.Run(all)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func lines(r lint.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s:%d %s %s %s %s: %s\n", f.File, f.Line, f.Severity, f.Code, f.Object, f.Path, f.Detail)
	}
	return b.String()
}

// What hallmark renders has none of the weaknesses that it reports.
func TestRenderedIsClean(t *testing.T) {
	for _, name := range []string{"workflow", "reusable"} {
		r := run(t, objects(t, "../kyverno/testdata/render/"+name+"/*.yaml"))
		if len(r.Findings) != 0 || r.Policies < 3 {
			t.Errorf("%s: %d policies\n%s", name, r.Policies, lines(r))
		}
	}
	// Rendered to audit, it says so, and nothing else.
	r := run(t, objects(t, "../kyverno/testdata/render/private-tags-audit/*.yaml"))
	if diff := cmp.Diff([]string{"audit-only"}, r.Codes()); diff != "" {
		t.Errorf("%s\n%s", diff, lines(r))
	}
}

// weakenings are one change each to a set of policies without weakness, and
// the one code that tells of it.
var weakenings = []struct{ code, pattern, by string }{
	{"identity-open", `subjectRegExp: \^https://\S+`, `subjectRegExp: .+`},
	{"identity-open", `subjectRegExp: \^https://\S+`, `subjectRegExp: ^(.*)$`},
	{"identity-open", ` +subjectRegExp: \^https://\S+\n`, ``},
	{"identity-open", `subjectRegExp: \^https://\S+`, `subjectRegExp: ^https://github\.com/.*$$`},
	{"identity-open", `subjectRegExp: \^https://\S+`, `subjectRegExp: ^https://github\.com/[^/]+/app/\.github/workflows/release\.yml@refs/heads/main$$`},
	{"identity-unanchored", `subjectRegExp: \^(https://\S+)\$`, `subjectRegExp: $1`},
	{"identity-unanchored", `subjectRegExp: (\^https://\S+)\$`, `subjectRegExp: $1`},
	{"identity-unanchored", `subjectRegExp: (\^https://\S+)\$`, `subjectRegExp: $1$|acme`},
	{"identity-wildcard", `subjectRegExp: \^(https://github\\.com/acme/app)/\S+\$`, `subjectRegExp: ^$1.*$`},
	{"identity-wildcard", `subjectRegExp: \^(https://github\\.com/acme/app)/\S+\$`, `subjectRegExp: ^($1(.+))$`},
	{"identity-dot", `github\\\.com/acme`, `github.com/acme`},
	{"issuer-open", `- issuer: \S+\n +`, `- `},
	{"issuer-open", `- issuer: (\S+)`, `- issuerRegExp: $1`},
	{"issuer-open", `- issuer: (\S+)`, `- issuerRegExp: ^https://.*$`},
	{"subject-expression", `subjectRegExp: \^https://\S+`, `subjectExpression: '"x"'`},
	{"extensions-ignored", `(identities:\n)`, "additionalExtensions: {githubWorkflowRepository: acme/app}\n          $1"},
	{"signature-any-attestation", `verifyAttestationSignatures\(i, attestations\.signature, `, `verifyImageSignatures(i, `},
	{"signature-any-attestation", `type: https://sigstore.dev/cosign/sign/v1`, `type: https://example.test/v1`},
	{"tag-cache", `mutateDigest: false\n( +)verifyDigest: true`, "mutateDigest: false\n${1}verifyDigest: false"},
	{"sbom-unread", `!\[extractPayload\(i, attestations\.sbom\)[^\n]*\n[^\n]*\n[^\n]*\)\)\)`, `false)`},
	{"provenance-uncompared", `p\.runDetails\.builder`, `p.runDetails.metadata`},
	{"log-ignored", `url: https://rekor.sigstore.dev`, `insecureIgnoreTlog: true`},
	{"log-ignored", `url: https://rekor.sigstore.dev`, `insecureIgnoreSCT: true`},
	{"required-off", `required: true`, `required: false`},
	{"registry-insecure", `  attestors:\n`, "  credentials: {allowInsecureRegistry: true}\n  attestors:\n"},
	{"controllers", `resources: \[pods\]`, `resources: [pods, pods/ephemeralcontainers]`},
	{"controllers", `(validationConfigurations:)`, "autogen: {podControllers: {controllers: []}}\n  $1"},
	{"controllers", `resources: \[deployments\]`, `resources: [replicasets]`},
	{"ephemeral-containers", `resources: \[pods/ephemeralcontainers\]`, `resources: [pods/status]`},
	{"ephemeral-containers", `, pods/ephemeralcontainers`, ``},
	{"ephemeral-containers", `ephemeralContainers\.`, `otherContainers.`},
	{"init-containers", `initContainers\.`, `otherContainers.`},
	{"registry-prefix", `i\.startsWith\("ghcr\.io/acme/app@"\)`, `i.startsWith("ghcr.io/acme/app")`},
	{"failure-ignored", `failurePolicy: Fail\n  validationActions`, "failurePolicy: Ignore\n  validationActions"},
	{"failure-ignored", `failurePolicy: Fail\n  matchConstraints`, "failurePolicy: Ignore\n  matchConstraints"},
	{"failure-ignored", `svc-fail, failurePolicy: Fail`, `svc-ignore, failurePolicy: Ignore`},
	{"webhook-timeout", `timeoutSeconds: 30\n  evaluation`, "timeoutSeconds: 10\n  evaluation"},
	{"webhook-timeout", `  webhookConfiguration:\n    timeoutSeconds: 30\n  evaluation`, "  evaluation"},
	{"audit-only", `validationActions: \[Deny\]\n  webhook`, "validationActions: [Audit]\n  webhook"},
	{"audit-only", `(evaluation:\n)`, "evaluation:\n    admission: {enabled: false}\n"},
	{"binding-missing", `policyName: only-digests`, `policyName: others`},
	{"binding-missing", `only-digests, validationActions: \[Deny\]`, `only-digests, validationActions: [Warn]`},
	{"condition-error", `labels\[\?("[^"]+")\]\.orValue\(""\)`, `labels[$1]`},
	{"condition-error", `\.\?(labels)\[\?("[^"]+")\]\.orValue\(""\)`, `.$1[$2]`},
	{"exception-endless", `  expiresAt: \S+\n`, ``},
	{"exception-endless", `expiresAt: \S+`, `expiresAt: spring`},
	{"exception-everything", `  matchConditions:\n    - name: \S+\n      expression: request.namespace in \["legacy"\]\n`, ``},
	{"cache-size", `imageVerifyCacheMaxSize=100000000`, `imageVerifyCacheMaxSize=1000`},
	{"cache-size", `imageVerifyCacheMaxSize=100000000`, `v=3`},
	{"cache-size", `--v=2`, `--imageVerifyCacheEnabled=false`},
	{"deprecated", `policies.kyverno.io/v1\nkind: ImageV`, "policies.kyverno.io/v1alpha1\nkind: ImageV"},
}

// TestWeakenings takes one thing away from the strong set, sees exactly its
// code, and the strong set sees none.
func TestWeakenings(t *testing.T) {
	files, err := filepath.Glob("testdata/strong/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var whole []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, string(data))
	}
	strong := strings.Join(whole, "\n---\n")
	if r := run(t, parse(t, "strong", strong)); len(r.Findings) != 0 {
		t.Fatalf("the strong set has weaknesses:\n%s", lines(r))
	}
	for i, w := range weakenings {
		t.Run(fmt.Sprintf("%d %s", i, w.code), func(t *testing.T) {
			expression := regexp.MustCompile(w.pattern)
			if !expression.MatchString(strong) {
				t.Fatalf("nothing matches %s", w.pattern)
			}
			r := run(t, parse(t, "weak", expression.ReplaceAllString(strong, w.by)))
			if diff := cmp.Diff([]string{w.code}, r.Codes()); diff != "" {
				t.Errorf("%s\n%s", diff, lines(r))
			}
		})
	}
}

// The folder of weak policies, as they are found in the wild, gives every code
// there is, at the lines where the weaknesses stand.
func TestWeakFolder(t *testing.T) {
	r := run(t, objects(t, "testdata/weak/*.yaml"))
	var want []string
	for _, rule := range lint.Rules() {
		want = append(want, rule.Code)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, r.Codes()); diff != "" {
		t.Errorf("codes (-there are, +found): %s", diff)
	}
	golden(t, "testdata/weak.golden", lines(r))
	sarif, err := lint.SARIF(r)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/weak.sarif", string(sarif))
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// The order of the objects changes nothing.
func TestOrder(t *testing.T) {
	all := objects(t, "testdata/weak/*.yaml", "testdata/strong/*.yaml")
	want := lines(run(t, all))
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if diff := cmp.Diff(want, lines(run(t, all))); diff != "" {
			t.Fatal(diff)
		}
	}
}

// What says it is a policy and isn't is an error with its place; what is no
// policy is counted.
func TestWrong(t *testing.T) {
	for text, want := range map[string]string{
		"apiVersion: policies.kyverno.io/v1\nkind: ImageValidatingPolicy\nmetadata: {name: x}\nspec: {failurePolicy: [1]}":    "f:1: reading it as a ImageValidatingPolicy: ",
		"apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: x}\nspec: {rules: 7}":                               "f:1: reading it as a ClusterPolicy: ",
		"apiVersion: policies.kyverno.io/v1\nkind: ValidatingPolicy\nmetadata: {name: {a: b}}\nspec: {validations: []}":       "f:1: reading its metadata: ",
		"apiVersion: policies.kyverno.io/v1\nkind: ValidatingPolicy\nspec:\n  failurePolicy: Fail\n  failurePolicy: Ignore\n": "already defined",
	} {
		_, err := lint.Run(parse(t, "f", text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	r := run(t, parse(t, "f", "apiVersion: v1\nkind: Service\nmetadata: {name: x}"))
	if r.Policies != 0 || r.Passed != 1 || len(r.Findings) != 0 {
		t.Errorf("a Service: %+v", r)
	}
}

// Every rule has all its words, and every code is there once.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range lint.Rules() {
		if r.Code == "" || r.Why == "" || r.Fix == "" || r.Shown == "" || seen[r.Code] || !strings.HasSuffix(r.Why, ".") {
			t.Errorf("rule %+v", r)
		}
		seen[r.Code] = true
	}
	doc, err := os.ReadFile("../../docs/policy-lint.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range lint.Rules() {
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", r.Code, r.Severity, r.Why, r.Fix, r.Shown)
		if !bytes.Contains(doc, []byte(row)) {
			t.Errorf("docs/policy-lint.md lacks the row\n%s", row)
		}
	}
}

func FuzzRun(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := manifest.Read("f", strings.NewReader(text))
		if err != nil {
			return
		}
		r, err := lint.Run(all)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("an error without its place: %v", err)
			}
			return
		}
		if r.Policies+r.Passed != len(all) {
			t.Errorf("%d policies and %d others of %d objects", r.Policies, r.Passed, len(all))
		}
		raw, err := json.Marshal(r)
		if err != nil || !json.Valid(raw) {
			t.Errorf("no JSON: %v", err)
		}
		slices.Reverse(all)
		back, err := lint.Run(all)
		if err != nil || lines(back) != lines(r) {
			t.Errorf("the order of the objects changes what is found: %v", cmp.Diff(lines(r), lines(back)))
		}
	})
}
