package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

var events = resource{"", "v1", "events"}

// Denials gives what was said when a workload's Pods, or the workload itself,
// were refused: the warnings among the events, and the conditions, of the
// object and of all that it made. The kind may be in the plural or short, as
// kubectl takes it. Events live for an hour. An object that isn't there is an
// error, and one of which nothing was said gives none.
func (c *Cluster) Denials(ctx context.Context, namespace, kind, name string) ([]string, error) {
	family := map[types.UID]bool{}
	var messages []string
	for _, r := range makers {
		items, _, err := c.list(ctx, r, namespace)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if family[controller(item)] || item.GetName() == name && means(kind, r, item.GetKind()) {
				family[item.GetUID()] = true
				messages = append(messages, conditions(item)...)
			}
		}
	}
	if len(family) == 0 {
		err := fmt.Errorf("%s has no %s/%s in namespace %s", c.Server, kind, name, namespace)
		return nil, hint.Add(err, "name another with -n; what was refused itself never came to be: paste what kubectl said then")
	}
	found, _, err := c.list(ctx, events, namespace)
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		about, _, err := unstructured.NestedString(e.Object, "involvedObject", "uid")
		if err != nil || !family[types.UID(about)] {
			continue
		}
		if message, _, err := unstructured.NestedString(e.Object, "message"); err == nil {
			messages = append(messages, message)
		}
	}
	slices.Sort(messages)
	return slices.Compact(messages), nil
}

// means says that a word is kubectl's for a kind.
func means(word string, r resource, kind string) bool {
	word, _, _ = strings.Cut(strings.ToLower(word), ".")
	return word == strings.ToLower(kind) || word == r.plural || word == short[r.plural]
}

// short are kubectl's short names.
var short = map[string]string{
	"pods": "po", "deployments": "deploy", "replicasets": "rs", "statefulsets": "sts", "daemonsets": "ds",
	"cronjobs": "cj", "replicationcontrollers": "rc",
}

// conditions are the messages of an object's conditions.
func conditions(item unstructured.Unstructured) []string {
	list, _, err := unstructured.NestedSlice(item.Object, "status", "conditions")
	if err != nil {
		return nil
	}
	var out []string
	for _, one := range list {
		fields, _ := one.(map[string]any)
		if message, _ := fields["message"].(string); message != "" {
			out = append(out, message)
		}
	}
	return out
}
