package workload_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/workload"
)

// spec is a Pod spec of three kinds of containers, indented by so much.
func spec(indent int) string {
	text := "initContainers: [{name: i, image: a}]\ncontainers: [{name: c, image: b}, {name: d, image: c}]\nephemeralContainers: [{name: e, image: d}]"
	pad := strings.Repeat(" ", indent)
	return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
}

func images(l workload.List) []string {
	var all []string
	for _, w := range l.Workloads {
		for _, c := range w.Containers {
			all = append(all, fmt.Sprintf("%s %s/%s %s %s", w.Kind, w.Namespace, w.Name, c.Role, c.Image))
		}
	}
	return all
}

// Every kind that makes Pods gives the images of all its containers.
func TestKinds(t *testing.T) {
	template := "spec:\n  template:\n    spec:\n" + spec(6)
	for kind, body := range map[string]string{
		"v1 Pod":                   "spec:\n" + spec(2),
		"v1 ReplicationController": template,
		"apps/v1 Deployment":       template,
		"apps/v1 StatefulSet":      template,
		"apps/v1 DaemonSet":        template,
		"apps/v1 ReplicaSet":       template,
		"batch/v1 Job":             template,
		"batch/v1 CronJob":         "spec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n" + spec(10),
		"argoproj.io/v1 Rollout":   template,
	} {
		version, name, _ := strings.Cut(kind, " ")
		list, err := workload.Read("f", strings.NewReader(fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: x}\n%s\n", version, name, body)), "here")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{}
		for role, all := range map[string]string{"init": "a", "container": "bc", "ephemeral": "d"} {
			for _, image := range all {
				want[fmt.Sprintf("%s here/x %s %c", name, role, image)] = true
			}
		}
		got := map[string]bool{}
		for _, i := range images(list) {
			got[i] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
}

func TestLargeList(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: List\nitems:\n")
	const n = 10_000
	for i := range n {
		fmt.Fprintf(&b, "- {apiVersion: v1, kind: Pod, metadata: {name: p%d, namespace: n}, spec: {containers: [{name: c, image: r/i@%d}]}}\n", i, i)
	}
	list, err := workload.Read("f", strings.NewReader(b.String()), "default")
	if err != nil {
		t.Fatal(err)
	}
	last := list.Workloads[len(list.Workloads)-1]
	if len(list.Workloads) != n || last.Name != "p9999" || last.Line != n+3 {
		t.Errorf("%d workloads, the last %+v", len(list.Workloads), last)
	}
}

// What is no manifest is an error that names the file, and the line where there
// is one; nothing is read then.
func TestWrong(t *testing.T) {
	for text, want := range map[string]string{
		"kind: Pod\n  spec: [":                                               "f: not YAML: line 2",
		"kind: Pod\nspec: {containers: []}":                                  "f:1: this is no Kubernetes object",
		"apiVersion: v1\nkind: Pod":                                          "f:1: it has no spec",
		"apiVersion: v1\nkind: Pod\nspec: {containers: 7}":                   "f:3: containers must be a list",
		"apiVersion: v1\nkind: Pod\nkind: Job":                               "f:3: kind is there twice",
		"- just\n- a list":                                                   "f:1",
		"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: [1, 2]": "f:5: image must be text",
		"a: &a [x, x]\nb: &b [*a, *a]\nkind: [*b, *b]":                       "f:3",
	} {
		list, err := workload.Read("f", strings.NewReader(text), "default")
		if err == nil || !strings.Contains(err.Error(), want) || len(list.Workloads) != 0 {
			t.Errorf("%q: %v and %d workloads, wanted an error with %q", text, err, len(list.Workloads), want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("apiVersion: v1\nkind: Pod\nspec:\n" + spec(2))
	f.Add("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, spec: {containers: [{image: a}]}}]")
	f.Add("---\n# c\n---\n{}")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := workload.Read("f", strings.NewReader(text), "default")
		if err != nil && len(list.Workloads) > 0 {
			t.Error("an error and workloads")
		}
		for _, w := range list.Workloads {
			if w.Kind == "" || len(w.Containers) == 0 && w.Line == 0 {
				t.Errorf("%+v", w)
			}
		}
	})
}
