package kyverno

import (
	"fmt"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/provenance"
)

// check is one link of the chain, as CEL says it.
type check struct {
	// link is its name in the policy, and predicate the type asked for.
	link, predicate string
	// holds is the condition on the payload's predicate, "p" standing for it;
	// empty when being there is all.
	holds string
	says  string
}

func checks(p policy.Policy) []check {
	var out []check
	for _, c := range []check{
		{policy.Signature, evidence.Signature, "", "is not signed by the identity that hallmark.yaml names"},
		{policy.SBOMLink, evidence.CycloneDX, `p.?bomFormat.orValue("") == "CycloneDX" &&
    p.?components.orValue([]).exists(c, !(c.?type.orValue("") in ["file", "operating-system", "container", "device", "data", "cryptographic-asset"]))`,
			"has no CycloneDX SBOM, with a component in it, by the identity that hallmark.yaml names"},
		{policy.Scan, evidence.Scan, `p.?scanner.orValue("") != "" && p.?database.?schema.orValue("") != "" &&
    i.endsWith("@" + p.?subject.orValue(""))`,
			"has no scan report by the identity that hallmark.yaml names"},
		{policy.Provenance, evidence.Provenance, provenanceHolds(p.Identity),
			"has no SLSA provenance of this repository and builder by the identity that hallmark.yaml names"},
	} {
		if p.Wants(c.link) {
			out = append(out, c)
		}
	}
	return out
}

// provenanceHolds checks the builder and the source on the payload: Kyverno
// does not read the certificate's extensions, where they are too.
func provenanceHolds(who policy.Identity) string {
	const definition, builder = "p.buildDefinition", `p.runDetails.builder.id`
	if who.Repository == "" {
		return fmt.Sprintf("%s.buildType == %s && %s == %s &&\n    %s.?externalParameters.?source.?dirty.orValue(false) == false",
			definition, text(provenance.Local), builder, text(provenance.LocalBuilder), definition)
	}
	conditions := []string{
		definition + ".buildType in " + texts([]string{provenance.GitHubWorkflow, provenance.FirstWorkflow}),
		fmt.Sprintf("(%s.matches(%s) || %s.startsWith(%s))", builder, text(who.SubjectRegexp()), builder, text("https://github.com/actions/runner/")),
		definition + ".externalParameters.workflow.repository == " + text(who.SourceRepositoryURI()),
		definition + `.resolvedDependencies.exists(d, d.?digest.?gitCommit.orValue("").matches("^([0-9a-f]{40}|[0-9a-f]{64})$"))`,
	}
	if who.Ref != "" {
		conditions = append(conditions, definition+".externalParameters.workflow.ref.matches("+text(who.SourceRefRegexp())+")")
	}
	if strings.HasPrefix(who.Workflow, ".github/") {
		conditions = append(conditions, definition+".externalParameters.workflow.path == "+text(who.Workflow))
	}
	return strings.Join(conditions, " &&\n    ")
}

// evidencePolicy demands the policy's evidence of its image. All checks are in
// one policy because each policy fetches the image and its evidence anew.
func evidencePolicy(p policy.Policy, name, resource string, root *tuf) object {
	failure, does := actions(p)
	log := ctlog{"https://rekor.sigstore.dev"}
	if root != nil {
		// It must not be empty, and is never called: bundles carry their proof.
		log = ctlog{"https://log.invalid"}
	}
	spec := imageSpec{
		FailurePolicy: failure, ValidationActions: does,
		Webhook:          webhook{p.Admission.TimeoutSeconds()},
		MatchConstraints: matchResource{[]resourceRule{{[]string{""}, []string{"v1"}, changing, []string{resource}}}},
		Images:           []map[string]string{{"glob": p.Image}, {"glob": p.Image + ":*"}, {"glob": p.Image + "@*"}},
		// Without verifyDigest a tag that was moved is admitted from the cache.
		Configurations: configurations{MutateDigest: p.Admission.AllowTags, VerifyDigest: true, Required: true},
		Attestors: []attestor{{"identity", cosign{
			Keyless: keyless{[]identity{{p.Identity.Issuer, p.Identity.SubjectRegexp()}}}, CTLog: log, TUF: root,
		}}},
		Variables: []expression{{"images", "images.containers + images.initContainers + images.ephemeralContainers"}},
	}
	for _, c := range checks(p) {
		spec.Attestations = append(spec.Attestations, attestation{c.link, intoto{c.predicate}})
		lacks := fmt.Sprintf("verifyAttestationSignatures(i, attestations.%s, [attestors.identity]) < 1", c.link)
		if c.holds != "" {
			lacks += fmt.Sprintf(" ||\n  ![extractPayload(i, attestations.%s).predicate].all(p,\n    %s)", c.link, c.holds)
		}
		lacking := "without_" + c.link
		spec.Variables = append(spec.Variables, expression{lacking, "variables.images.filter(i,\n  " + lacks + ")"})
		spec.Validations = append(spec.Validations, validation{
			"variables." + lacking + ".size() == 0",
			fmt.Sprintf(`"hallmark %s: " + variables.%s.join(", ") + " %s. Ask: hallmark verify " + variables.%s[0] + " --explain"`, c.link, lacking, c.says, lacking),
		})
	}
	return object{apiVersion, "ImageValidatingPolicy", metadata{Name: name}, spec}
}
