package verify_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
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

// TestForgeries judges a whole release in which one thing is not as it should
// be, and wants the exact code of each refusal.
func TestForgeries(t *testing.T) {
	w := newWorld(t, nil)
	whole := w.sign(t, claims(), release(t, claims())...)
	workflowOf := func(repository, file, at string) oidc.Claims {
		return localtrust.GitHubClaims(repository, file, at, commit)
	}
	// replace puts forged evidence in the place of the true one.
	replace := func(i int, forged ...evidence.Signed) []evidence.Signed {
		return slices.Concat(whole[:i], forged, whole[i+1:])
	}
	signed := func(t *testing.T, c oidc.Claims, predicateType, predicate string, about ...v1.Hash) evidence.Signed {
		return w.sign(t, c, statement(t, predicateType, predicate, about...))[0]
	}
	provenanceOf := func(t *testing.T, changes ...string) []evidence.Signed {
		return replace(provenanceAt, signed(t, claims(), evidence.Provenance, prov(t, claims(), nil, changes...)))
	}
	everythingBy := func(t *testing.T, c oidc.Claims) []evidence.Signed {
		return w.sign(t, c, release(t, c)...)
	}
	everyLink := func(code string) map[string]string {
		return but("subject: fail "+code, "signature: fail "+code, "sbom: fail "+code, "scan: fail "+code, "provenance: fail "+code, "source: unknown no-provenance")
	}
	tests := []struct {
		name  string
		forge func(t *testing.T) []evidence.Signed
		want  map[string]string
	}{
		{"nothing", func(*testing.T) []evidence.Signed { return nil }, map[string]string{
			"subject": "fail no-evidence", "signature": "fail no-signature", "sbom": "fail no-sbom", "scan": "fail no-scan",
			"provenance": "fail no-provenance", "source": "unknown no-provenance",
		}},
		{"unsigned, all else attested", func(*testing.T) []evidence.Signed { return replace(signature) }, but("signature: fail no-signature")},
		{"SBOM attestation only", func(*testing.T) []evidence.Signed { return whole[sbomAt : sbomAt+1] }, map[string]string{
			"subject": "pass", "signature": "fail no-signature", "sbom": "pass", "scan": "fail no-scan",
			"provenance": "fail no-provenance", "source": "unknown no-provenance",
		}},
		{"no SBOM", func(*testing.T) []evidence.Signed { return replace(sbomAt) }, but("sbom: fail no-sbom")},
		{"no scan", func(*testing.T) []evidence.Signed { return replace(scanAt) }, but("scan: fail no-scan")},
		{"no provenance", func(*testing.T) []evidence.Signed { return replace(provenanceAt) }, but("provenance: fail no-provenance", "source: unknown no-provenance")},

		{"other repository", func(t *testing.T) []evidence.Signed { return everythingBy(t, workflowOf("evil/app", workflow, ref)) }, everyLink("identity-mismatch")},
		{"look-alike repository, longer", func(t *testing.T) []evidence.Signed {
			return everythingBy(t, workflowOf("acme/app-evil", workflow, ref))
		}, everyLink("identity-mismatch")},
		{"look-alike owner", func(t *testing.T) []evidence.Signed { return everythingBy(t, workflowOf("xacme/app", workflow, ref)) }, everyLink("identity-mismatch")},
		{"repository in other case", func(t *testing.T) []evidence.Signed { return everythingBy(t, workflowOf("Acme/App", workflow, ref)) }, everyLink("identity-mismatch")},
		{"other workflow", func(t *testing.T) []evidence.Signed {
			return everythingBy(t, workflowOf(repo, ".github/workflows/test.yml", ref))
		}, everyLink("identity-mismatch")},
		{"workflow that only looks like a path", func(t *testing.T) []evidence.Signed {
			return everythingBy(t, workflowOf(repo, ".github/workflowsXrelease.yml", ref))
		}, everyLink("identity-mismatch")},
		{"other branch", func(t *testing.T) []evidence.Signed {
			return everythingBy(t, workflowOf(repo, workflow, "refs/heads/evil"))
		}, everyLink("identity-mismatch")},
		{"branch that begins alike", func(t *testing.T) []evidence.Signed {
			return everythingBy(t, workflowOf(repo, workflow, "refs/heads/main2"))
		}, everyLink("identity-mismatch")},
		{"our workflow called by another repository", func(t *testing.T) []evidence.Signed {
			c := workflowOf("evil/app", ".github/workflows/evil.yml", ref)
			c.JobWorkflowRef = claims().JobWorkflowRef
			return everythingBy(t, c)
		}, everyLink("identity-mismatch")},
		{"our workflow at our ref, source at another", func(t *testing.T) []evidence.Signed {
			c := workflowOf(repo, workflow, "refs/pull/7/merge")
			c.JobWorkflowRef = claims().JobWorkflowRef
			return everythingBy(t, c)
		}, everyLink("identity-mismatch")},
		{"a person", func(t *testing.T) []evidence.Signed { return everythingBy(t, person()) }, everyLink("identity-mismatch")},

		{"evidence of another digest", func(t *testing.T) []evidence.Signed {
			return replace(signature, signed(t, claims(), evidence.Signature, `{}`, stranger))
		}, but("signature: fail other-subject")},
		{"everything of another digest", func(t *testing.T) []evidence.Signed {
			var all []evidence.Statement
			for _, s := range release(t, claims()) {
				all = append(all, statement(t, s.PredicateType, string(s.Predicate), stranger))
			}
			return w.sign(t, claims(), all...)
		}, everyLink("other-subject")},
		{"an SBOM that calls itself a signature", func(t *testing.T) []evidence.Signed {
			lie := whole[sbomAt]
			lie.PredicateType = evidence.Signature
			return replace(signature, lie)
		}, but("signature: fail no-signature")},

		{"SBOM without content", func(t *testing.T) []evidence.Signed {
			return replace(sbomAt, signed(t, claims(), evidence.CycloneDX, `{"x":1}`))
		}, but("sbom: fail sbom-unreadable")},
		{"SBOM of nothing", func(t *testing.T) []evidence.Signed {
			return replace(sbomAt, signed(t, claims(), evidence.CycloneDX, bom(subject, 0)))
		}, but("sbom: fail sbom-empty")},
		{"SBOM of another image", func(t *testing.T) []evidence.Signed {
			return replace(sbomAt, signed(t, claims(), evidence.CycloneDX, bom(stranger, 3)))
		}, but("sbom: fail sbom-other-subject")},
		{"SBOM that is SPDX", func(t *testing.T) []evidence.Signed {
			return replace(sbomAt, signed(t, claims(), evidence.CycloneDX, `{"spdxVersion":"SPDX-2.3"}`))
		}, but("sbom: fail sbom-unreadable")},
		{"scan without content", func(t *testing.T) []evidence.Signed {
			return replace(scanAt, signed(t, claims(), evidence.Scan, `{}`))
		}, but("scan: fail scan-unreadable")},
		{"scan of another kind", func(t *testing.T) []evidence.Signed {
			return replace(scanAt, signed(t, claims(), evidence.Scan, `{"findings":7}`))
		}, but("scan: fail scan-unreadable")},
		{"scan of another image", func(t *testing.T) []evidence.Signed {
			return replace(scanAt, signed(t, claims(), evidence.Scan, scanned(t, func(r *finding.Report) { r.Subject = stranger })))
		}, but("scan: fail scan-other-subject")},
		{"scan without database", func(t *testing.T) []evidence.Signed {
			return replace(scanAt, signed(t, claims(), evidence.Scan, scanned(t, func(r *finding.Report) { r.Database = finding.Database{} })))
		}, but("scan: fail scan-without-database")},
		{"scan with a database without date", func(t *testing.T) []evidence.Signed {
			return replace(scanAt, signed(t, claims(), evidence.Scan, scanned(t, func(r *finding.Report) { r.Database.Built = time.Time{} })))
		}, but("scan: fail scan-without-database")},

		{"provenance without content", func(t *testing.T) []evidence.Signed {
			return replace(provenanceAt, signed(t, claims(), evidence.Provenance, `{"hello":1}`))
		}, but("provenance: fail provenance-unreadable", "source: unknown provenance-unreadable")},
		{"provenance of another build type", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, "https://actions.github.io/buildtypes/workflow/v1", "https://evil.test/v1")
		}, but("provenance: fail build-type-unknown", "source: unknown build-type-unknown")},
		{"provenance v0.2 of a v1 build type", func(t *testing.T) []evidence.Signed {
			return replace(provenanceAt, signed(t, claims(), evidence.ProvenanceV02, `{"builder":{"id":"x"},"buildType":"https://actions.github.io/buildtypes/workflow/v1"}`))
		}, but("provenance: fail build-type-unknown", "source: unknown build-type-unknown")},
		{"unknown external parameter", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"externalParameters":{`, `"externalParameters":{"inputs":{"skip-tests":"true"},`)
		}, but("provenance: fail unknown-parameters")},
		{"provenance with another commit", func(t *testing.T) []evidence.Signed { return provenanceOf(t, commit, other) }, but("source: fail commit-mismatch")},
		{"provenance without commit", func(t *testing.T) []evidence.Signed { return provenanceOf(t, "gitCommit", "sha1") }, but("source: fail commit-mismatch")},
		{"provenance with another repository", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"repository":"https://github.com/acme/app"`, `"repository":"https://github.com/evil/app"`, "git+https://github.com/acme/app@", "git+https://github.com/evil/app@")
		}, but("source: fail repository-mismatch")},
		{"provenance with another ref", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, "git+https://github.com/acme/app@refs/heads/main", "git+https://github.com/acme/app@refs/heads/evil")
		}, but("source: fail ref-mismatch")},
		{"provenance with another workflow", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"path":".github/workflows/release.yml"`, `"path":".github/workflows/evil.yml"`)
		}, but("source: fail workflow-mismatch")},
		{"provenance with another workflow ref", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"ref":"refs/heads/main"`, `"ref":"refs/heads/evil"`)
		}, but("source: fail workflow-mismatch")},
		{"provenance without workflow path", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"path":".github/workflows/release.yml"`, `"path":""`)
		}, but("source: fail workflow-mismatch")},
		{"provenance with another builder", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"id":"https://github.com/acme/app/`, `"id":"https://github.com/evil/app/`)
		}, but("source: fail builder-mismatch")},
		{"provenance with a hosted runner as builder", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"id":"https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"`, `"id":"https://github.com/actions/runner/github-hosted"`)
		}, but("source: fail builder-mismatch")},
		{"provenance with another run", func(t *testing.T) []evidence.Signed { return provenanceOf(t, "/attempts/1", "/attempts/2") }, but("source: fail run-mismatch")},
		{"provenance without run", func(t *testing.T) []evidence.Signed { return provenanceOf(t, "invocationId", "invoked") }, but("source: fail run-mismatch")},
		{"provenance with another event", func(t *testing.T) []evidence.Signed { return provenanceOf(t, `"push"`, `"pull_request"`) }, but("source: fail event-mismatch")},
		{"provenance with another runner", func(t *testing.T) []evidence.Signed { return provenanceOf(t, "self-hosted", "github-hosted") }, but("source: fail runner-mismatch")},
		{"provenance with another repository id", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"repository_id":"`, `"repository_id":"9`)
		}, but("source: fail id-mismatch")},
		{"provenance with another owner id", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"repository_owner_id":"`, `"repository_owner_id":"9`)
		}, but("source: fail id-mismatch")},
		{"local provenance under a workflow's certificate", func(t *testing.T) []evidence.Signed {
			return replace(provenanceAt, signed(t, claims(), evidence.Provenance, prov(t, person(), nil)))
		}, but("source: fail builder-mismatch")},
		{"a true provenance beside one that lies", func(t *testing.T) []evidence.Signed {
			return append(slices.Clone(whole), signed(t, claims(), evidence.Provenance, prov(t, claims(), nil, commit, other)))
		}, but("source: fail commit-mismatch")},

		{"bundle cut off", func(*testing.T) []evidence.Signed {
			cut := whole[sbomAt]
			cut.Bundle = cut.Bundle[:len(cut.Bundle)/2]
			return replace(sbomAt, cut)
		}, but("sbom: fail bundle-unreadable")},
		{"empty bundle", func(*testing.T) []evidence.Signed {
			return replace(signature, evidence.Signed{PredicateType: evidence.Signature})
		}, but("signature: fail bundle-unreadable")},
		{"50 MB of junk", func(*testing.T) []evidence.Signed {
			return replace(signature, evidence.Signed{PredicateType: evidence.Signature, Bundle: bytes.Repeat([]byte("A"), 50<<20)})
		}, but("signature: fail bundle-unreadable")},
		{"more junk than allowed", func(*testing.T) []evidence.Signed {
			return replace(signature, evidence.Signed{PredicateType: evidence.Signature, Bundle: make([]byte, evidence.MaxBundle+1)})
		}, but("signature: fail bundle-unreadable")},
		{"another kind of payload", func(t *testing.T) []evidence.Signed {
			return replace(signature, edit(t, whole[signature], func(b map[string]any) {
				at(b, "dsseEnvelope").(map[string]any)["payloadType"] = "text/plain"
			}))
		}, but("signature: fail bundle-unreadable")},
		{"payload with a key twice", func(t *testing.T) []evidence.Signed {
			return replace(scanAt, withPayload(t, whole[scanAt], func(p string) string {
				return strings.Replace(p, `"subject":`, `"subject":[],"subject":`, 1)
			}))
		}, but("scan: fail bundle-unreadable")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := verify.Judge(subject, tt.forge(t), w.options())
			if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
			}
			complete(t, v)
		})
	}
}

// withPayload changes the payload of a bundle and leaves all else.
func withPayload(t testing.TB, s evidence.Signed, change func(string) string) evidence.Signed {
	return edit(t, s, func(b map[string]any) {
		envelope := at(b, "dsseEnvelope").(map[string]any)
		payload, err := base64.StdEncoding.DecodeString(envelope["payload"].(string))
		if err != nil {
			t.Fatal(err)
		}
		changed := change(string(payload))
		if changed == string(payload) {
			t.Fatal("the payload did not change")
		}
		envelope["payload"] = base64.StdEncoding.EncodeToString([]byte(changed))
	})
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

// TestTampering changes what proves a bundle rather than what it says.
func TestTampering(t *testing.T) {
	w := newWorld(t, nil)
	whole := w.sign(t, claims(), release(t, claims())...)
	var donor map[string]any
	if err := json.Unmarshal(whole[scanAt].Bundle, &donor); err != nil {
		t.Fatal(err)
	}
	material := func(b map[string]any) map[string]any { return at(b, "verificationMaterial").(map[string]any) }
	tests := []struct {
		name, code string
		change     func(b map[string]any)
	}{
		{"signature of another", "signature-invalid", func(b map[string]any) {
			at(b, "dsseEnvelope").(map[string]any)["signatures"] = at(donor, "dsseEnvelope", "signatures")
		}},
		{"no signature", "signature-invalid", func(b map[string]any) {
			at(b, "dsseEnvelope").(map[string]any)["signatures"] = []any{}
		}},
		{"two signatures", "signature-invalid", func(b map[string]any) {
			one := at(b, "dsseEnvelope", "signatures", 0)
			at(b, "dsseEnvelope").(map[string]any)["signatures"] = []any{one, one}
		}},
		{"no timestamp", "no-timestamp", func(b map[string]any) { delete(material(b), "timestampVerificationData") }},
		{"timestamp of another", "timestamp-invalid", func(b map[string]any) {
			material(b)["timestampVerificationData"] = at(donor, "verificationMaterial", "timestampVerificationData")
		}},
		{"no log entry", "no-log-entry", func(b map[string]any) { delete(material(b), "tlogEntries") }},
		{"log entry of another", "log-entry-invalid", func(b map[string]any) {
			material(b)["tlogEntries"] = at(donor, "verificationMaterial", "tlogEntries")
		}},
		{"log entry without proof", "bundle-unreadable", func(b map[string]any) {
			delete(at(b, "verificationMaterial", "tlogEntries", 0).(map[string]any), "inclusionProof")
		}},
		{"log entry of an unknown log", "log-entry-invalid", func(b map[string]any) {
			at(b, "verificationMaterial", "tlogEntries", 0, "logId").(map[string]any)["keyId"] = "AAAA"
		}},
		{"signed with a key", "not-keyless", func(b map[string]any) {
			delete(material(b), "certificate")
			material(b)["publicKey"] = map[string]any{"hint": "k"}
		}},
		{"certificate that is none", "bundle-unreadable", func(b map[string]any) {
			at(b, "verificationMaterial", "certificate").(map[string]any)["rawBytes"] = "AAAA"
		}},
		{"no certificate", "bundle-unreadable", func(b map[string]any) { delete(material(b), "certificate") }},
		{"message instead of statement", "bundle-unreadable", func(b map[string]any) {
			delete(b, "dsseEnvelope")
			b["messageSignature"] = map[string]any{"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": "AAAA"}, "signature": "AAAA"}
		}},
		{"bundle of a version to come", "bundle-unreadable", func(b map[string]any) {
			b["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.9+json"
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			forged := slices.Clone(whole)
			forged[signature] = edit(t, whole[signature], tt.change)
			v := verify.Judge(subject, forged, w.options())
			if diff := cmp.Diff(but("signature: fail "+tt.code), outcomes(v)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
			}
			complete(t, v)
		})
	}
	t.Run("payload of another commit", func(t *testing.T) {
		forged := slices.Clone(whole)
		forged[provenanceAt] = withPayload(t, whole[provenanceAt], func(p string) string { return strings.ReplaceAll(p, commit, other) })
		v := verify.Judge(subject, forged, w.options())
		if diff := cmp.Diff(but("provenance: fail signature-invalid", "source: unknown no-provenance"), outcomes(v)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("payload moved to our digest", func(t *testing.T) {
		forged := slices.Clone(whole)
		foreign := w.sign(t, claims(), statement(t, evidence.Signature, `{}`, stranger))[0]
		forged[signature] = withPayload(t, foreign, func(p string) string { return strings.ReplaceAll(p, stranger.Hex, subject.Hex) })
		v := verify.Judge(subject, forged, w.options())
		if diff := cmp.Diff(but("signature: fail signature-invalid"), outcomes(v)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestTrustRoots judges the same good release by roots that do not fit it.
func TestTrustRoots(t *testing.T) {
	w, alien := newWorld(t, nil), newWorld(t, nil)
	whole := w.sign(t, claims(), release(t, claims())...)
	tests := []struct {
		name     string
		material root.TrustedMaterial
		want     string
	}{
		{"another instance", alien.anchor.Material, "fail log-entry-invalid"},
		{"another authority", mixed{w.anchor.Material, alien.anchor.Material, "authority"}, "fail certificate-untrusted"},
		{"another certificate log", mixed{w.anchor.Material, alien.anchor.Material, "ctlog"}, "fail no-sct"},
		{"another timestamp authority", mixed{w.anchor.Material, alien.anchor.Material, "tsa"}, "fail timestamp-invalid"},
		{"another log", mixed{w.anchor.Material, alien.anchor.Material, "rekor"}, "fail log-entry-invalid"},
		{"none", nil, "fail no-trust-root"},
		{"no certificate log", mixed{w.anchor.Material, nil, "ctlog"}, "pass"},
		{"no log", mixed{w.anchor.Material, nil, "rekor"}, "pass"},
		{"no timestamp authority", mixed{w.anchor.Material, nil, "tsa"}, "fail timestamp-invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := w.options()
			o.Anchor.Material = tt.material
			v := verify.Judge(subject, whole, o)
			if got := outcomes(v)["signature"]; got != tt.want {
				t.Errorf("signature: %s, want %s\n%s", got, tt.want, explain(v))
			}
			if v.Passed() != (tt.want == "pass") {
				t.Errorf("passed: %v", v.Passed())
			}
			complete(t, v)
		})
	}
	t.Run("what is not demanded is told", func(t *testing.T) {
		o := w.options()
		o.Anchor.Material = mixed{w.anchor.Material, nil, "ctlog"}
		c, _ := verify.Judge(subject, whole, o).Find("signature")
		if !slices.Contains(c.Details, verdict.Detail{Name: "not demanded", Value: "the trust root lists no certificate log"}) {
			t.Errorf("details: %v", c.Details)
		}
	})
}

// mixed is a trust root with one part of another.
type mixed struct {
	root.TrustedMaterial
	other root.TrustedMaterial
	part  string
}

func (m mixed) FulcioCertificateAuthorities() []root.CertificateAuthority {
	if m.part == "authority" {
		return m.other.FulcioCertificateAuthorities()
	}
	return m.TrustedMaterial.FulcioCertificateAuthorities()
}

func (m mixed) CTLogs() map[string]*root.TransparencyLog {
	switch {
	case m.part == "ctlog" && m.other == nil:
		return nil
	case m.part == "ctlog":
		return m.other.CTLogs()
	}
	return m.TrustedMaterial.CTLogs()
}

func (m mixed) RekorLogs() map[string]*root.TransparencyLog {
	switch {
	case m.part == "rekor" && m.other == nil:
		return nil
	case m.part == "rekor":
		return m.other.RekorLogs()
	}
	return m.TrustedMaterial.RekorLogs()
}

func (m mixed) TimestampingAuthorities() []root.TimestampingAuthority {
	switch {
	case m.part == "tsa" && m.other == nil:
		return nil
	case m.part == "tsa":
		return m.other.TimestampingAuthorities()
	}
	return m.TrustedMaterial.TimestampingAuthorities()
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
		"ignored: one by the policy's identity: reading SBOM",
		"ignored: one by the policy's identity: the scan report cannot be read: scan report has no subject",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told in:\n%s", want, told)
		}
	}
	complete(t, v)
}

func TestIdentities(t *testing.T) {
	w := newWorld(t, nil)
	reusable := claims()
	reusable.JobWorkflowRef = "acme/build/.github/workflows/image.yml@refs/tags/v3"
	signedBy := func(t *testing.T, c oidc.Claims) []evidence.Signed { return w.sign(t, c, release(t, c)...) }
	tests := []struct {
		name     string
		claims   oidc.Claims
		identity policy.Identity
		want     string
	}{
		{"person", person(), policy.Identity{Issuer: localtrust.Issuer, Subject: localtrust.Identity}, "pass"},
		{"person with a dot for any letter", oidc.Claims{Email: "a@acmeXtest"}, policy.Identity{Issuer: localtrust.Issuer, Subject: "a@acme.test"}, "fail identity-mismatch"},
		{"other issuer", person(), policy.Identity{Issuer: "https://accounts.test", Subject: localtrust.Identity}, "fail issuer-mismatch"},
		{"issuer that begins alike", person(), policy.Identity{Issuer: strings.TrimSuffix(localtrust.Issuer, "t"), Subject: localtrust.Identity}, "fail issuer-mismatch"},
		{"GitHub's issuer asked", claims(), policy.Identity{Issuer: oidc.GitHubIssuer, Repository: repo, Workflow: workflow, Ref: ref}, "fail issuer-mismatch"},
		{"no issuer", person(), policy.Identity{Subject: localtrust.Identity}, "fail issuer-mismatch"},
		{"nobody", person(), policy.Identity{Issuer: localtrust.Issuer}, "fail identity-mismatch"},
		{"any ref", claims(), policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: workflow}, "pass"},
		{"refs that begin alike", claims(), policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: workflow, Ref: "refs/heads/*"}, "pass"},
		{"tags only", claims(), policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: workflow, Ref: "refs/tags/*"}, "fail identity-mismatch"},
		{"reusable workflow", reusable, policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: "acme/build/.github/workflows/image.yml@refs/tags/v3", Ref: ref}, "pass"},
		{"reusable workflow, source at another ref", reusable, policy.Identity{Issuer: localtrust.Issuer, Repository: repo, Workflow: "acme/build/.github/workflows/image.yml@refs/tags/v3", Ref: "refs/heads/prod"}, "fail identity-mismatch"},
		{"reusable workflow for another source", reusable, policy.Identity{Issuer: localtrust.Issuer, Repository: "acme/other", Workflow: "acme/build/.github/workflows/image.yml@refs/tags/v3"}, "fail identity-mismatch"},
		{"subject and repository", claims(), policy.Identity{Issuer: localtrust.Issuer, Subject: "https://github.com/" + claims().JobWorkflowRef, Repository: "acme/other"}, "fail identity-mismatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := w.options()
			o.Policy.Identity = tt.identity
			v := verify.Judge(subject, signedBy(t, tt.claims), o)
			if got := outcomes(v)["signature"]; got != tt.want || v.Passed() != (tt.want == "pass") {
				t.Errorf("signature: %s, passed %v, want %s\n%s", got, v.Passed(), tt.want, explain(v))
			}
			complete(t, v)
		})
	}
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
