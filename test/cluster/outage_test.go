//go:build cluster

package cluster_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/test/cluster"
)

// in puts an object into a namespace.
func in(namespace string, o cluster.Object) cluster.Object {
	o["metadata"].(map[string]any)["namespace"] = namespace
	return o
}

// TestEphemeralContainers adds containers to a running Pod, as kubectl debug does.
func TestEphemeralContainers(t *testing.T) {
	w := newWorld(t)
	c := startCluster(t, w)
	good, bad := w.released(ours()).String(), w.push().String()
	running := in("shop", pod(good))
	if answer, err := c.Create(t.Context(), running, false); err != nil || !answer.Allowed() {
		t.Fatalf("%v: %s", err, answer.Message())
	}
	for _, tt := range []struct {
		image    string
		admitted bool
	}{{bad, false}, {"nginx:latest", false}, {w.released(ours()).String(), true}} {
		var now cluster.Object
		if err := c.Get(t.Context(), "/api/v1/namespaces/shop/pods/app", &now); err != nil {
			t.Fatal(err)
		}
		now["spec"].(map[string]any)["ephemeralContainers"] = []any{map[string]any{"name": "debug", "image": tt.image, "terminationMessagePolicy": "File"}}
		answer, err := c.Replace(t.Context(), "/api/v1/namespaces/shop/pods/app/ephemeralcontainers", now)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d %.300s", tt.image, answer.Status, answer.Message())
		if answer.Allowed() != tt.admitted {
			t.Errorf("%s: admitted %v", tt.image, answer.Allowed())
		}
		if !tt.admitted && !strings.Contains(answer.Message(), "hallmark ") {
			t.Errorf("%s: refused for another reason: %s", tt.image, answer.Message())
		}
	}
}

// TestManyContainers hides a bad image among good ones. Not tried is an image named twice before another one: Kyverno
// 1.19.1 then waits for a lock of its own until the API server gives up, and the Pod is refused
// (docs/decisions/0019-an-image-named-twice.md).
func TestManyContainers(t *testing.T) {
	w := newWorld(t)
	c := startCluster(t, w)
	good, other, bad := w.released(ours()).String(), w.released(ours()).String(), w.push().String()
	for _, tt := range []struct {
		images   []string
		admitted bool
	}{
		{[]string{good, other}, true},
		{[]string{good, good}, true},
		{[]string{other, good, good}, true},
		{[]string{bad, good, other}, false},
		{[]string{good, bad, other}, false},
		{[]string{good, other, bad}, false},
	} {
		var containers []any
		for i, image := range tt.images {
			containers = append(containers, map[string]any{"name": string(rune('a' + i)), "image": image})
		}
		said := admits(t, c, in("shop", object("v1", "Pod", map[string]any{"containers": containers})))
		if said.yes != tt.admitted || !said.yes && !strings.Contains(said.words, bad) {
			t.Errorf("%v: %s %s", tt.images, said, said.words)
		}
	}
}

// TestOutages lets Kyverno and the registry fail: what is then refused, and that nothing bad is admitted.
func TestOutages(t *testing.T) {
	w := newWorld(t)
	c := startCluster(t, w)
	unseen, bad := w.released(ours()).String(), w.push().String()

	w.broken.Store(true)
	if said := admits(t, c, in("shop", pod(unseen))); said.yes {
		t.Error("with the registry down an image that nobody has seen is admitted")
	} else {
		t.Logf("registry down: %s", said.words)
	}
	w.broken.Store(false)
	if said := admits(t, c, in("shop", pod(unseen))); !said.yes {
		t.Errorf("with the registry back: %s", said.words)
	}

	c.KillKyverno()
	for _, image := range []string{"nginx:latest", bad} {
		answer, err := c.Create(t.Context(), in("shop", pod(image)), true)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("Kyverno killed, %s: %d %s", image, answer.Status, answer.Message())
		if answer.Allowed() {
			t.Errorf("with Kyverno killed %s is admitted", image)
		}
		if image == "nginx:latest" && !strings.Contains(answer.Message(), "ValidatingAdmissionPolicy") {
			t.Errorf("refused for another reason than the native policy: %s", answer.Message())
		}
	}
	if err := c.StartKyverno(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said := admits(t, c, in("shop", pod(unseen))); !said.yes {
		t.Errorf("with Kyverno back: %s", said.words)
	}
}

// TestMovedTag moves a tag that was admitted to an image that nobody signed.
func TestMovedTag(t *testing.T) {
	w := newWorld(t)
	w.policy = w.writePolicy("hallmark.yaml", "  allow-tags: true\n")
	c := startCluster(t, w)
	good, bad := w.released(ours()), w.push()
	tag := good.Context().Tag("v1")
	if err := w.client.MoveTag(t.Context(), good, "v1"); err != nil {
		t.Fatal(err)
	}
	answer, err := c.Create(t.Context(), in("shop", pod(tag.String())), true)
	if err != nil || !answer.Allowed() {
		t.Fatalf("%v: %s", err, answer.Message())
	}
	var admitted struct {
		Spec struct{ Containers []struct{ Image string } }
	}
	if err := json.Unmarshal(answer.Body, &admitted); err != nil {
		t.Fatal(err)
	}
	if got := admitted.Spec.Containers[0].Image; !strings.HasSuffix(got, good.DigestStr()) {
		t.Errorf("what is admitted is %s, not pinned to %s", got, good.DigestStr())
	}
	if err := w.client.MoveTag(t.Context(), bad, "v1"); err != nil {
		t.Fatal(err)
	}
	if said := admits(t, c, in("shop", pod(tag.String()))); said.yes {
		t.Error("the tag was moved to an unsigned image, which is admitted")
	} else {
		t.Logf("moved tag: %s", said.words)
	}
}

// TestExceptionExpires gives an exemption that was applied an end that has come.
func TestExceptionExpires(t *testing.T) {
	w := newWorld(t)
	w.policy = w.writePolicy("hallmark.yaml", admission)
	c := startCluster(t, w)
	bad := w.push().String()
	if said := admits(t, c, in("legacy", pod(bad))); !said.yes {
		t.Fatalf("the exemption does not hold: %s", said.words)
	}
	objects, err := cluster.Objects(w.render())
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, o := range objects {
		if o["kind"] != "PolicyException" {
			continue
		}
		spec := o["spec"].(cluster.Object)
		spec["expiresAt"] = time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
		if answer, err := c.Apply(t.Context(), o, false); err != nil || !answer.Allowed() {
			t.Fatalf("%v: %s", err, answer.Message())
		}
		changed++
	}
	if changed == 0 {
		t.Fatal("no exception was rendered")
	}
	if err := c.AwaitEnforced(t.Context(), in("legacy", pod(bad)), func(a cluster.Answer) bool { return strings.Contains(a.Message(), "hallmark signature") }); err != nil {
		t.Error(err)
	}
}
