package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	fulcio "github.com/sigstore/fulcio/pkg/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstoresign "github.com/sigstore/sigstore-go/pkg/sign"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// npm is the digest of the package sigstore 2.0.0.
var npm = v1.Hash{Algorithm: "sha512", Hex: "46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"}

// publicRelease gives its provenance, and what to judge it by.
func publicRelease(t testing.TB) (evidence.Signed, verify.Options) {
	t.Helper()
	raw, err := os.ReadFile("testdata/public/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	material, err := root.NewTrustedRootFromPath("testdata/public/trusted-root.json")
	if err != nil {
		t.Fatal(err)
	}
	return evidence.Signed{PredicateType: evidence.Provenance, Bundle: raw}, verify.Options{
		Anchor: trust.Anchor{Material: material},
		Policy: policy.Policy{
			Identity: policy.Identity{Issuer: oidc.GitHubIssuer, Repository: "sigstore/sigstore-js", Workflow: ".github/workflows/release.yml", Ref: "refs/heads/main"},
			Evidence: []string{policy.Provenance},
		},
	}
}

// TestPublicInstance judges a true attestation of 2023, made on GitHub and
// signed by Sigstore's public instance, by that instance's trusted root. It is
// an npm package's, so its subject is a SHA-512.
func TestPublicInstance(t *testing.T) {
	genuine, o := publicRelease(t)
	for _, tt := range []struct {
		name     string
		signed   evidence.Signed
		identity func(*policy.Identity)
		want     map[string]string
	}{
		{"as it is", genuine, nil, map[string]string{"subject": "pass", "provenance": "pass", "source": "pass"}},
		{"another repository asked", genuine, func(i *policy.Identity) { i.Repository = "sigstore/cosign" }, map[string]string{"subject": "fail identity-mismatch", "provenance": "fail identity-mismatch", "source": "unknown no-provenance"}},
		{"another commit in it", withPayload(t, genuine, func(p string) string {
			return strings.Replace(p, "f0b49a04e5a62250e0f60fb128004a73110fe311", other, 1)
		}), nil, map[string]string{"subject": "fail signature-invalid", "provenance": "fail signature-invalid", "source": "unknown no-provenance"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := o
			if tt.identity != nil {
				tt.identity(&o.Policy.Identity)
			}
			v := verify.Judge(npm, []evidence.Signed{tt.signed}, o)
			if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
			}
			complete(t, v)
		})
	}
}

// authority is a certificate authority of a given organisation that keeps no
// log, as GitHub's own for private repositories.
type authority struct {
	root.TrustedMaterial
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, organization string, rest root.TrustedMaterial) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{organization}, CommonName: "Fulcio"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return &authority{rest, certify(t, template, template, key.Public(), key), key}
}

func certify(t *testing.T, template, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *authority) FulcioCertificateAuthorities() []root.CertificateAuthority {
	return append(a.TrustedMaterial.FulcioCertificateAuthorities(), &root.FulcioCertificateAuthority{
		Root: a.cert, ValidityPeriodStart: a.cert.NotBefore, ValidityPeriodEnd: a.cert.NotAfter,
	})
}

// attest makes a bundle as GitHub's own instance does: a certificate of the
// authority and a timestamp, nothing else.
func (a *authority) attest(t *testing.T, w *world, c oidc.Claims, s evidence.Statement) evidence.Signed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const github = "https://github.com/"
	extensions, err := fulcio.Extensions{
		Issuer: c.Issuer, BuildSignerURI: github + c.JobWorkflowRef, BuildSignerDigest: c.JobWorkflowSHA,
		RunnerEnvironment: c.RunnerEnvironment, SourceRepositoryURI: github + c.Repository, SourceRepositoryDigest: c.SHA,
		SourceRepositoryRef: c.Ref, SourceRepositoryIdentifier: c.RepositoryID, SourceRepositoryOwnerIdentifier: c.RepositoryOwnerID,
		BuildConfigURI: github + c.WorkflowRef, BuildTrigger: c.EventName,
		RunInvocationURI: github + c.Repository + "/actions/runs/" + c.RunID + "/attempts/" + c.RunAttempt,
	}.Render()
	if err != nil {
		t.Fatal(err)
	}
	if c.Subject == anonymous {
		extensions = slices.DeleteFunc(extensions, func(e pkix.Extension) bool {
			//lint:ignore SA1019 certificates still carry the older extension beside the newer
			return e.Id.Equal(fulcio.OIDIssuer) || e.Id.Equal(fulcio.OIDIssuerV2)
		})
	}
	leaf := certify(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(10 * time.Minute),
		URIs:        []*url.URL{{Scheme: "https", Host: "github.com", Path: "/" + c.JobWorkflowRef}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, ExtraExtensions: extensions,
	}, a.cert, key.Public(), a.key)

	payload, err := s.Payload()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(dsse.PAE(evidence.PayloadType, payload))
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	services := w.Services()
	tsa := sigstoresign.NewTimestampAuthority(&sigstoresign.TimestampAuthorityOptions{URL: services.TSA[0].URL, Transport: services.Transport})
	stamp, err := tsa.GetTimestamp(t.Context(), sig)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{
		"mediaType": evidence.BundleMediaType,
		"verificationMaterial": map[string]any{
			"certificate":               map[string]any{"rawBytes": leaf.Raw},
			"timestampVerificationData": map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": stamp}}},
		},
		"dsseEnvelope": map[string]any{"payload": payload, "payloadType": evidence.PayloadType, "signatures": []any{map[string]any{"sig": sig}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return evidence.Signed{PredicateType: s.PredicateType, Bundle: raw}
}

// anonymous is the subject of claims whose certificate shall name no issuer.
const anonymous = "nobody"

func TestNoIssuer(t *testing.T) {
	w := newWorld(t, nil)
	a := newAuthority(t, "GitHub, Inc.", w.anchor.Material)
	c := claims()
	c.Issuer, c.Subject = oidc.GitHubIssuer, anonymous
	o := w.options()
	o.Anchor.Material = a
	o.Policy.Evidence = []string{policy.Provenance}
	for _, issuer := range []string{"", oidc.GitHubIssuer} {
		o.Policy.Identity.Issuer = issuer
		v := verify.Judge(subject, []evidence.Signed{a.attest(t, w, c, statement(t, evidence.Provenance, prov(t, c, nil)))}, o)
		if got := outcomes(v)["provenance"]; got != "fail issuer-mismatch" {
			t.Errorf("issuer %q asked: %s\n%s", issuer, got, explain(v))
		}
	}
}

func TestGitHubsOwnAuthority(t *testing.T) {
	w := newWorld(t, nil)
	github := newAuthority(t, "GitHub, Inc.", w.anchor.Material)
	likeGitHub := newAuthority(t, "GitHub, Inc. ", w.anchor.Material)
	c := claims()
	c.Issuer, c.RunnerEnvironment = oidc.GitHubIssuer, "github-hosted"
	s := statement(t, evidence.Provenance, prov(t, c, nil))
	first := statement(t, evidence.Provenance, prov(t, c, nil, "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main", "https://github.com/actions/runner/github-hosted"))
	genuine := github.attest(t, w, c, s)
	pass := map[string]string{"subject": "pass", "provenance": "pass", "source": "pass"}
	refused := func(code string) map[string]string {
		return map[string]string{"subject": "fail " + code, "provenance": "fail " + code, "source": "unknown no-provenance"}
	}
	for _, tt := range []struct {
		name     string
		signed   evidence.Signed
		material root.TrustedMaterial
		want     map[string]string
	}{
		{"genuine", genuine, github, pass},
		{"of the first form, with the runner as builder", github.attest(t, w, c, first), github, pass},
		{"without timestamp", edit(t, genuine, func(b map[string]any) {
			delete(b["verificationMaterial"].(map[string]any), "timestampVerificationData")
		}), github, refused("no-timestamp")},
		{"authority not in the trust root", genuine, w.anchor.Material, refused("certificate-untrusted")},
		{"authority with another name, without log", likeGitHub.attest(t, w, c, s), likeGitHub, refused("no-log-entry")},
		{"tampered", withPayload(t, genuine, func(p string) string { return strings.Replace(p, commit, other, 1) }), github, refused("signature-invalid")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := w.options()
			o.Anchor.Material = tt.material
			o.Policy.Identity.Issuer = oidc.GitHubIssuer
			o.Policy.Evidence = []string{policy.Provenance}
			v := verify.Judge(subject, []evidence.Signed{tt.signed}, o)
			if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
			}
			complete(t, v)
		})
	}
}

// TestGenerator judges SLSA v0.2 as slsa-github-generator makes it.
func TestGenerator(t *testing.T) {
	w := newWorld(t, nil)
	c := claims()
	c.JobWorkflowRef = "slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.1.0"
	o := w.options()
	o.Policy.Identity.Workflow = c.JobWorkflowRef
	o.Policy.Evidence = []string{policy.Provenance}
	source := map[string]any{"uri": "git+https://github.com/acme/app@" + ref, "digest": map[string]any{"sha1": commit}}
	made, err := json.Marshal(map[string]any{
		"builder":   map[string]any{"id": "https://github.com/" + c.JobWorkflowRef},
		"buildType": "https://github.com/slsa-framework/slsa-github-generator/container@v1",
		"invocation": map[string]any{
			"configSource": map[string]any{"uri": source["uri"], "digest": source["digest"], "entryPoint": workflow},
			"parameters":   map[string]any{},
			"environment": map[string]any{
				"github_event_name": c.EventName, "github_ref": ref, "github_sha1": commit, "github_run_id": c.RunID,
				"github_run_attempt": c.RunAttempt, "github_repository_id": c.RepositoryID, "github_repository_owner_id": c.RepositoryOwnerID,
			},
		},
		"materials": []any{source},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		changes []string
		want    map[string]string
	}{
		{"as it is", nil, map[string]string{"subject": "pass", "provenance": "pass", "source": "pass"}},
		{"another commit", []string{commit, other}, map[string]string{"subject": "pass", "provenance": "pass", "source": "fail commit-mismatch"}},
		{"another builder", []string{"generator_container_slsa3", "other"}, map[string]string{"subject": "pass", "provenance": "pass", "source": "fail builder-mismatch"}},
		{"parameters", []string{`"parameters":{}`, `"parameters":{"inputs":{"x":1}}`}, map[string]string{"subject": "pass", "provenance": "fail unknown-parameters", "source": "pass"}},
		{"no run", []string{`"github_run_id"`, `"run"`}, map[string]string{"subject": "pass", "provenance": "pass", "source": "fail run-mismatch"}},
		{"build type of v1", []string{"https://github.com/slsa-framework/slsa-github-generator/container@v1", "https://hallmark.sh/buildtypes/local/v1"}, map[string]string{"subject": "pass", "provenance": "fail build-type-unknown", "source": "unknown build-type-unknown"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			predicate := swap(t, string(made), tt.changes...)
			v := verify.Judge(subject, w.sign(t, c, statement(t, evidence.ProvenanceV02, predicate)), o)
			if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
			}
			complete(t, v)
		})
	}
}

// FuzzBundle changes a genuine bundle: whatever still passes must say what the
// genuine one says.
func FuzzBundle(f *testing.F) {
	genuine, o := publicRelease(f)
	want, err := genuine.Statement()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(genuine.Bundle)
	f.Add([]byte(strings.Replace(string(genuine.Bundle), `"tlogEntries"`, `"tlogEntries":[],"x"`, 1)))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{}},"dsseEnvelope":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		changed := evidence.Signed{PredicateType: evidence.Provenance, Bundle: raw}
		v := verify.Judge(npm, []evidence.Signed{changed}, o)
		complete(t, v)
		if !v.Passed() {
			return
		}
		got, err := changed.Statement()
		if err != nil {
			t.Fatalf("passed, and reads as %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("passed with another statement:\n%s", diff)
		}
	})
}
