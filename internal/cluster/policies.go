package cluster

import (
	"context"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hallmark-sh/hallmark/internal/manifest"
)

// Policies are what a cluster has to admit or refuse by.
type Policies struct {
	// Objects are policies, exceptions, bindings, webhook configurations, and
	// Kyverno's admission controllers.
	Objects []manifest.Object
	// Absent are the kinds that the API server doesn't know, such as
	// imagevalidatingpolicies.policies.kyverno.io without Kyverno.
	Absent []string
}

var policyKinds = []resource{
	{"policies.kyverno.io", "v1", "imagevalidatingpolicies"},
	{"policies.kyverno.io", "v1", "namespacedimagevalidatingpolicies"},
	{"policies.kyverno.io", "v1", "validatingpolicies"},
	{"policies.kyverno.io", "v1", "namespacedvalidatingpolicies"},
	{"policies.kyverno.io", "v1", "policyexceptions"},
	{"kyverno.io", "v1", "clusterpolicies"},
	{"kyverno.io", "v1", "policies"},
	{"kyverno.io", "v2", "policyexceptions"},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings"},
	{"admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"},
	{"admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"},
	deployments,
}

// Policies reads the admission policies of both of Kyverno's generations, the
// native ones, and what they rest on.
func (c *Cluster) Policies(ctx context.Context) (Policies, error) {
	found := make([][]unstructured.Unstructured, len(policyKinds))
	known := make([]bool, len(policyKinds))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, kind := range policyKinds {
		group.Go(func() (err error) {
			found[i], known[i], err = c.list(ctx, kind, "")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Policies{}, err
	}
	var p Policies
	for i, kind := range policyKinds {
		if !known[i] {
			p.Absent = append(p.Absent, kind.String())
		}
		if kind == deployments {
			found[i] = kyvernos(found[i])
		}
		objects, err := c.read(found[i])
		if err != nil {
			return Policies{}, err
		}
		p.Objects = append(p.Objects, objects...)
	}
	return p, nil
}

// kyvernos are the Deployments of Kyverno's admission controller, by its image.
func kyvernos(all []unstructured.Unstructured) []unstructured.Unstructured {
	var out []unstructured.Unstructured
	for _, d := range all {
		containers, _, err := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "containers")
		if err != nil {
			continue // no Deployment that an API server would have taken
		}
		for _, container := range containers {
			fields, _ := container.(map[string]any)
			image, _ := fields["image"].(string)
			image, _, _ = strings.Cut(image, "@")
			if name, _, _ := strings.Cut(path.Base(image), ":"); name == "kyverno" {
				out = append(out, d)
				break
			}
		}
	}
	return out
}
