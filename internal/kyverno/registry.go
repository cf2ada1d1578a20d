package kyverno

import (
	"github.com/hallmark-sh/hallmark/internal/policy"
)

var changing = []string{"CREATE", "UPDATE"}

// registryPolicy admits the policy's image and the registries it lists. It
// names every kind that makes Pods itself: Kyverno writes no native policy from
// one whose rules it would have to derive.
func registryPolicy(p policy.Policy, name string) object {
	failure, does := actions(p)
	return object{apiVersion, "ValidatingPolicy", metadata{Name: name}, validatingSpec{
		FailurePolicy: failure, ValidationActions: does,
		Webhook: webhook{p.Admission.TimeoutSeconds()},
		Autogen: vapAutogen{enabled{true}},
		MatchConstraints: matchResource{[]resourceRule{
			{[]string{""}, []string{"v1"}, changing, []string{"pods", "pods/ephemeralcontainers", "replicationcontrollers"}},
			{[]string{"apps"}, []string{"v1"}, changing, []string{"deployments", "daemonsets", "replicasets", "statefulsets"}},
			{[]string{"batch"}, []string{"v1"}, changing, []string{"jobs", "cronjobs"}},
		}},
		Variables: []expression{
			{"pod", `dyn(object).kind == "Pod" ? dyn(object).spec :
dyn(object).kind == "CronJob" ? dyn(object).spec.jobTemplate.spec.template.spec :
dyn(object).spec.template.spec`},
			{"images", `(variables.pod.?containers.orValue([]) +
variables.pod.?initContainers.orValue([]) +
variables.pod.?ephemeralContainers.orValue([])).map(c, c.?image.orValue("(no image)"))`},
			{"foreign", "variables.images.filter(i, !(\n  " + allowed(p) + "))"},
			{"tagged", `variables.images.filter(i, !i.matches("` + digestForm + `")` + mayHaveTag(p) + `)`},
		},
		Validations: []validation{
			{`variables.foreign.size() == 0`,
				`"hallmark registry: " + variables.foreign.join(", ") + " is from no registry that may run in namespace " + request.namespace + ". Write the image with its registry; hallmark.yaml lists the registries under admission.registries"`},
			{`variables.tagged.size() == 0`,
				`"hallmark digest: " + variables.tagged.join(", ") + " is not named by digest, so what runs could change. Ask: hallmark verify " + variables.tagged[0] + " --explain, and deploy the digest that it names"`},
		},
	}}
}
