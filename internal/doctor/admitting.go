package doctor

import (
	"context"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/hallmark-sh/hallmark/internal/lint"
	"github.com/hallmark-sh/hallmark/internal/manifest"
)

const namedCluster = "name the cluster with --context, or --kubeconfig"

func checkCluster(ctx context.Context, x *examination) []Finding {
	if x.Cluster == nil {
		return unchecked(namedCluster, "no cluster was named")
	}
	version, err := x.Cluster.Version(ctx)
	if err != nil {
		return failed(err, namedCluster)
	}
	found, err := x.policies(ctx)
	if err != nil {
		return failed(err, namedCluster)
	}
	if slices.Contains(found.Absent, "imagevalidatingpolicies.policies.kyverno.io") {
		return []Finding{broken("install Kyverno 1.19 with charts/kyverno-values.yaml; docs/kubernetes.md says how", "%s, Kubernetes %s, has no Kyverno that knows image policies", x.Cluster.Server, version)}
	}
	out := ok("%s, Kubernetes %s, with Kyverno's policies", x.Cluster.Server, version)
	for _, o := range found.Objects {
		if o.Kind == "Deployment" {
			out = append(out, kyvernoVersion(o)...)
		}
	}
	return out
}

// leastKyverno is the Kyverno that the rendered policies are for and tested
// with.
const leastKyverno = "v1.19.1"

// kyvernoVersion reads the version from the tag of the admission controller's
// image.
func kyvernoVersion(o manifest.Object) []Finding {
	var d struct {
		Metadata struct{ Name string }
		Spec     struct {
			Template struct {
				Spec struct{ Containers []struct{ Image string } }
			}
		}
	}
	if err := o.Node.Decode(&d); err != nil {
		return failed(fmt.Errorf("reading %s: %w", o.File, err), "")
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		image, _, _ := strings.Cut(c.Image, "@")
		name, tag, _ := strings.Cut(path.Base(image), ":")
		switch {
		case name != "kyverno":
		case !semver.IsValid(tag):
			return unchecked("look at the image "+c.Image, "which Kyverno %s runs is not told by its tag", d.Metadata.Name)
		case semver.Compare(tag, leastKyverno) < 0:
			return []Finding{warning("upgrade Kyverno to "+leastKyverno+" or later", "%s runs Kyverno %s; the rendered policies are for %s", d.Metadata.Name, tag, leastKyverno)}
		default:
			return ok("%s runs Kyverno %s", d.Metadata.Name, tag)
		}
	}
	return nil
}

// checkPolicies compares the policies that the cluster has with those that
// hallmark.yaml means.
func checkPolicies(ctx context.Context, x *examination) []Finding {
	if x.Cluster == nil {
		return unchecked(namedCluster, "no cluster was named")
	}
	found, err := x.policies(ctx)
	if err != nil {
		return failed(err, namedCluster)
	}
	const mend = "hallmark policy render | kubectl apply -f -"
	have := map[string]map[string]any{}
	for _, o := range found.Objects {
		fields, err := fieldsOf(o)
		if err != nil {
			return failed(err, "")
		}
		have[identity(fields)] = fields
	}
	var out []Finding
	wanted := map[string]bool{}
	for _, o := range x.Rendered {
		want, err := fieldsOf(o)
		if err != nil {
			return failed(err, "")
		}
		name := identity(want)
		wanted[name] = true
		there, known := have[name]
		if !known {
			out = append(out, broken(mend, "the cluster lacks %s", name))
			continue
		}
		if changed := differences("spec", want["spec"], there["spec"]); len(changed) > 0 {
			f := broken(mend, "%s is not what hallmark.yaml means", name)
			f.Facts = changed
			out = append(out, f)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if !wanted[name] && managed(have[name]) && aboutImage(have[name], x.Policy.Image) {
			out = append(out, warning("kubectl delete it, if hallmark.yaml no longer means it", "the cluster has %s, which hallmark.yaml does not mean", name))
		}
	}
	if len(out) > 0 {
		return out
	}
	if !x.Policy.Admission.Enforces() {
		return []Finding{warning("look at hallmark policy test --would-block, then write admission: {mode: enforce}", "the %d policies are what hallmark.yaml means, and refuse nothing: its mode is audit", len(wanted))}
	}
	return ok("the %d policies are what hallmark.yaml means", len(wanted))
}

func fieldsOf(o manifest.Object) (map[string]any, error) {
	var fields map[string]any
	if err := o.Node.Decode(&fields); err != nil {
		return nil, fmt.Errorf("reading %s: %w", o.File, err)
	}
	return fields, nil
}

func identity(fields map[string]any) string {
	meta, _ := fields["metadata"].(map[string]any)
	name := fmt.Sprint(fields["kind"], " ", meta["name"])
	if namespace, _ := meta["namespace"].(string); namespace != "" {
		name += " in " + namespace
	}
	return name
}

func managed(fields map[string]any) bool {
	meta, _ := fields["metadata"].(map[string]any)
	labels, _ := meta["labels"].(map[string]any)
	return labels["app.kubernetes.io/managed-by"] == "hallmark"
}

func aboutImage(fields map[string]any, image string) bool {
	meta, _ := fields["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	return annotations["hallmark.sh/image"] == image
}

// differences lists the fields that are wanted and are not so. What a cluster
// adds, by its defaults, is no difference.
func differences(at string, want, have any) []string {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return []string{at}
		}
		var out []string
		for _, key := range slices.Sorted(maps.Keys(w)) {
			out = append(out, differences(at+"."+key, w[key], h[key])...)
		}
		return out
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return []string{at}
		}
		var out []string
		for i := range w {
			out = append(out, differences(fmt.Sprintf("%s[%d]", at, i), w[i], h[i])...)
		}
		return out
	}
	if reflect.DeepEqual(want, have) || fmt.Sprint(want) == fmt.Sprint(have) {
		return nil
	}
	return []string{at}
}

// checkWeaknesses lints all that the cluster admits by.
func checkWeaknesses(ctx context.Context, x *examination) []Finding {
	if x.Cluster == nil {
		return unchecked(namedCluster, "no cluster was named")
	}
	found, err := x.policies(ctx)
	if err != nil {
		return failed(err, namedCluster)
	}
	report, err := lint.Run(found.Objects)
	if err != nil {
		return failed(err, "")
	}
	if len(report.Findings) == 0 {
		return ok("no known weakness in %d objects", report.Policies)
	}
	mend := "hallmark policy lint --context " + x.Cluster.Context
	f := warning(mend, "%d known weaknesses in %d objects: %s", len(report.Findings), report.Policies, strings.Join(report.Codes(), ", "))
	if report.Worst(lint.High) {
		f.Status = Broken
	}
	return []Finding{f}
}

// checkWebhooks looks whether Kyverno had the API server ask it about the
// policies, and whether anybody would answer.
func checkWebhooks(ctx context.Context, x *examination) []Finding {
	if x.Cluster == nil {
		return unchecked(namedCluster, "no cluster was named")
	}
	found, err := x.policies(ctx)
	if err != nil {
		return failed(err, namedCluster)
	}
	names := map[string]bool{}
	var out []Finding
	kyvernos := 0
	for _, o := range found.Objects {
		fields, err := fieldsOf(o)
		if err != nil {
			return failed(err, "")
		}
		hooks, _ := fields["webhooks"].([]any)
		for _, h := range hooks {
			hook, _ := h.(map[string]any)
			names[fmt.Sprint(hook["name"])] = true
		}
		if o.Kind == "Deployment" {
			kyvernos++
			status, _ := fields["status"].(map[string]any)
			if fmt.Sprint(status["availableReplicas"]) == "<nil>" {
				out = append(out, broken("kubectl -n kyverno get pods; kubectl -n kyverno logs deploy/kyverno-admission-controller", "no replica of %s is available", identity(fields)))
			}
		}
	}
	for _, o := range x.Rendered {
		if o.Kind != "ImageValidatingPolicy" {
			continue
		}
		fields, err := fieldsOf(o)
		if err != nil {
			return failed(err, "")
		}
		meta, _ := fields["metadata"].(map[string]any)
		suffix := "-finegrained-" + fmt.Sprint(meta["name"])
		if !slices.ContainsFunc(slices.Collect(maps.Keys(names)), func(n string) bool { return strings.HasSuffix(n, suffix) }) {
			out = append(out, broken("see that Kyverno runs, and what kubectl describe says of the policy", "the API server asks nobody about %s", identity(fields)))
		}
	}
	if len(out) > 0 {
		return out
	}
	asked := ok("the API server asks Kyverno about every policy")
	if kyvernos == 0 {
		return append(asked, unchecked("kubectl get pods -A | grep kyverno", "no Deployment of Kyverno was seen, so whether it answers was not looked at")...)
	}
	return asked
}
