package verify_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

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
		{"SBOM of this image and of another", func(t *testing.T) []evidence.Signed {
			both := strings.Replace(bom(stranger, 3), `"name":"app"`, `"name":"app","purl":"pkg:oci/app@`+strings.Replace(subject.String(), ":", "%3A", 1)+`"`, 1)
			return replace(sbomAt, signed(t, claims(), evidence.CycloneDX, both))
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
		{"scan with a database without schema", func(t *testing.T) []evidence.Signed {
			return replace(scanAt, signed(t, claims(), evidence.Scan, scanned(t, func(r *finding.Report) { r.Database.Schema = "" })))
		}, but("scan: fail scan-without-database")},
		{"scan without scanner", func(t *testing.T) []evidence.Signed {
			return replace(scanAt, signed(t, claims(), evidence.Scan, scanned(t, func(r *finding.Report) { r.Scanner = "" })))
		}, but("scan: fail scan-unreadable")},
		{"scan with a database without date", func(t *testing.T) []evidence.Signed {
			return replace(scanAt, signed(t, claims(), evidence.Scan, scanned(t, func(r *finding.Report) { r.Database.Built = time.Time{} })))
		}, but("scan: fail scan-without-database")},

		{"provenance without content", func(t *testing.T) []evidence.Signed {
			return replace(provenanceAt, signed(t, claims(), evidence.Provenance, `{"hello":1}`))
		}, but("provenance: fail provenance-unreadable", "source: unknown provenance-unreadable")},
		{"provenance of another build type", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, "https://actions.github.io/buildtypes/workflow/v1", "https://evil.test/v1")
		}, but("provenance: fail build-type-unknown", "source: unknown build-type-unknown")},
		{"provenance v1 of a v0.2 build type", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, "https://actions.github.io/buildtypes/workflow/v1", "https://github.com/slsa-framework/slsa-github-generator/container@v1")
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
		{"provenance without ref", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, "git+https://github.com/acme/app@refs/heads/main", "git+https://github.com/acme/app")
		}, but("source: fail ref-mismatch")},
		{"provenance without repository", func(t *testing.T) []evidence.Signed {
			return provenanceOf(t, `"repository":"https://github.com/acme/app"`, `"repository":""`, "git+https://github.com/acme/app@refs/heads/main", "")
		}, but("source: fail repository-mismatch")},
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
