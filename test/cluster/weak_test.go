//go:build cluster

package cluster_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/test/cluster"
)

// weakness is one thing less in the rendered policies, and an image that it lets in.
type weakness struct {
	name   string
	weaken func(policies string) string
	// image is what must not run; object how it is tried, a Pod unless set.
	image  func(*world) string
	object func(image string) cluster.Object
}

// replaced gives a change of the rendered text. What it changes must be there, or the experiment would show nothing.
func replaced(pattern, by string) func(string) string {
	return func(policies string) string {
		expression := regexp.MustCompile(pattern)
		if !expression.MatchString(policies) {
			panic(fmt.Sprintf("nothing in the rendered policies matches %s", pattern))
		}
		return expression.ReplaceAllString(policies, by)
	}
}

func signedBy(c oidc.Claims) func(*world) string {
	return func(w *world) string {
		ref := w.push()
		w.attach(ref, w.sign(c, w.full(ref, ours())...)) // what the provenance claims is up to who signs it
		return ref.String()
	}
}

func evidenceOnly(pick func(all statements) statements) func(*world) string {
	return func(w *world) string {
		ref := w.push()
		w.attach(ref, w.sign(ours(), pick(w.full(ref, ours()))...))
		return ref.String()
	}
}

var weaknesses = []weakness{
	{
		name:   "any attestation counts as a signature",
		weaken: replaced(`verifyAttestationSignatures\(i, attestations\.signature, `, `verifyImageSignatures(i, `),
		image:  evidenceOnly(func(all statements) statements { return all[1:] }),
	},
	{
		name:   "identity without anchors",
		weaken: replaced(`subjectRegExp: \^(https://github\\\.com/acme/app)\S*`, `subjectRegExp: $1`),
		image:  signedBy(localtrust.GitHubClaims("acme/app-evil", workflow, branch, commit)),
	},
	{
		name:   "identity of any account",
		weaken: replaced(`subjectRegExp: \^https://github\\\.com/acme/app/`, `subjectRegExp: ^https://github\.com/[^/]+/app/`),
		image:  signedBy(localtrust.GitHubClaims("evil/app", workflow, branch, commit)),
	},
	{
		name:   "identity with a wildcard after a name",
		weaken: replaced(`subjectRegExp: \^(https://github\\\.com/acme/app)\S*`, `subjectRegExp: ^$1.*$$`),
		image:  signedBy(localtrust.GitHubClaims("acme/app-evil", workflow, branch, commit)),
	},
	{
		name:   "any issuer",
		weaken: replaced(`- issuer: \S+`, `- issuerRegExp: .*`),
		image:  func(w *world) string { return w.releasedByOtherIssuer().String() },
	},
	{
		name:   "registry by a prefix that ends within a name",
		weaken: replaced(`i\.startsWith\("([^"]+/acme/app)@"\)`, `i.startsWith("$1")`),
		image:  func(w *world) string { return w.host + "/acme/app-evil@sha256:" + strings.Repeat("a", 64) },
	},
	{
		name: "extensions of the certificate relied upon",
		weaken: replaced(`( +)subjectRegExp: \S+\n( +)ctlog:`, "${1}subjectRegExp: .+\n"+
			"          additionalExtensions: {githubWorkflowRepository: acme/app}\n${2}ctlog:"),
		image: signedBy(localtrust.GitHubClaims("evil/app", workflow, branch, commit)),
	},
	{
		name:   "SBOM not read",
		weaken: replaced(`p\.\?bomFormat[^\n]*\n[^\n]*exists\(c, [^\n]*\)\)\)`, `true))`),
		image: func(w *world) string {
			ref := w.push()
			w.attach(ref, w.sign(ours(), w.signature(ref), w.statement(ref, evidence.CycloneDX, []byte(`{"x":1}`)), w.provenance(ref, ours())))
			return ref.String()
		},
	},
	{
		name:   "provenance not compared",
		weaken: replaced(`p\.buildDefinition\.externalParameters\.workflow\.repository == "[^"]*"`, `true`),
		image: func(w *world) string {
			ref := w.push()
			text := strings.ReplaceAll(string(w.provenance(ref, ours()).Predicate), `"repository":"https://github.com/acme/app"`, `"repository":"https://github.com/acme/other"`)
			w.attach(ref, w.sign(ours(), w.signature(ref), w.sbom(ref, 3), w.statement(ref, evidence.Provenance, []byte(text))))
			return ref.String()
		},
	},
	{
		name:   "other registries not spoken of",
		weaken: replaced(`variables\.(foreign|tagged)\.size\(\) == 0`, `1 == 1`),
		image:  func(*world) string { return "nginx:latest" },
	},
	{
		name:   "init containers forgotten",
		weaken: replaced(`\n +variables\.pod\.\?initContainers\.orValue\(\[\]\) \+`, ""),
		image:  func(*world) string { return "nginx:latest" },
		object: initContainer,
	},
	{
		name:   "only Pods spoken of",
		weaken: replaced(`(?s)(apiVersions: \[v1\]\n +operations: \[CREATE, UPDATE\]\n +resources: \[pods), pods/ephemeralcontainers, replicationcontrollers\]\n +- apiGroups: \[apps\].*?cronjobs\]`, "$1]"),
		image:  func(*world) string { return "nginx:latest" },
		object: deployment,
	},
}

// TestWeakPolicies takes one thing at a time away from the rendered policies, sees the real Kyverno admit what it must
// not, puts it back, and sees it refused.
func TestWeakPolicies(t *testing.T) {
	w := newWorld(t)
	w.policy = w.writePolicy("hallmark.yaml", admission)
	c := startCluster(t, w)
	strong := string(w.render())
	for _, tt := range weaknesses {
		t.Run(tt.name, func(t *testing.T) {
			image := tt.image(w)
			o := in("shop", pod(image))
			if tt.object != nil {
				o = in("shop", tt.object(image))
			}
			if said := admits(t, c, o); said.yes {
				t.Fatal("the rendered policies admit it")
			}
			replace(t, c, tt.weaken(strong))
			if err := c.AwaitAdmitted(t.Context(), o); err != nil {
				t.Errorf("the weak policy refuses it too: %v", err)
			}
			replace(t, c, strong)
			if err := c.AwaitEnforced(t.Context(), o, func(a cluster.Answer) bool { return strings.Contains(a.Message(), "denied") }); err != nil {
				t.Errorf("the rendered policies, put back: %v", err)
			}
		})
	}
}

// replace applies other policies over those that are there.
func replace(t *testing.T, c *cluster.Cluster, policies string) {
	t.Helper()
	if err := c.Must(t.Context(), []byte(policies)); err != nil {
		t.Fatal(err)
	}
}

// TestTagCache moves a tag under a policy that neither pins nor asks for digests: the verdict about the first image is
// still held against the second.
func TestTagCache(t *testing.T) {
	w := newWorld(t)
	w.policy = w.writePolicy("hallmark.yaml", "  allow-tags: true\n")
	c := startCluster(t, w, settings[1].args...)
	strong := string(w.render())
	good, bad := w.released(ours()), w.push()
	tag := in("shop", pod(good.Context().Tag("v1").String()))
	point := func(to string) {
		ref := good
		if to == bad.String() {
			ref = bad
		}
		if err := w.client.MoveTag(t.Context(), ref, "v1"); err != nil {
			t.Fatal(err)
		}
	}
	replace(t, c, replaced(`mutateDigest: true\n( +)verifyDigest: true`, "mutateDigest: false\n${1}verifyDigest: false")(strong))
	// The verdict is kept under the policy's resource version, which changes once more when Kyverno writes the policy's
	// status, and is kept by another goroutine than the one that answers: the first tries may miss it.
	var said says
	for range 10 {
		point(good.String())
		if err := c.AwaitAdmitted(t.Context(), tag); err != nil {
			t.Fatal(err)
		}
		point(bad.String())
		if said = admits(t, c, tag); said.yes {
			break
		}
	}
	if !said.yes {
		t.Errorf("the weak policy sees that the tag moved: %s", said.words)
	}
	replace(t, c, strong)
	if err := c.AwaitEnforced(t.Context(), tag, func(a cluster.Answer) bool { return strings.Contains(a.Message(), "hallmark signature") }); err != nil {
		t.Error(err)
	}
}
