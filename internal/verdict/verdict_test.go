package verdict_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/verdict"
)

func sample() verdict.Verdict {
	return verdict.Verdict{
		Subject:      "registry.test/acme/app@sha256:" + strings.Repeat("a", 64),
		Digest:       "sha256:" + strings.Repeat("a", 64),
		At:           time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		PolicyDigest: "sha256:" + strings.Repeat("b", 64),
		Checks: []verdict.Check{
			{Name: "subject", Outcome: verdict.Pass, Reason: "4 bundles name it"},
			{
				Name: "signature", Outcome: verdict.Fail, Code: "no-signature", Reason: "nobody signed it", Next: "sign it",
				Details: []verdict.Detail{{Name: "ignored", Value: "1 bundle"}},
			},
			{Name: "sbom", Outcome: verdict.Unknown, Code: "evidence-unavailable", Reason: "the registry did not answer", Next: "try again"},
		},
	}
}

func TestOutcome(t *testing.T) {
	tests := []struct {
		name     string
		outcomes []verdict.Outcome
		passed   bool
		failing  int
	}{
		{"no check", nil, false, 0},
		{"all pass", []verdict.Outcome{verdict.Pass, verdict.Pass}, true, 0},
		{"one fails", []verdict.Outcome{verdict.Pass, verdict.Fail}, false, 1},
		{"one unknown", []verdict.Outcome{verdict.Unknown, verdict.Pass}, false, 1},
		{"an outcome nobody knows", []verdict.Outcome{verdict.Pass, "fine"}, false, 1},
		{"an empty outcome", []verdict.Outcome{""}, false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v verdict.Verdict
			for _, o := range tt.outcomes {
				v.Checks = append(v.Checks, verdict.Check{Outcome: o})
			}
			if v.Passed() != tt.passed || len(v.Failing()) != tt.failing {
				t.Errorf("passed %v with %d failing, want %v with %d", v.Passed(), len(v.Failing()), tt.passed, tt.failing)
			}
		})
	}
}

func TestFails(t *testing.T) {
	v := sample()
	v.Checks[0].Code = "leftover"
	for code, want := range map[string]bool{"no-signature": true, "evidence-unavailable": true, "leftover": false, "other": false} {
		if got := v.Fails(code); got != want {
			t.Errorf("Fails(%q) = %v", code, got)
		}
	}
	if c, ok := v.Find("signature"); !ok || c.Code != "no-signature" {
		t.Errorf("Find gave %+v, %v", c, ok)
	}
	if _, ok := v.Find("tag"); ok {
		t.Error("Find gave a check that is not there")
	}
}

func TestSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schemas/verdict-v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(raw []byte) error {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(document)
	}
	raw, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(raw); err != nil {
		t.Errorf("the schema refuses a verdict: %v", err)
	}
	var back verdict.Verdict
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), back); diff != "" {
		t.Errorf("verdict changed on the way through JSON:\n%s", diff)
	}
	for _, change := range [][2]string{
		{`"outcome":"pass"`, `"outcome":"fine"`},
		{`"outcome":"fail","code":"no-signature"`, `"outcome":"fail"`},
		{`"outcome":"fail","code":"no-signature"`, `"outcome":"pass","code":"no-signature"`},
		{`"reason":"nobody signed it"`, `"reason":""`},
		{`"next":"sign it"`, `"then":"sign it"`},
		{`"subject":"registry`, `"about":"registry`},
		{`"digest":"sha256:aa`, `"digest":"sha256:`},
		{`"checks":[`, `"checks":[],"was":[`},
		{`"name":"subject"`, `"name":"weather"`},
	} {
		text := strings.Replace(string(raw), change[0], change[1], 1)
		if text == string(raw) {
			t.Fatalf("%s is not in the verdict", change[0])
		}
		if validate([]byte(text)) == nil {
			t.Errorf("the schema lets %s pass for %s", change[1], change[0])
		}
	}
}
