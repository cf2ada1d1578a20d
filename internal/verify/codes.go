package verify

// The codes of refusals. They are part of what the program promises: a code
// is never given another meaning.
const (
	codeNoEvidence      = "no-evidence"
	codeUnavailable     = "evidence-unavailable"
	codeNoSignature     = "no-signature"
	codeNoSBOM          = "no-sbom"
	codeNoScan          = "no-scan"
	codeNoProvenance    = "no-provenance"
	codeUnreadable      = "bundle-unreadable"
	codeOtherSubject    = "other-subject"
	codeNotKeyless      = "not-keyless"
	codeNotByKey        = "not-by-key"
	codeTrustRoot       = "no-trust-root"
	codeSignature       = "signature-invalid"
	codeNoLogEntry      = "no-log-entry"
	codeLogEntry        = "log-entry-invalid"
	codeNoTimestamp     = "no-timestamp"
	codeTimestamp       = "timestamp-invalid"
	codeUntrusted       = "certificate-untrusted"
	codeExpired         = "certificate-expired"
	codeNoSCT           = "no-sct"
	codeInvalid         = "bundle-invalid"
	codeIssuer          = "issuer-mismatch"
	codeIdentity        = "identity-mismatch"
	codeSBOMUnreadable  = "sbom-unreadable"
	codeSBOMEmpty       = "sbom-empty"
	codeSBOMOther       = "sbom-other-subject"
	codeScanUnreadable  = "scan-unreadable"
	codeScanOther       = "scan-other-subject"
	codeScanNoDatabase  = "scan-without-database"
	codeProvUnreadable  = "provenance-unreadable"
	codeBuildType       = "build-type-unknown"
	codeParameters      = "unknown-parameters"
	codeDirty           = "dirty"
	codeBuilderUnproven = "builder-unproven"
	codeBuilder         = "builder-mismatch"
	codeCommit          = "commit-mismatch"
	codeRepository      = "repository-mismatch"
	codeRef             = "ref-mismatch"
	codeWorkflow        = "workflow-mismatch"
	codeRun             = "run-mismatch"
	codeEvent           = "event-mismatch"
	codeRunner          = "runner-mismatch"
	codeID              = "id-mismatch"
	codeTagMoved        = "tag-moved"
	codeTagUnproven     = "tag-unproven"
)

// Code explains one code.
type Code struct {
	// Code is what a check's Code says.
	Code string
	// Meaning is what was found, and Next the next step for a person.
	Meaning, Next string
}

const (
	again   = "release the commit again with hallmark release: it adds what is missing"
	changed = "do not run the image; find out who attached this, and release the commit again"
	signed  = "sign with hallmark release or cosign 3, with the services of the trust root"
	liar    = "do not run the image; whoever signs as this identity attested something untrue, so look at the run that the certificate names"
)

// Codes explains every code, in the order of the chain.
func Codes() []Code {
	return []Code{
		{codeNoEvidence, "Nothing that the policy asks for is attached to the image.", "release it with hallmark release; if it was copied here, copy its referrers too (oras cp -r, regctl image copy --referrers)"},
		{codeUnavailable, "The registry could not give the evidence, so nothing is known.", "check the registry and the login, then run again"},
		{codeNoSignature, "No bundle has the predicate https://sigstore.dev/cosign/sign/v1. Another attestation is not a signature.", again},
		{codeNoSBOM, "No bundle has the predicate https://cyclonedx.org/bom.", again},
		{codeNoScan, "No bundle has the predicate https://hallmark.sh/scan/v1.", again},
		{codeNoProvenance, "No bundle has the predicate https://slsa.dev/provenance/v1 or v0.2.", again},
		{codeUnreadable, "The bundle is cut off, malformed, ambiguous or too large.", changed},
		{codeOtherSubject, "The evidence names another digest or file.", "do not run the image; evidence of another one was put beside it"},
		{codeNotKeyless, "The evidence is signed with a key; the policy asks for an identity.", "sign keyless, with hallmark release or cosign 3"},
		{codeNotByKey, "The file is signed by an identity; a key was asked for.", "verify with the identity and its issuer instead of a key"},
		{codeTrustRoot, "There is no usable trust root to judge by.", "check the key trust in hallmark.yaml"},
		{codeSignature, "The signature does not fit the content.", changed},
		{codeNoLogEntry, "The evidence is in no transparency log.", signed},
		{codeLogEntry, "The log entry is another's, or not by a log of the trust root.", signed},
		{codeNoTimestamp, "Nothing proves when it was signed.", signed},
		{codeTimestamp, "The timestamp is another's, or not by an authority of the trust root.", signed},
		{codeUntrusted, "The certificate is not by an authority of the trust root.", "check that the key trust in hallmark.yaml names the instance that signed"},
		{codeExpired, "It was signed outside of the certificate's validity.", "do not run the image; a certificate and its key were used after their time"},
		{codeNoSCT, "The certificate is in no certificate log of the trust root.", signed},
		{codeInvalid, "The bundle does not verify, for a reason that is told in words.", signed},
		{codeIssuer, "Another OIDC issuer vouches for the signer.", "check identity.issuer in hallmark.yaml; if it is right, the image is not yours"},
		{codeIdentity, "Another identity signed: other repository, workflow, ref or subject.", "check the key identity in hallmark.yaml; if it is right, the image is not yours"},
		{codeSBOMUnreadable, "The SBOM is not a CycloneDX document.", again},
		{codeSBOMEmpty, "The SBOM lists no component.", again},
		{codeSBOMOther, "The SBOM describes another image.", again},
		{codeScanUnreadable, "The scan report cannot be read.", again},
		{codeScanOther, "The scan report is about another image.", again},
		{codeScanNoDatabase, "The scan report names no advisory database, so \"no findings\" says nothing.", again},
		{codeProvUnreadable, "The provenance is not SLSA provenance v1 or v0.2, or contradicts itself.", again},
		{codeBuildType, "The provenance is of a build type that hallmark does not know.", again},
		{codeParameters, "The build was steered by external parameters that the policy does not know.", "find out who set them; release the commit again without"},
		{codeDirty, "The image was built from a working tree that was not exactly the commit.", "commit the changes and release again, or pass --allow-dirty where a dirty image is meant to pass"},
		{codeBuilderUnproven, "The provenance names a builder that the certificate does not vouch for.", liar},
		{codeBuilder, "The provenance names another builder than the certificate.", liar},
		{codeCommit, "The provenance names another commit than the certificate.", liar},
		{codeRepository, "The provenance names another repository than the certificate.", liar},
		{codeRef, "The provenance names another ref than the certificate.", liar},
		{codeWorkflow, "The provenance names another workflow than the certificate.", liar},
		{codeRun, "The provenance names another run than the certificate.", liar},
		{codeEvent, "The provenance names another event than the certificate.", liar},
		{codeRunner, "The provenance names another runner environment than the certificate.", liar},
		{codeID, "The provenance names another repository or owner id than the certificate.", liar},
		{codeTagMoved, "The tag names a commit, and the image it points to was built from another.", "do not run the image; find out who moved the tag, and make tags immutable in the registry"},
		{codeTagUnproven, "The tag names a commit, and nothing proves from which commit the image was built.", "add provenance to the key evidence in hallmark.yaml and release the commit again"},
	}
}

func nextStep(code string) string {
	for _, c := range Codes() {
		if c.Code == code {
			return c.Next
		}
	}
	return ""
}
