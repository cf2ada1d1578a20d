package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const signType = "https://sigstore.dev/cosign/sign/v1"

func checkSignature(e *estate, say report) {
	for i := range e.images {
		p := &e.images[i]
		if !p.keyless() && !strings.Contains(p.Spec.text(), "verify") {
			continue
		}
		asked := slices.ContainsFunc(p.Spec.Attestations, func(a attestation) bool { return a.InToto.Type == signType && p.uses(a.Name) })
		switch {
		case asked:
		case strings.Contains(p.Spec.text(), "verifyImageSignatures("):
			say(&p.object, "spec.validations", "verifyImageSignatures takes any attestation by the identity for a signature")
		default:
			say(&p.object, "spec.attestations", "no attestation of the type %s is asked for", signType)
		}
	}
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		if v.bundles() && len(v.Attestors) > 0 && !slices.ContainsFunc(v.Attestations, func(a legacyAttestation) bool { return a.kind() == signType }) {
			say(&p.object, path+".attestors", "any bundle by the identity counts as a signature")
		}
	})
}

// keyless says that identities are asked for.
func (p imagePolicy) keyless() bool {
	for _, a := range p.Spec.Attestors {
		if a.Cosign != nil && a.Cosign.Keyless != nil {
			return true
		}
	}
	return false
}

// uses says that an expression asks for the attestation of that name.
func (p imagePolicy) uses(name string) bool {
	return regexp.MustCompile(`attestations\.` + regexp.QuoteMeta(name) + `\b`).MatchString(p.Spec.text())
}

// payloads is every expression that reads the payload of an attestation.
func (p imagePolicy) payloads(name string) string {
	reads := regexp.MustCompile(`extractPayload\([^()]*attestations\.` + regexp.QuoteMeta(name) + `\b`)
	var b strings.Builder
	for _, list := range [][]expression{p.Spec.Variables, p.Spec.Validations} {
		for _, x := range list {
			if reads.MatchString(x.Expression) {
				b.WriteString(x.Expression + "\n")
			}
		}
	}
	return b.String()
}

func isSBOM(kind string) bool {
	return strings.Contains(kind, "cyclonedx") || strings.Contains(kind, "spdx")
}

func isProvenance(kind string) bool { return strings.Contains(kind, "slsa.dev/provenance") }

// compared are the fields of provenance that say who built what from where;
// one of each line must be read.
var compared = []struct {
	what   string
	fields []string
}{
	{"the builder", []string{"builder"}},
	{"the source", []string{"externalParameters", "resolvedDependencies", "configSource", "materials", "invocation", "buildType"}},
}

func checkSBOM(e *estate, say report) {
	for i := range e.images {
		p := &e.images[i]
		for n, a := range p.Spec.Attestations {
			if isSBOM(a.InToto.Type) && p.uses(a.Name) && p.payloads(a.Name) == "" {
				say(&p.object, fmt.Sprintf("spec.attestations[%d]", n), "no expression reads what the attestation %s says", a.Name)
			}
		}
	}
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		for n, a := range v.Attestations {
			if isSBOM(a.kind()) && len(a.Conditions) == 0 {
				say(&p.object, fmt.Sprintf("%s.attestations[%d]", path, n), "it has no conditions")
			}
		}
	})
}

func checkProvenance(e *estate, say report) {
	for i := range e.images {
		p := &e.images[i]
		for n, a := range p.Spec.Attestations {
			if !isProvenance(a.InToto.Type) || !p.uses(a.Name) {
				continue
			}
			path, reads := fmt.Sprintf("spec.attestations[%d]", n), p.payloads(a.Name)
			for _, c := range compared {
				if !slices.ContainsFunc(c.fields, func(field string) bool { return strings.Contains(reads, field) }) {
					say(&p.object, path, "no expression compares %s that the attestation %s names", c.what, a.Name)
				}
			}
		}
	}
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		for n, a := range v.Attestations {
			if isProvenance(a.kind()) && len(a.Conditions) == 0 {
				say(&p.object, fmt.Sprintf("%s.attestations[%d]", path, n), "it has no conditions")
			}
		}
	})
}

func checkTagCache(e *estate, say report) {
	for i := range e.images {
		p := &e.images[i]
		if c := p.Spec.ValidationConfigurations; is(c.MutateDigest, false) && is(c.VerifyDigest, false) {
			say(&p.object, "spec.validationConfigurations", "an image is neither pinned to its digest nor must be named by one")
		}
	}
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		if !v.notary() && !is(v.UseCache, false) {
			say(&p.object, path, "verdicts are kept by the tag, and useCache is not false")
		}
	})
}

func checkLog(e *estate, say report) {
	for i := range e.images {
		p := &e.images[i]
		for n, a := range p.Spec.Attestors {
			if a.Cosign == nil || a.Cosign.Keyless == nil {
				continue
			}
			path := fmt.Sprintf("spec.attestors[%d].cosign.ctlog", n)
			if a.Cosign.CTLog.InsecureIgnoreTlog {
				say(&p.object, path+".insecureIgnoreTlog", "the transparency log is not asked")
			}
			if a.Cosign.CTLog.InsecureIgnoreSCT {
				say(&p.object, path+".insecureIgnoreSCT", "the certificate log is not asked")
			}
		}
	}
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		for a, attestor := range v.Attestors {
			for n, entry := range attestor.Entries {
				if entry.Keyless != nil && entry.Keyless.Rekor.IgnoreTlog {
					say(&p.object, fmt.Sprintf("%s.attestors[%d].entries[%d].keyless.rekor", path, a, n), "the transparency log is not asked")
				}
			}
		}
	})
}

func checkRequired(e *estate, say report) {
	for i := range e.images {
		p := &e.images[i]
		if is(p.Spec.ValidationConfigurations.Required, false) {
			say(&p.object, "spec.validationConfigurations.required", "false")
		}
	}
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		if is(v.Required, false) {
			say(&p.object, path+".required", "false")
		}
	})
}

func checkInsecure(e *estate, say report) {
	for i := range e.images {
		if p := &e.images[i]; p.Spec.Credentials.AllowInsecureRegistry {
			say(&p.object, "spec.credentials.allowInsecureRegistry", "true")
		}
	}
}

// checkFormats looks for images of which the signatures are wanted in the
// format of cosign 2 here and of cosign 3 there.
func checkFormats(e *estate, say report) {
	bundles := len(e.images) > 0
	e.eachImages(func(_ *legacyPolicy, _ string, v legacyImages) { bundles = bundles || v.bundles() })
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		if bundles && !v.bundles() && !v.notary() {
			say(&p.object, path, "it reads the tags of cosign 2, another rule the bundles of cosign 3")
		}
	})
}
