package verify_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

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

// TestBounds has a bundle refused for its size, before anybody parses it.
func TestBounds(t *testing.T) {
	w := newWorld(t, nil)
	huge := evidence.Signed{PredicateType: evidence.Signature, Bundle: make([]byte, evidence.MaxBundle+1)}
	c, _ := verify.Judge(subject, []evidence.Signed{huge}, w.options()).Find("signature")
	if c.Code != "bundle-unreadable" || !strings.Contains(c.Reason, "bytes are more than the") {
		t.Errorf("%s: %s", c.Code, c.Reason)
	}
}
