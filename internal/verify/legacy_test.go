package verify_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

const oldIssuer = "https://accounts.test"

// oldWorld is a Sigstore with a log of version 1, which promises entries as
// cosign 2 stored them. Its certificates have no certificate timestamp.
type oldWorld struct{ *ca.VirtualSigstore }

func newOldWorld(t *testing.T) oldWorld {
	t.Helper()
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	return oldWorld{v}
}

func (o oldWorld) options() verify.Options {
	return verify.Options{
		Anchor: trust.Anchor{Material: mixed{o.VirtualSigstore, nil, "ctlog"}},
		Policy: policy.Policy{Identity: policy.Identity{Issuer: oldIssuer, Subject: "ada@acme.test"}},
	}
}

// annotations gives what cosign 2 writes beside a signed payload.
func (o oldWorld) annotations(t *testing.T, entity sigstore.SignedEntity) map[string]string {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	content, err := entity.VerificationContent()
	check(err)
	signature, err := entity.SignatureContent()
	check(err)
	entries, err := entity.TlogEntries()
	check(err)
	stamps, err := entity.Timestamps()
	check(err)
	logged := entries[0].TransparencyLogEntry()
	payload := tlog.RekorPayload{
		Body:           base64.StdEncoding.EncodeToString(logged.GetCanonicalizedBody()),
		IntegratedTime: logged.GetIntegratedTime(), LogIndex: logged.GetLogIndex(), LogID: hex.EncodeToString(logged.GetLogId().GetKeyId()),
	}
	promise, err := o.RekorSignPayload(payload)
	check(err)
	promised, err := json.Marshal(map[string]any{"SignedEntryTimestamp": promise, "Payload": payload})
	check(err)
	stamped, err := json.Marshal(map[string]any{"SignedRFC3161Timestamp": stamps[0]})
	check(err)
	return map[string]string{
		"dev.cosignproject.cosign/signature":     base64.StdEncoding.EncodeToString(signature.Signature()),
		"dev.sigstore.cosign/certificate":        string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content.Certificate().Raw})),
		"dev.sigstore.cosign/bundle":             string(promised),
		"dev.sigstore.cosign/rfc3161timestamp":   string(stamped),
		"dev.sigstore.cosign/chain":              "",
		"predicateType":                          "",
		"io.hallmark.test/an-annotation-unknown": "x",
	}
}

// put stores a payload under a tag of cosign 2.
func (y *yard) put(t *testing.T, image name.Digest, ending string, mediaType types.MediaType, payload []byte, annotations map[string]string) {
	t.Helper()
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
		Layer: static.NewLayer(payload, mediaType), Annotations: annotations,
	})
	if err != nil {
		t.Fatal(err)
	}
	tag := y.repo.Tag(strings.Replace(image.DigestStr(), ":", "-", 1) + "." + ending)
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
}

func simpleSigning(about v1.Hash) []byte {
	return []byte(`{"critical":{"identity":{"docker-reference":"registry.test/acme/app"},"image":{"docker-manifest-digest":"` + about.String() + `"},"type":"cosign container image signature"},"optional":null}`)
}

const (
	simpleSigningLayer = "application/vnd.dev.cosign.simplesigning.v1+json"
	envelopeLayer      = "application/vnd.dsse.envelope.v1+json"
)

func TestLegacySignature(t *testing.T) {
	o := newOldWorld(t)
	tests := []struct {
		name   string
		signer string
		// payload changes what is signed, stored what is stored instead of it.
		payload func(about v1.Hash) []byte
		stored  func(signed string, about v1.Hash) string
		without []string
		change  map[string]string
		want    string
	}{
		{name: "as it is", want: "pass"},
		{name: "without timestamp, dated by the log", without: []string{"dev.sigstore.cosign/rfc3161timestamp"}, want: "pass"},
		{name: "another identity", signer: "eve@acme.test", want: "fail identity-mismatch"},
		{name: "another digest", payload: func(v1.Hash) []byte { return simpleSigning(stranger) }, want: "fail other-subject"},
		{name: "moved to our digest", payload: func(v1.Hash) []byte { return simpleSigning(stranger) },
			stored: func(s string, about v1.Hash) string { return strings.Replace(s, stranger.Hex, about.Hex, 1) }, want: "fail signature-invalid"},
		{name: "another type", payload: func(about v1.Hash) []byte {
			return []byte(strings.Replace(string(simpleSigning(about)), "cosign container image signature", "something", 1))
		}, want: "fail bundle-unreadable"},
		{name: "payload that is none", payload: func(v1.Hash) []byte { return []byte(`{"critical":1}`) }, want: "fail bundle-unreadable"},
		{name: "digest twice", payload: func(about v1.Hash) []byte {
			return []byte(strings.Replace(string(simpleSigning(about)), `"image":`, `"image":{},"image":`, 1))
		}, want: "fail bundle-unreadable"},
		{name: "tampered", stored: func(s string, _ v1.Hash) string { return strings.Replace(s, `"optional":null`, `"optional":{}`, 1) }, want: "fail signature-invalid"},
		{name: "no log entry", without: []string{"dev.sigstore.cosign/bundle"}, want: "fail no-log-entry"},
		{name: "log entry that is none", change: map[string]string{"dev.sigstore.cosign/bundle": "{"}, want: "fail bundle-unreadable"},
		{name: "log entry of nothing", change: map[string]string{"dev.sigstore.cosign/bundle": `{"Payload":{"body":"e30=","logID":"zz"}}`}, want: "fail bundle-unreadable"},
		{name: "log entry without body", change: map[string]string{"dev.sigstore.cosign/bundle": `{}`}, want: "fail bundle-unreadable"},
		{name: "timestamp that is none", change: map[string]string{"dev.sigstore.cosign/rfc3161timestamp": "{"}, want: "fail bundle-unreadable"},
		{name: "signed with a key", without: []string{"dev.sigstore.cosign/certificate"}, want: "fail not-keyless"},
		{name: "certificate that is none", change: map[string]string{"dev.sigstore.cosign/certificate": "x"}, want: "fail bundle-unreadable"},
		{name: "no signature", without: []string{"dev.cosignproject.cosign/signature"}, want: "fail bundle-unreadable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := newYard(t, registrytest.Options{})
			image := y.push(t, "v1", tt.name)
			if tt.signer == "" {
				tt.signer = "ada@acme.test"
			}
			if tt.payload == nil {
				tt.payload = simpleSigning
			}
			payload := tt.payload(hash(t, image))
			entity, err := o.Sign(tt.signer, oldIssuer, payload)
			if err != nil {
				t.Fatal(err)
			}
			annotations := o.annotations(t, entity)
			for _, key := range tt.without {
				delete(annotations, key)
			}
			for key, value := range tt.change {
				annotations[key] = value
			}
			if tt.stored != nil {
				payload = []byte(tt.stored(string(payload), hash(t, image)))
			}
			y.put(t, image, "sig", simpleSigningLayer, payload, annotations)
			options := o.options()
			options.Policy.Evidence = []string{policy.Signature}
			v, err := verify.Image(t.Context(), y.client, image, options)
			if err != nil {
				t.Fatal(err)
			}
			if got := outcomes(v)["signature"]; got != tt.want {
				t.Errorf("signature: %s, want %s\n%s", got, tt.want, explain(v))
			}
			if c, _ := v.Find("signature"); tt.want == "pass" && !strings.HasSuffix(c.Reason, "in the format of cosign 2") {
				t.Errorf("the reason is %q", c.Reason)
			}
			complete(t, v)
		})
	}
}

func TestLegacyAttestation(t *testing.T) {
	o := newOldWorld(t)
	y := newYard(t, registrytest.Options{})
	tests := []struct {
		name   string
		about  func(v1.Hash) v1.Hash
		stored func(envelope string) string
		want   map[string]string
	}{
		{"as it is", nil, nil, map[string]string{"subject": "pass", "sbom": "pass"}},
		{"another digest", func(v1.Hash) v1.Hash { return stranger }, nil, map[string]string{"subject": "fail other-subject", "sbom": "fail other-subject"}},
		{"tampered", nil, func(e string) string { return strings.Replace(e, `"sig":"M`, `"sig":"N`, 1) }, map[string]string{"subject": "fail signature-invalid", "sbom": "fail signature-invalid"}},
		{"cut off", nil, func(e string) string { return e[:len(e)/2] }, map[string]string{"subject": "fail bundle-unreadable", "sbom": "fail no-sbom"}},
		{"payload twice", nil, func(e string) string { return strings.Replace(e, `"payload":`, `"payload":"","payload":`, 1) }, map[string]string{"subject": "fail bundle-unreadable", "sbom": "fail no-sbom"}},
		{"of another shape", nil, func(string) string { return `{"payload":1}` }, map[string]string{"subject": "fail bundle-unreadable", "sbom": "fail no-sbom"}},
		{"of another payload type", nil, func(e string) string { return strings.Replace(e, "in-toto", "other", 1) }, map[string]string{"subject": "fail bundle-unreadable", "sbom": "fail no-sbom"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			image := y.push(t, "v1", tt.name)
			about := hash(t, image)
			if tt.about != nil {
				about = tt.about(about)
			}
			made := statement(t, evidence.CycloneDX, bom(about, 2), about)
			made.Type = evidence.StatementTypeV01
			payload, err := made.Payload()
			if err != nil {
				t.Fatal(err)
			}
			entity, err := o.Attest("ada@acme.test", oldIssuer, payload)
			if err != nil {
				t.Fatal(err)
			}
			content, err := entity.SignatureContent()
			if err != nil {
				t.Fatal(err)
			}
			envelope, err := json.Marshal(content.EnvelopeContent().RawEnvelope())
			if err != nil {
				t.Fatal(err)
			}
			stored := string(envelope)
			if tt.stored != nil {
				if stored = tt.stored(stored); stored == string(envelope) {
					t.Fatal("the envelope did not change")
				}
			}
			y.put(t, image, "att", envelopeLayer, []byte(stored), o.annotations(t, entity))
			options := o.options()
			options.Policy.Evidence = []string{policy.SBOMLink}
			v, err := verify.Image(t.Context(), y.client, image, options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, outcomes(v)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, explain(v))
			}
			complete(t, v)
		})
	}
}

// TestLegacySBOM has an SBOM that was attached, and that nobody signed.
func TestLegacySBOM(t *testing.T) {
	o, y := newOldWorld(t), newYard(t, registrytest.Options{})
	image := y.push(t, "v1", "one")
	y.put(t, image, "sbom", "application/vnd.cyclonedx+json", []byte(bom(hash(t, image), 2)), nil)
	options := o.options()
	options.Policy.Evidence = []string{policy.SBOMLink}
	v, err := verify.Image(t.Context(), y.client, image, options)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"subject": "fail no-evidence", "sbom": "fail no-sbom"}, outcomes(v)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.Contains(explain(v), ".sbom, which nobody signed") {
		t.Errorf("what was found is not told:\n%s", explain(v))
	}
}
