package cluster

import (
	"context"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hallmark-sh/hallmark/internal/workload"
)

var (
	pods        = resource{"", "v1", "pods"}
	deployments = resource{"apps", "v1", "deployments"}
)

// makers are the kinds that make Pods, each before what it makes.
var makers = []resource{
	deployments,
	{"apps", "v1", "statefulsets"},
	{"apps", "v1", "daemonsets"},
	{"batch", "v1", "cronjobs"},
	{"apps", "v1", "replicasets"},
	{"batch", "v1", "jobs"},
	{"", "v1", "replicationcontrollers"},
	pods,
}

// Workloads reads what runs, of one namespace or, for an empty name, of all.
// An object that another one made is told with that one, unless it runs an
// image that its maker does not name: what kubectl debug added, or what a
// rollout has not replaced yet. An old ReplicaSet that wants no Pod is left out.
func (c *Cluster) Workloads(ctx context.Context, namespace string) (workload.List, error) {
	found := make([][]unstructured.Unstructured, len(makers))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, kind := range makers {
		group.Go(func() (err error) {
			found[i], _, err = c.list(inner, kind, namespace)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return workload.List{}, err
	}
	var list workload.List
	made := map[types.UID]int{} // by the place among the list's workloads
	for i := range makers {
		for _, item := range found[i] {
			if over(item) {
				continue
			}
			objects, err := c.read([]unstructured.Unstructured{item})
			if err != nil {
				return workload.List{}, err
			}
			one, err := workload.Of(objects, "default")
			if err != nil {
				return workload.List{}, err
			}
			list.Objects++
			for _, w := range one.Workloads {
				w.File, w.Line = "", 0
				run(item, &w)
				place, known := made[controller(item)]
				if known && list.Workloads[place].Names(w) {
					list.Workloads[place].Ran(w)
				} else {
					place = len(list.Workloads)
					list.Workloads = append(list.Workloads, w)
				}
				made[item.GetUID()] = place
			}
		}
	}
	return list, nil
}

// over says that an object runs nothing any more, or not yet again: a ReplicaSet
// of an earlier rollout, a Job or a Pod that has ended.
func over(item unstructured.Unstructured) bool {
	field := func(path ...string) any {
		v, _, err := unstructured.NestedFieldNoCopy(item.Object, path...)
		if err != nil {
			return nil
		}
		return v
	}
	switch item.GetKind() {
	case "ReplicaSet":
		return field("spec", "replicas") == int64(0)
	case "Job":
		return field("status", "completionTime") != nil
	case "Pod":
		phase := field("status", "phase")
		return phase == "Succeeded" || phase == "Failed"
	}
	return false
}

// controller is who made an object; empty for one that a person made.
func controller(item unstructured.Unstructured) types.UID {
	for _, owner := range item.GetOwnerReferences() {
		if owner.Controller != nil && *owner.Controller {
			return owner.UID
		}
	}
	return ""
}

// run notes which digests the kubelet says that a Pod runs.
func run(item unstructured.Unstructured, w *workload.Workload) {
	if item.GetKind() != "Pod" {
		return
	}
	for _, list := range []string{"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"} {
		statuses, _, err := unstructured.NestedSlice(item.Object, "status", list)
		if err != nil {
			continue
		}
		for _, s := range statuses {
			status, _ := s.(map[string]any)
			name, _ := status["name"].(string)
			id, _ := status["imageID"].(string)
			if _, digest, ok := strings.Cut(id, "@"); ok {
				w.Running(name, digest)
			}
		}
	}
}
