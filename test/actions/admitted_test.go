//go:build actions && cluster

package actions_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/test/cluster"
)

// TestAdmitted asks the real Kyverno about what the workflow released: by the
// identity of the reusable workflow it is admitted, and by no other.
func TestAdmitted(t *testing.T) {
	s := newScene(t)
	sha := s.begin(0)
	if o := s.act("push"); !o.passed {
		t.Fatal(o)
	}
	released := s.registry.Host + "/acme/app@" + s.tagged(sha)
	unsigned := s.registry.Host + "/acme/app@" + s.pushUnsigned()

	c, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	subject := "^https://github\\.com/" + regexp.QuoteMeta(workflowPath) + "@"
	for _, policy := range []struct{ namespace, subject string }{
		{"ours", subject + commit + "$"}, {"other-commit", subject + strings.Repeat("1", 40) + "$"}, {"caller", "^https://github\\.com/acme/app/\\.github/workflows/ci\\.yml@refs/heads/main$"},
	} {
		if err := c.Must(t.Context(), []byte(s.imagePolicy(policy.namespace, policy.subject))); err != nil {
			t.Fatal(err)
		}
		refused := func(a cluster.Answer) bool { return strings.Contains(a.Message(), "is not by the release workflow") }
		if err := c.AwaitEnforced(t.Context(), pod(policy.namespace, unsigned), refused); err != nil {
			t.Fatal(err)
		}
		answer, err := c.Create(t.Context(), pod(policy.namespace, released), false)
		if err != nil {
			t.Fatal(err)
		}
		said := "admitted"
		if !answer.Allowed() {
			said = answer.Message()
		}
		t.Logf("by the identity of %s: %d %s", policy.namespace, answer.Status, said)
		if answer.Allowed() != (policy.namespace == "ours") || !answer.Allowed() && !refused(answer) {
			t.Errorf("by the identity of %s the released image is admitted: %v", policy.namespace, answer.Allowed())
		}
	}
}

// pushUnsigned pushes an image that nobody released, to the same repository.
func (s *scene) pushUnsigned() string {
	s.t.Helper()
	img, err := random.Image(100, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	ref, err := name.NewDigest(s.registry.Host + "/acme/app@" + digest.String())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		s.t.Fatal(err)
	}
	return digest.String()
}

func pod(namespace, image string) cluster.Object {
	return cluster.Object{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "app", "namespace": namespace},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "app", "image": image}}},
	}
}

// imagePolicy demands the four links of a release, each as an attestation of
// its own kind by the identity.
func (s *scene) imagePolicy(namespace, subject string) string {
	s.t.Helper()
	root, err := os.ReadFile(filepath.Join(s.trust.Dir(), localtrust.TUFRootFile))
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: policies.kyverno.io/v1
kind: ImageValidatingPolicy
metadata: {name: %[1]s}
spec:
  validationActions: [Deny]
  webhookConfiguration: {timeoutSeconds: 30}
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods]}
  matchImageReferences:
  - glob: "%[2]s/*"
  attestors:
  - name: release
    cosign:
      keyless:
        identities:
        - {issuer: %[3]q, subjectRegExp: %[4]q}
      ctlog: {url: %[5]q}
      tuf:
        mirror: %[6]q
        root: {data: %[7]q}
  attestations:
  - {name: signature, intoto: {type: https://sigstore.dev/cosign/sign/v1}}
  - {name: sbom, intoto: {type: https://cyclonedx.org/bom}}
  - {name: scan, intoto: {type: https://hallmark.sh/scan/v1}}
  - {name: provenance, intoto: {type: https://slsa.dev/provenance/v1}}
  validations:
  - message: the image is not by the release workflow
    expression: >-
      images.containers.map(image, [attestations.signature, attestations.sbom, attestations.scan, attestations.provenance]
      .all(kind, verifyAttestationSignatures(image, kind, [attestors.release]) > 0)).all(yes, yes)
  - message: the image is not built from refs/heads/main of acme/app
    expression: >-
      images.containers.map(image, extractPayload(image, attestations.provenance).predicate.buildDefinition.externalParameters.workflow)
      .all(workflow, workflow.repository == "https://github.com/acme/app" && workflow.ref == "refs/heads/main")
`, namespace, s.registry.Host, s.trust.Issuer(), subject, s.signing, s.signing+localtrust.PathTUF, base64.StdEncoding.EncodeToString(root))
}
