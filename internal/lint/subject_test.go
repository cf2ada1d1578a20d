package lint_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/lint"
)

// What is said of an expression for the subject, beside nothing.
func TestSubjects(t *testing.T) {
	const good = `https://github\.com/acme/app/\.github/workflows/release\.yml@refs/heads/main`
	for expression, want := range map[string]string{
		`^` + good + `$`:   "",
		`^(` + good + `)$`: "",
		`\A` + good + `\z`: "",
		`^(?:` + good + `|https://github\.com/acme/lib/\.github/workflows/ci\.yml@refs/tags/v[0-9]+)$`: "",
		`^https://github\.com/acme/[^/]+/\.github/workflows/release\.yml@refs/heads/main$`:             "",
		`^https://github\.com/acme/.*$`: "",
		`^https://github\.com/acme/app/\.github/workflows/release\.yml@refs/heads/release-.*$`: "",
		`^https://github\.com/acme/app/\.github/workflows/release\.yml@.+$`:                    "",
		`^[^@]+@acme\.example$`:                             "",
		`^deploy@acme\.example$`:                            "",
		`^https://(github|git)\.acme\.example/shop/app/.*$`: "",

		`.*`:                       "identity-open",
		`.+`:                       "identity-open",
		`^.*$`:                     "identity-open",
		`(?s)^.*$`:                 "identity-open",
		`^[\s\S]*$`:                "identity-open",
		`^.{1,500}$`:               "identity-open",
		`https://.*`:               "identity-open",
		`^https://`:                "identity-open",
		`^https://github\.com/.*$`: "identity-open",
		`^https://github\.com/[^/]+/[^/]+/\.github/workflows/[^/]+@.*$`:           "identity-open",
		`^https://github\.com/\S+@refs/heads/main$`:                               "identity-open",
		`^https://github\.com/[a-z0-9-]+/app/\.github/workflows/release\.yml@.*$`: "identity-open",
		`^https://(github|gitlab)\.com/.*/app.*$`:                                 "identity-open",
		`^(` + good + `|https://github\.com/.*)$`:                                 "identity-open",
		`^(https://github\.com/acme/app)?/.*$`:                                    "identity-open",
		`^.*@refs/heads/main$`:                                                    "identity-open",
		`^` + good + `|.*$`:                                                       "identity-open",

		good:                  "identity-unanchored",
		`^` + good:            "identity-unanchored",
		good + `$`:            "identity-unanchored",
		`^` + good + `$|acme`: "identity-unanchored",
		`^a/b|c/d$`:           "identity-unanchored",
		`(?m)^` + good + `$`:  "identity-unanchored",

		`^https://github\.com/acme/app.*$`:                                                         "identity-wildcard",
		`^https://github\.com/acme/app(.*)$`:                                                       "identity-wildcard",
		`^https://github\.com/acme/app.{0,200}$`:                                                   "identity-wildcard",
		`^https://github\.com/acme/app[^@]*@refs/heads/main$`:                                      "identity-wildcard",
		`^https://github\.com/acme/app(-[a-z]+)?/\.github/workflows/release\.yml@refs/heads/main$`: "identity-wildcard",
		`^https://github\.com/acme[a-z-]*/app/\.github/workflows/release\.yml@refs/heads/main$`:    "identity-wildcard",
		`^https://github\.com/acme/app\S+$`:                                                        "identity-wildcard",
	} {
		text := fmt.Sprintf(`apiVersion: policies.kyverno.io/v1
kind: ImageValidatingPolicy
metadata: {name: x}
spec:
  attestors:
    - name: we
      cosign:
        keyless:
          identities:
            - issuer: https://token.actions.githubusercontent.com
              subjectRegExp: '%s'
`, expression)
		var found []string
		for _, f := range run(t, parse(t, "f", text)).Findings {
			if strings.HasPrefix(f.Code, "identity-") && f.Code != "identity-dot" {
				found = append(found, f.Code)
			}
		}
		if diff := cmp.Diff(strings.Fields(want), found, cmp.Transformer("none", func(l []string) []string { return append([]string{}, l...) })); diff != "" {
			t.Errorf("%s: %s", expression, diff)
		}
	}
}

// The older policies have stars in plain subjects.
func TestStars(t *testing.T) {
	for subject, want := range map[string]string{
		"https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main": "",
		"https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v*":    "",
		"https://github.com/acme/*": "",
		"*@acme.example":            "",
		"*":                         "identity-open",
		"**":                        "identity-open",
		"https://*":                 "identity-open",
		"https://github.com/*":      "identity-open",
		"https://github.com/*/app/.github/workflows/release.yml@refs/heads/main": "identity-open",
		"*@refs/heads/main":            "identity-open",
		"https://github.com/acme/app*": "identity-wildcard",
		"https://github.com/acme/app?/.github/workflows/release.yml@refs/heads/main": "identity-wildcard",
	} {
		text := fmt.Sprintf(`apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: x}
spec:
  rules:
    - verifyImages:
        - attestors:
            - entries:
                - keyless: {issuer: "https://token.actions.githubusercontent.com", subject: "%s"}
`, subject)
		var found string
		for _, f := range run(t, parse(t, "f", text)).Findings {
			if strings.HasPrefix(f.Code, "identity-") {
				found += f.Code
			}
		}
		if found != want {
			t.Errorf("%s: %q, want %q", subject, found, want)
		}
	}
}

// An expression that is none is an error where it stands, and not a finding.
func TestExpressionsThatAreNone(t *testing.T) {
	for _, field := range []string{"subjectRegExp", "issuerRegExp"} {
		text := "apiVersion: policies.kyverno.io/v1\nkind: ImageValidatingPolicy\nmetadata: {name: x}\nspec:\n  attestors:\n    - cosign:\n        keyless:\n          identities:\n            - issuer: https://x\n              " + field + ": '^acme/(app$'\n"
		_, err := lint.Run(parse(t, "f", text))
		if err == nil || !strings.HasPrefix(err.Error(), "f:10: reading "+field+" of ImageValidatingPolicy/x: missing closing )") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// closing are policies beside one that judges the images of one registry, and
// whether they say which registries may be used.
func TestClosingPolicies(t *testing.T) {
	const judged = "apiVersion: policies.kyverno.io/v1\nkind: ImageValidatingPolicy\nmetadata: {name: x}\nspec:\n  matchImageReferences: [{glob: 'ghcr.io/acme/*'}]\n---\n"
	validating := func(head, expression string) string {
		return "apiVersion: policies.kyverno.io/v1\nkind: " + head + "\n  matchConstraints: {resourceRules: [{resources: [pods]}]%s}\n  validations:\n    - expression: |\n        object.spec.containers.all(c, " + expression + ")\n"
	}
	plain := func(expression string) string {
		return fmt.Sprintf(validating("ValidatingPolicy\nmetadata: {name: y}\nspec:", expression), "")
	}
	const ours = `c.image.startsWith("ghcr.io/acme/")`
	legacy := func(match, pattern string) string {
		return "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: y}\nspec:\n  rules:\n    - match: {any: [{resources: {kinds: [Pod]" + match + "}}]}\n      validate: {pattern: {spec: {containers: [{image: \"" + pattern + "\"}]}}}\n"
	}
	for name, c := range map[string]struct {
		policy string
		open   bool
	}{
		"none":             {"", true},
		"prefix":           {plain(ours), false},
		"expression":       {plain(`c.image.matches('^ghcr\\.io/acme/')`), false},
		"list":             {plain(`["ghcr.io", "quay.io"].exists(r, c.image.startsWith(r + "/"))`), false},
		"no latest":        {plain(`!c.image.endsWith(":latest")`), true},
		"a digest":         {plain(`c.image.contains("@sha256:")`), true},
		"pull policy":      {plain(`c.image != "" && c.imagePullPolicy == "Always"`), true},
		"some namespaces":  {fmt.Sprintf(validating("ValidatingPolicy\nmetadata: {name: y}\nspec:", ours), ", namespaceSelector: {matchLabels: {env: prod}}"), true},
		"all but one":      {fmt.Sprintf(validating("ValidatingPolicy\nmetadata: {name: y}\nspec:", ours), ", namespaceSelector: {matchExpressions: [{key: n, operator: NotIn, values: [kube-system]}]}"), false},
		"one namespace":    {fmt.Sprintf(validating("NamespacedValidatingPolicy\nmetadata: {name: y, namespace: shop}\nspec:", ours), ""), true},
		"older":            {legacy("", "ghcr.io/acme/*"), false},
		"older, two":       {legacy("", "ghcr.io/acme/* | quay.io/acme/*"), false},
		"older, no latest": {legacy("", "!*:latest"), true},
		"older, one space": {legacy(", namespaces: [shop]", "ghcr.io/acme/*"), true},
		"older, any tag":   {legacy("", "*:*"), true},
	} {
		open := false
		for _, f := range run(t, parse(t, "f", judged+c.policy)).Findings {
			open = open || f.Code == "other-registries-open"
		}
		if open != c.open {
			t.Errorf("%s: open is %v, want %v", name, open, c.open)
		}
	}
}

// Conditions that fail on an object without the label, and exceptions that hold
// for everything.
func TestConditions(t *testing.T) {
	for condition, want := range map[string]string{
		`request.namespace == "legacy"`:                       "",
		`object.metadata.?labels[?"team"].orValue("") == "a"`: "",
		`has(object.metadata.labels) && "team" in object.metadata.labels && object.metadata.labels["team"] == "a"`: "",
		`has(object.metadata.labels.team) && object.metadata.labels.team == "a"`:                                   "",
		`object.metadata.labels["team"] == "a"`:                                                                    "condition-error",
		`has(object.metadata.labels) && object.metadata.labels["team"] == "a"`:                                     "condition-error",
		`has(object.metadata.labels.team) && object.metadata.labels.other == "a"`:                                  "condition-error",
		`has(object.metadata.labels) && object.metadata.labels.exists(k, k == "a")`:                                "",
		`object.metadata.labels.team == "a"`:                                                                       "condition-error",
		`object.metadata.?labels["team"] == "a"`:                                                                   "condition-error",
		`true`:                                                                                                     "exception-everything",
		`1 == 1`:                                                                                                   "exception-everything",
		`"a" != ""`:                                                                                                "exception-everything",
	} {
		text := fmt.Sprintf("apiVersion: policies.kyverno.io/v1\nkind: PolicyException\nmetadata: {name: x, namespace: kyverno}\nspec:\n  expiresAt: \"2027-01-01T00:00:00Z\"\n  matchConditions:\n    - name: c\n      expression: %q\n", condition)
		if diff := cmp.Diff(strings.Fields(want), run(t, parse(t, "f", text)).Codes(), cmp.Transformer("none", func(l []string) []string { return append([]string{}, l...) })); diff != "" {
			t.Errorf("%s: %s", condition, diff)
		}
	}
}
