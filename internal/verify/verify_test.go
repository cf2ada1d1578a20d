package verify_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// The places of a release's evidence.
const (
	signature = iota
	sbomAt
	scanAt
	provenanceAt
)

// outcomes is a verdict in short: the code of each check, or pass.
func outcomes(v verdict.Verdict) map[string]string {
	out := map[string]string{}
	for _, c := range v.Checks {
		out[c.Name] = string(c.Outcome)
		if c.Code != "" {
			out[c.Name] += " " + c.Code
		}
	}
	return out
}

// allPass is what a whole release gives.
var allPass = map[string]string{"subject": "pass", "signature": "pass", "sbom": "pass", "scan": "pass", "provenance": "pass", "source": "pass"}

// but is allPass with changes, each written "name: outcome code".
func but(changes ...string) map[string]string {
	out := maps.Clone(allPass)
	for _, c := range changes {
		name, outcome, _ := strings.Cut(c, ": ")
		out[name] = outcome
	}
	return out
}

func TestRelease(t *testing.T) {
	w := newWorld(t, nil)
	v := verify.Judge(subject, w.sign(t, claims(), release(t, claims())...), w.options())
	if diff := cmp.Diff(allPass, outcomes(v)); diff != "" || !v.Passed() {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if v.Subject != "registry.test/acme/app@"+subject.String() || v.Digest != subject.String() || v.PolicyDigest == "" || v.At.Year() != 2030 {
		t.Errorf("verdict is about %s %s, by %s at %s", v.Subject, v.Digest, v.PolicyDigest, v.At)
	}
	for name, want := range map[string]string{
		"subject":    "4 bundles by the policy's identity name this digest",
		"signature":  "signed by https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main at 20",
		"sbom":       "CycloneDX 1.6, 3 packages",
		"scan":       "3 findings, by the advisories of 2026-01-01T00:00:00Z",
		"provenance": "SLSA v1, GitHub workflow build by https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main",
		"source":     "commit " + commit + " of https://github.com/acme/app at refs/heads/main, in provenance and certificate alike",
	} {
		c, _ := v.Find(name)
		if !strings.HasPrefix(c.Reason, want) || c.Next != "" {
			t.Errorf("%s: %q, next %q", name, c.Reason, c.Next)
		}
	}
	c, _ := v.Find("scan")
	want := []verdict.Detail{
		{Name: "scanner", Value: "grype 0.120.1, database v6.1.10"},
		{Name: "high", Value: "2"}, {Name: "unknown", Value: "1"},
		{Name: "not covered", Value: "hex: the database knows nothing of 1 package"},
	}
	if diff := cmp.Diff(want, c.Details); diff != "" {
		t.Errorf("scan details (-want +got):\n%s", diff)
	}
}

// complete checks what every verdict must have: no pass with a code, and for
// anything else a known code, a reason and a next step.
func complete(t *testing.T, v verdict.Verdict) {
	t.Helper()
	known := map[string]bool{}
	for _, c := range verify.Codes() {
		known[c.Code] = true
	}
	for _, c := range v.Checks {
		if c.Reason == "" || strings.ContainsAny(c.Reason, "\n\x1b") {
			t.Errorf("check %s has the reason %q", c.Name, c.Reason)
		}
		for _, d := range c.Details {
			if len(d.Value) > 700 || strings.ContainsAny(d.Value, "\n\x1b\u202e") {
				t.Errorf("check %s has the detail %q", c.Name, d.Value)
			}
		}
		if (c.Outcome == verdict.Pass) != (c.Code == "") || (c.Outcome == verdict.Pass) != (c.Next == "") {
			t.Errorf("check %s is %s with code %q and next step %q", c.Name, c.Outcome, c.Code, c.Next)
		}
		if c.Code != "" && !known[c.Code] {
			t.Errorf("check %s has the unknown code %q", c.Name, c.Code)
		}
	}
}

func explain(v verdict.Verdict) string {
	var out strings.Builder
	for _, c := range v.Checks {
		fmt.Fprintf(&out, "%s: %s %s: %s\n", c.Name, c.Outcome, c.Code, c.Reason)
		for _, d := range c.Details {
			fmt.Fprintf(&out, "    %s: %s\n", d.Name, d.Value)
		}
	}
	return out.String()
}

// TestBystanders puts what strangers can attach beside a whole release: it
// must neither help nor harm.
func TestBystanders(t *testing.T) {
	w, alien := newWorld(t, nil), newWorld(t, nil)
	whole := w.sign(t, claims(), release(t, claims())...)
	evil := localtrust.GitHubClaims("evil/app", workflow, ref, commit)
	crowd := slices.Concat(
		w.sign(t, evil, release(t, evil)...),
		alien.sign(t, claims(), release(t, claims())...),
		w.sign(t, claims(), statement(t, evidence.Signature, `{}`, stranger)),
		w.sign(t, claims(), statement(t, "https://cosign.sigstore.dev/attestation/vuln/v1", `{}`)),
		w.sign(t, claims(), statement(t, "https://x.test/\x1b[2J\u202e", `{}`), statement(t, "https://x.test/"+strings.Repeat("y", 2000), `{}`)),
		w.sign(t, claims(), statement(t, evidence.Provenance, prov(t, claims(), nil, "https://actions.github.io/buildtypes/workflow/v1", "https://x.test/v1"))),
		w.sign(t, claims(), statement(t, evidence.CycloneDX, `{"x":1}`), statement(t, evidence.Scan, `{}`)),
		[]evidence.Signed{{Bundle: []byte("junk")}, {PredicateType: evidence.CycloneDX, Bundle: nil}},
	)
	v := verify.Judge(subject, append(crowd, whole...), w.options())
	if diff := cmp.Diff(allPass, outcomes(v)); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
	}
	told := explain(v)
	for _, want := range []string{
		"1 bundle, signature: it is by another identity: https://github.com/evil/app/.github/workflows/release.yml@refs/heads/main",
		"1 bundle, SBOM: it is by another identity",
		"1 bundle, signature: it is about " + stranger.String() + ", not about " + subject.String(),
		"1 bundle, of no known kind: it is no Sigstore bundle",
		"not judged: 1 bundle of predicate https://cosign.sigstore.dev/attestation/vuln/v1",
		`not judged: 1 bundle of predicate https://x.test/\x1b[2J\u202e`,
		"yyy ...",
		"beside it: 1 bundle by the policy's identity, refused: it is of build type https://x.test/v1",
		"ignored: one by the policy's identity: reading SBOM",
		"ignored: one by the policy's identity: the scan report cannot be read: scan report has no subject",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told in:\n%s", want, told)
		}
	}
	complete(t, v)
}

func TestLocalProvenance(t *testing.T) {
	w := newWorld(t, nil)
	o := w.options()
	o.Policy.Identity = policy.Identity{Issuer: localtrust.Issuer, Subject: localtrust.Identity}
	o.Policy.Evidence = []string{policy.Provenance}
	dirty := o
	dirty.AllowDirty = true
	madeDirty := func(s *source.Source) { s.Dirty = true }
	tests := []struct {
		name      string
		predicate string
		options   verify.Options
		want      map[string]string
	}{
		{"clean", prov(t, person(), nil), o, map[string]string{"subject": "pass", "provenance": "pass", "source": "pass"}},
		{"dirty", prov(t, person(), madeDirty), o, map[string]string{"subject": "pass", "provenance": "fail dirty", "source": "pass"}},
		{"dirty allowed", prov(t, person(), madeDirty), dirty, map[string]string{"subject": "pass", "provenance": "pass", "source": "pass"}},
		{"unknown parameters while dirty is allowed", prov(t, person(), madeDirty, `"dirty":true`, `"dirty":true,"patch":"p"`), dirty, map[string]string{"subject": "pass", "provenance": "fail unknown-parameters", "source": "pass"}},
		{"another builder", prov(t, person(), nil, "https://hallmark.sh/builders/local", "https://evil.test"), o, map[string]string{"subject": "pass", "provenance": "pass", "source": "fail builder-mismatch"}},
		{"GitHub's provenance under a person's certificate", prov(t, claims(), nil), o, map[string]string{"subject": "pass", "provenance": "pass", "source": "fail builder-unproven"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := verify.Judge(subject, w.sign(t, person(), statement(t, evidence.Provenance, tt.predicate)), tt.options)
			if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
			}
			complete(t, v)
		})
	}
}

// TestWanted has a policy ask for less, and for nothing that could be given.
func TestWanted(t *testing.T) {
	w := newWorld(t, nil)
	onlySBOM := w.sign(t, claims(), release(t, claims())[sbomAt])
	missing := map[string]string{
		"subject": "pass", "signature": "fail no-signature", "sbom": "pass", "scan": "fail no-scan",
		"provenance": "fail no-provenance", "source": "unknown no-provenance",
	}
	for _, tt := range []struct {
		asked []string
		want  map[string]string
	}{
		{[]string{policy.SBOMLink}, map[string]string{"subject": "pass", "sbom": "pass"}},
		{[]string{policy.Signature}, map[string]string{"subject": "pass", "signature": "fail no-signature"}},
		{nil, missing},
		{[]string{policy.SBOMLink, "sigature"}, missing},
	} {
		o := w.options()
		o.Policy.Evidence = tt.asked
		if diff := cmp.Diff(tt.want, outcomes(verify.Judge(subject, onlySBOM, o))); diff != "" {
			t.Errorf("%q asked (-want +got):\n%s", tt.asked, diff)
		}
	}
}
