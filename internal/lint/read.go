package lint

import (
	"slices"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/manifest"
)

// read sorts the objects by kind and gives how many are of no kind known here.
func read(objects []manifest.Object) (*estate, int, error) {
	e := &estate{}
	passed := 0
	for _, o := range objects {
		known, err := e.add(o)
		if err != nil {
			return nil, 0, err
		}
		if !known {
			passed++
		}
	}
	return e, passed, nil
}

// add takes one object, and says whether it is of a kind known here.
func (e *estate) add(o manifest.Object) (bool, error) {
	group, _, _ := strings.Cut(o.APIVersion, "/")
	var err error
	switch group + " " + o.Kind {
	case "policies.kyverno.io ImageValidatingPolicy", "policies.kyverno.io NamespacedImageValidatingPolicy":
		e.images, err = decoded(e.images, o)
	case "policies.kyverno.io ValidatingPolicy", "policies.kyverno.io NamespacedValidatingPolicy",
		"admissionregistration.k8s.io ValidatingAdmissionPolicy":
		e.validating, err = decoded(e.validating, o)
	case "admissionregistration.k8s.io ValidatingAdmissionPolicyBinding":
		e.bindings, err = decoded(e.bindings, o)
	case "kyverno.io ClusterPolicy", "kyverno.io Policy":
		e.legacy, err = decoded(e.legacy, o)
	case "policies.kyverno.io PolicyException", "kyverno.io PolicyException":
		e.exceptions, err = decoded(e.exceptions, o)
	case "admissionregistration.k8s.io ValidatingWebhookConfiguration", "admissionregistration.k8s.io MutatingWebhookConfiguration":
		e.webhooks, err = decoded(e.webhooks, o)
	case "apps Deployment":
		e.kyvernos, err = decoded(e.kyvernos, o)
	case "kyverno.io CleanupPolicy", "kyverno.io ClusterCleanupPolicy":
		// deprecated, and nothing else of interest
	default:
		if group != "policies.kyverno.io" {
			return false, nil
		}
	}
	if err == nil && deprecated(o, group) {
		e.deprecated, err = decoded(e.deprecated, o)
	}
	return true, err
}

// deprecated says that Kyverno 1.19 warns of the kind or of its version.
func deprecated(o manifest.Object, group string) bool {
	return group == "kyverno.io" && slices.Contains([]string{"ClusterPolicy", "Policy", "PolicyException", "CleanupPolicy", "ClusterCleanupPolicy"}, o.Kind) ||
		o.APIVersion == "policies.kyverno.io/v1alpha1"
}

// decodable is a kind of object, by a pointer to it.
type decodable[T any] interface {
	*T
	self() *object
}

func decoded[T any, P decodable[T]](list []T, o manifest.Object) ([]T, error) {
	var it T
	if err := o.Node.Decode(&it); err != nil {
		return nil, o.Wrong(o.Node, "reading it as a %s: %s", o.Kind, strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
	}
	var who struct {
		Metadata metadata `yaml:"metadata"`
	}
	if err := o.Node.Decode(&who); err != nil {
		return nil, o.Wrong(o.Node, "reading its metadata: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	*P(&it).self() = object{Object: o, meta: who.Metadata}
	return append(list, it), nil
}

func (o *object) self() *object { return o }
