//go:build cluster

package cluster_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/test/cluster"
)

// startBare starts a cluster with a namespace for tests and no policy.
func startBare(t *testing.T, opts cluster.Options) *cluster.Cluster {
	t.Helper()
	opts.Dir = t.TempDir()
	c, err := cluster.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	if err := c.Namespace(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	return c
}

// must creates an object in the namespace for tests.
func must(t *testing.T, c *cluster.Cluster, o cluster.Object) {
	t.Helper()
	answer, err := c.Create(t.Context(), in("shop", o), false)
	if err != nil || !answer.Allowed() {
		t.Fatalf("creating %s: %v %s", o.Name(), err, answer.Message())
	}
}

type podList struct {
	Items []struct {
		Metadata struct {
			Name            string
			OwnerReferences []struct{ Kind string }
		}
		Spec struct {
			ServiceAccountName string
			Containers         []struct{ Image string }
		}
	}
}

// awaitPods waits for one Pod or for none, and gives those there are.
func awaitPods(t *testing.T, c *cluster.Cluster, n int) podList {
	t.Helper()
	var pods podList
	if err := c.Until(t.Context(), "Pods", func() error {
		pods = podList{}
		if err := c.Get(t.Context(), "/api/v1/namespaces/shop/pods", &pods); err != nil {
			return err
		}
		if len(pods.Items) != n {
			return fmt.Errorf("%d Pods and not %d", len(pods.Items), n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return pods
}

// TestControllers follows a Deployment to its Pod, whose image is the digest that was admitted.
func TestControllers(t *testing.T) {
	w := newWorld(t)
	c := startBare(t, cluster.Options{Controllers: true})
	apply(t, c, w.render())
	enforced(t, c, w)
	good := w.released(ours()).String()

	must(t, c, deployment(good))
	made := awaitPods(t, c, 1).Items[0]
	if got := made.Spec.Containers[0].Image; got != good {
		t.Errorf("the Deployment of %s made a Pod of %s", good, got)
	}
	if owner := made.Metadata.OwnerReferences; len(owner) != 1 || owner[0].Kind != "ReplicaSet" || made.Spec.ServiceAccountName != "default" {
		t.Errorf("the Pod is not what controllers make: %+v", made)
	}

	answer, err := c.Delete(t.Context(), in("shop", deployment(good)))
	if err != nil || !answer.Allowed() {
		t.Fatalf("%v: %s", err, answer.Message())
	}
	awaitPods(t, c, 0)
}

// TestRestartOfUnproven has an unsigned image run since before the policies came. When its Pod goes, no other comes: the
// ReplicaSet says why.
func TestRestartOfUnproven(t *testing.T) {
	w := newWorld(t)
	c := startBare(t, cluster.Options{Controllers: true})
	must(t, c, deployment(w.push().String()))
	before := awaitPods(t, c, 1).Items[0]

	apply(t, c, w.render())
	enforced(t, c, w)
	awaitPods(t, c, 1)
	old := in("shop", pod(""))
	old["metadata"].(map[string]any)["name"] = before.Metadata.Name
	if answer, err := c.Delete(t.Context(), old); err != nil || !answer.Allowed() {
		t.Fatalf("%v: %s", err, answer.Message())
	}
	var said string
	if err := c.Until(t.Context(), "the ReplicaSet to fail", func() error {
		var sets struct {
			Items []struct {
				Status struct {
					Conditions []struct{ Type, Reason, Message string }
				}
			}
		}
		if err := c.Get(t.Context(), "/apis/apps/v1/namespaces/shop/replicasets", &sets); err != nil {
			return err
		}
		for _, set := range sets.Items {
			for _, condition := range set.Status.Conditions {
				if condition.Type == "ReplicaFailure" {
					said = condition.Message
					return nil
				}
			}
		}
		return fmt.Errorf("no failure in %+v", sets)
	}); err != nil {
		t.Fatal(err)
	}
	t.Log(said)
	if !strings.Contains(said, "hallmark signature") {
		t.Errorf("the ReplicaSet fails for another reason: %s", said)
	}
	awaitPods(t, c, 0)

	// Asked about the Deployment, hallmark finds it among the conditions and events of what it made.
	for _, object := range []string{"deployment/app", "deploy/app"} {
		code, out, words := w.hallmark(nil, "why-denied", object, "-n", "shop", "--kubeconfig", c.Kubeconfig)
		if code != 0 || !strings.Contains(out, "REFUSED  by hallmark-acme-app-evidence, signature") || !strings.Contains(out, "verify agrees") {
			t.Errorf("why-denied %s: exit %d: %s%s", object, code, out, words)
		}
	}
	if code, _, words := w.hallmark(nil, "why-denied", "deployment/none", "-n", "shop", "--kubeconfig", c.Kubeconfig); code != 1 || !strings.Contains(words, "has no deployment/none in namespace shop") {
		t.Errorf("why-denied of nothing: exit %d: %s", code, words)
	}
}

// TestNativePolicyIsCollected removes the policy about registries: the API server's own, which Kyverno made of it, goes
// with it, and nothing but the policies about evidence is left.
func TestNativePolicyIsCollected(t *testing.T) {
	w := newWorld(t)
	c := startBare(t, cluster.Options{Controllers: true})
	apply(t, c, w.render())
	enforced(t, c, w)
	native := func() (names []string) {
		var list struct {
			Items []struct{ Metadata struct{ Name string } }
		}
		for _, kind := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
			if err := c.Get(t.Context(), "/apis/admissionregistration.k8s.io/v1/"+kind, &list); err != nil {
				t.Fatal(err)
			}
			for _, item := range list.Items {
				names = append(names, item.Metadata.Name)
			}
		}
		return names
	}
	t.Logf("native: %q", native())
	if len(native()) == 0 {
		t.Fatal("no native policy was made")
	}
	objects, err := cluster.Objects(w.render())
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	for _, o := range objects {
		if o["kind"] != "ValidatingPolicy" {
			continue
		}
		if answer, err := c.Delete(t.Context(), o); err != nil || answer.Status != http.StatusOK {
			t.Fatalf("%v: %s", err, answer.Message())
		}
		removed++
	}
	if removed == 0 {
		t.Fatal("no ValidatingPolicy was rendered")
	}
	if err := c.Until(t.Context(), "the native policies to go", func() error {
		if left := native(); len(left) > 0 {
			return fmt.Errorf("left: %q", left)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
