package cluster

import (
	"bytes"
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/manifest"
)

const (
	// page is how many objects one answer has.
	page = 500
	// most is how many objects of one kind are read. More is an error and not
	// a selection: the missing one could be the one that matters.
	most = 200_000
)

// resource is a kind of object, by the name its URLs have.
type resource struct{ group, version, plural string }

func (r resource) String() string {
	if r.group == "" {
		return r.plural
	}
	return r.plural + "." + r.group
}

// list reads all objects of a kind, of one namespace or of all. A kind that the
// API server doesn't know is told by known.
func (c *Cluster) list(ctx context.Context, r resource, namespace string) (all []unstructured.Unstructured, known bool, err error) {
	kind := c.objects.Resource(schema.GroupVersionResource{Group: r.group, Version: r.version, Resource: r.plural}).Namespace(namespace)
	options := metav1.ListOptions{Limit: page}
	for {
		part, err := kind.List(ctx, options)
		switch {
		case apierrors.IsNotFound(err) && options.Continue == "":
			return nil, false, nil
		case apierrors.IsResourceExpired(err):
			// The list was too old to go on with; what was read says nothing
			// about now.
			all, options.Continue = nil, ""
			if err := ctx.Err(); err != nil {
				return nil, false, c.explain(err, "listing "+r.String(), r.String())
			}
			continue
		case err != nil:
			return nil, false, c.explain(err, "listing "+r.String(), r.String())
		}
		if all = append(all, part.Items...); len(all) > most {
			err := fmt.Errorf("listing %s of %s: more than %d", r, c.Server, most)
			return nil, false, hint.Add(err, "ask about one namespace at a time")
		}
		if options.Continue = part.GetContinue(); options.Continue == "" {
			return all, true, nil
		}
	}
}

// read gives objects in the form in which manifests are read.
func (c *Cluster) read(items []unstructured.Unstructured) ([]manifest.Object, error) {
	var all []manifest.Object
	for i := range items {
		name := items[i].GetName()
		if namespace := items[i].GetNamespace(); namespace != "" {
			name = namespace + "/" + name
		}
		raw, err := items[i].MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", items[i].GetKind(), name, err)
		}
		one, err := manifest.Read(items[i].GetKind()+" "+name, bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	return all, nil
}
