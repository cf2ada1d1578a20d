//go:build cluster

package cluster_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/test/cluster"
)

// doctors is what hallmark doctor finds of the cluster, a state for each check; a check that gives several has its worst.
func (w *world) doctors(c *cluster.Cluster) (states map[string]string, said string) {
	w.t.Helper()
	code, out, words := w.hallmark(nil, "doctor", "--json", "--kubeconfig", c.Kubeconfig,
		"--only", "cluster,cluster-policies,cluster-weaknesses,cluster-webhooks")
	var answer struct {
		Healthy  bool
		Findings []struct {
			Check, Status, Seen string
			Facts               []string
		}
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		w.t.Fatalf("exit %d: %v: %s", code, err, words)
	}
	if answer.Healthy != (code == 0) {
		w.t.Errorf("healthy is %v and the exit code %d", answer.Healthy, code)
	}
	states = map[string]string{}
	worst := []string{"ok", "unchecked", "warning", "broken"}
	rank := func(s string) int { return strings.Index(strings.Join(worst, " "), s) }
	for _, f := range answer.Findings {
		said += fmt.Sprintf("%s %s: %s %v\n", f.Check, f.Status, f.Seen, f.Facts)
		if rank(f.Status) >= rank(states[f.Check]) {
			states[f.Check] = f.Status
		}
	}
	return states, said
}

// TestDoctor examines a cluster that is as hallmark.yaml means it, and then one thing broken at a time.
func TestDoctor(t *testing.T) {
	w := newWorld(t)
	c := startCluster(t, w)
	strong := string(w.render())
	expect := func(name, check, want, says string) {
		t.Helper()
		states, said := w.doctors(c)
		if states[check] != want || !strings.Contains(said, says) {
			t.Errorf("%s: %s is %s, want %s, with %q in\n%s", name, check, states[check], want, says, said)
		}
		t.Logf("%s:\n%s", name, said)
	}
	states, said := w.doctors(c)
	for check, state := range states {
		// Kyverno is a process here and no Deployment, so that nobody can say whether its replicas are there.
		if want := map[bool]string{true: "unchecked", false: "ok"}[check == "cluster-webhooks"]; state != want {
			t.Errorf("healthy: %s is %s\n%s", check, state, said)
		}
	}
	t.Logf("healthy:\n%s", said)

	replace(t, c, replaced(`subjectRegExp: \^(https://github\\\.com/acme/app)\S*`, `subjectRegExp: $1`)(strong))
	expect("a policy that somebody changed", "cluster-policies", "broken", "spec.attestors[0].cosign.keyless.identities[0].subjectRegExp")
	expect("a weak policy", "cluster-weaknesses", "broken", "identity-unanchored")
	replace(t, c, strong)
	expect("put back", "cluster-policies", "ok", "are what hallmark.yaml means")

	gone := cluster.Object{"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": map[string]any{"name": "hallmark-acme-app-evidence"}}
	if answer, err := c.Delete(t.Context(), gone); err != nil || !answer.Allowed() {
		t.Fatalf("%v: %s", err, answer.Message())
	}
	expect("a policy that is gone", "cluster-policies", "broken", "the cluster lacks ImageValidatingPolicy hallmark-acme-app-evidence")
	replace(t, c, strong)

	more := strings.ReplaceAll(strong, "name: hallmark-acme-app-evidence-debug", "name: hallmark-acme-app-forgotten")
	replace(t, c, more)
	expect("a policy nobody means", "cluster-policies", "warning", "hallmark-acme-app-forgotten, which hallmark.yaml does not mean")
}

// kyvernoDeployment is what Kyverno's chart would have made, of another version and with nothing set.
const kyvernoDeployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: kyverno-admission-controller, namespace: kyverno},
spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}},
spec: {containers: [{name: kyverno, image: "reg.kyverno.io/kyverno/kyverno:v1.18.2", args: [--v=2]}]}}}}`

// TestDoctorOfKyverno examines Kyverno by its Deployment: an old one, with the cache it comes with, and no replica.
func TestDoctorOfKyverno(t *testing.T) {
	w := newWorld(t)
	c := startBare(t, cluster.Options{})
	if err := c.Must(t.Context(), []byte(kyvernoDeployment)); err != nil {
		t.Fatal(err)
	}
	states, said := w.doctors(c)
	t.Log(said)
	for check, want := range map[string]string{"cluster": "warning", "cluster-policies": "broken", "cluster-weaknesses": "warning", "cluster-webhooks": "broken"} {
		if states[check] != want {
			t.Errorf("%s is %s, want %s", check, states[check], want)
		}
	}
	for _, words := range []string{"runs Kyverno v1.18.2", "cache-size", "no replica of Deployment kyverno-admission-controller in kyverno is available", "the cluster lacks"} {
		if !strings.Contains(said, words) {
			t.Errorf("it does not say %q", words)
		}
	}
}
