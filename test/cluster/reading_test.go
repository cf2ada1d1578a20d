//go:build cluster

package cluster_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/test/cluster"
)

// wouldBlock is the report as "Kind namespace/name image: allow" or the code of the denial.
type wouldBlock struct {
	Denied  int
	Results []struct {
		Kind, Namespace, Name string
		Images                []struct {
			Image, Code string
			Allowed     bool
			Digest      string
			Running     []string
		}
	}
}

func (r wouldBlock) lines() []string {
	var out []string
	for _, one := range r.Results {
		for _, image := range one.Images {
			said := image.Code
			if image.Allowed {
				said = "allow"
			}
			out = append(out, fmt.Sprintf("%s %s/%s: %s", one.Kind, one.Namespace, one.Name, said))
		}
	}
	slices.Sort(out)
	return out
}

func called(o cluster.Object, name string) cluster.Object {
	o = maps.Clone(o)
	o["metadata"] = map[string]any{"name": name}
	return o
}

// TestWouldBlock asks what of all that runs the policies would refuse, before they are there, then brings the policies, and
// the API server says the same of each.
func TestWouldBlock(t *testing.T) {
	w := newWorld(t)
	c := startBare(t, cluster.Options{Controllers: true})
	good, bad := w.released(ours()), w.push()
	all := map[string]cluster.Object{
		"Deployment shop/good: allow":                 called(deployment(good.String()), "good"),
		"Deployment shop/unsigned: no-signature":      called(deployment(bad.String()), "unsigned"),
		"CronJob shop/nightly: no-signature":          called(cronJob(bad.String()), "nightly"),
		"Pod shop/web: registry-not-allowed":          called(pod("nginx:latest"), "web"),
		"Pod shop/by-tag: not-by-digest":              called(pod(good.Context().Tag("v1").String()), "by-tag"),
		"StatefulSet shop/store: allow":               called(statefulSet(good.String()), "store"),
		"Job shop/once: registry-not-allowed":         called(job("quay.io/acme/tool@sha256:"+strings.Repeat("a", 64)), "once"),
		"DaemonSet shop/agent: not-by-digest":         called(daemonSet(good.Context().Tag("v1").String()), "agent"),
		"ReplicaSet shop/copies: no-signature":        called(replicaSet(bad.String()), "copies"),
		"Deployment shop/second: allow":               called(deployment(good.String()), "second"),
		"Pod shop/alone: allow":                       called(pod(good.String()), "alone"),
		"Pod shop/unsigned-alone: no-signature":       called(pod(bad.String()), "unsigned-alone"),
		"Deployment shop/nginx: registry-not-allowed": called(deployment("nginx:latest"), "nginx"),
	}
	for _, o := range all {
		must(t, c, o)
	}
	// Four Pods by hand; a Deployment each makes one, and so do the others that do at once.
	awaitAtLeast(t, c, 10)
	runs(t, c, "alone", good.DigestStr())

	code, out, said := w.hallmark(nil, "policy", "test", "--would-block", "--json", "--kubeconfig", c.Kubeconfig)
	if code != 3 || said != "" {
		t.Fatalf("exit %d: %s", code, said)
	}
	var report wouldBlock
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(maps.Keys(all))
	if diff := cmp.Diff(want, report.lines()); diff != "" {
		t.Errorf("what would be refused (-want +got): %s", diff)
	}
	for _, one := range report.Results {
		if one.Name == "alone" && !slices.Equal(one.Images[0].Running, []string{good.DigestStr()}) {
			t.Errorf("the Pod runs %v, want %s", one.Images[0].Running, good.DigestStr())
		}
	}

	apply(t, c, w.render())
	enforced(t, c, w)
	for line, o := range all {
		answer, err := c.Create(t.Context(), in("shop", called(o, "again")), true)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Allowed() != strings.HasSuffix(line, ": allow") {
			t.Errorf("%s, and the API server says %d: %s", line, answer.Status, answer.Message())
		}
	}

	if code, out, said := w.hallmark(nil, "policy", "test", "--would-block", "--kubeconfig", c.Kubeconfig, "-n", "none"); code != 0 {
		t.Errorf("of a namespace without workloads: exit %d: %s%s", code, out, said)
	}
}

// awaitAtLeast waits until the controllers have made what they make.
func awaitAtLeast(t *testing.T, c *cluster.Cluster, n int) {
	t.Helper()
	if err := c.Until(t.Context(), "Pods", func() error {
		var pods podList
		if err := c.Get(t.Context(), "/api/v1/namespaces/shop/pods", &pods); err != nil {
			return err
		}
		if len(pods.Items) < n {
			return fmt.Errorf("%d Pods, and at least %d must come", len(pods.Items), n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// runs says of a Pod what a kubelet would: that its container runs a digest.
func runs(t *testing.T, c *cluster.Cluster, name, digest string) {
	t.Helper()
	path := "/api/v1/namespaces/shop/pods/" + name
	var o cluster.Object
	if err := c.Get(t.Context(), path, &o); err != nil {
		t.Fatal(err)
	}
	o["status"] = map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
		"name": "app", "image": "app", "imageID": "registry.test/app@" + digest, "ready": true, "restartCount": 0,
	}}}
	if answer, err := c.Replace(t.Context(), path+"/status", o); err != nil || !answer.Allowed() {
		t.Fatalf("%v: %s", err, answer.Message())
	}
}

// TestLintCluster reads the policies of a cluster: the rendered ones are clean, also with all that Kyverno makes of them; a
// weak one is found; and who may not read is told which right is missing.
func TestLintCluster(t *testing.T) {
	w := newWorld(t)
	c := startCluster(t, w)
	if code, out, said := w.hallmark(nil, "policy", "lint", "--kubeconfig", c.Kubeconfig); code != 0 || !strings.HasPrefix(out, "CLEAN") {
		t.Errorf("the rendered policies: exit %d: %s%s", code, out, said)
	}
	weak := replaced(`subjectRegExp: \^(https://github\\\.com/acme/app)\S*`, `subjectRegExp: $1`)(string(w.render()))
	replace(t, c, weak)
	if code, out, said := w.hallmark(nil, "policy", "lint", "--kubeconfig", c.Kubeconfig); code != 3 || !strings.Contains(out, "identity-unanchored") {
		t.Errorf("a weak policy: exit %d: %s%s", code, out, said)
	}

	reader, err := c.ReaderKubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"policy", "lint"}, {"policy", "test", "--would-block"}} {
		code, _, said := w.hallmark(nil, append(args, "--kubeconfig", reader)...)
		if code != 1 || !strings.Contains(said, "hint: ask for the verbs get and list on ") {
			t.Errorf("%v without rights: exit %d: %s", args, code, said)
		}
	}
	// With the role of the documentation, and nothing else, both can be asked.
	if err := c.Must(t.Context(), documentedRole(t)); err != nil {
		t.Fatal(err)
	}
	binding := `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: reader},
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: hallmark-read}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}]}`
	if err := c.Must(t.Context(), []byte(binding)); err != nil {
		t.Fatal(err)
	}
	if err := c.Until(t.Context(), "the rights to be known", func() error {
		for _, args := range [][]string{{"policy", "lint"}, {"policy", "test", "--would-block"}} {
			if code, _, said := w.hallmark(nil, append(args, "--kubeconfig", reader)...); code != 3 && code != 0 {
				return fmt.Errorf("%v: exit %d: %s", args, code, said)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}

	c.KillKyverno()
	if code, _, said := w.hallmark(nil, "policy", "lint", "--kubeconfig", c.Kubeconfig); code != 3 {
		t.Errorf("with Kyverno down: exit %d: %s", code, said)
	}
}

// documentedRole is the ClusterRole that docs/admission.md shows.
func documentedRole(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../docs/admission.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```yaml\napiVersion: rbac.authorization.k8s.io/v1\n")
	role, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("docs/admission.md shows no role")
	}
	return []byte("apiVersion: rbac.authorization.k8s.io/v1\n" + role)
}
