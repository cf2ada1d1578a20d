package admission_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/admission"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/workload"
)

var digest = "@sha256:" + strings.Repeat("a", 64)

func rules() policy.Policy {
	return policy.Policy{
		Image: "registry.example/acme/app",
		Admission: policy.Admission{
			Registries: []policy.AllowedRegistry{
				{Prefix: "addons.example", Namespaces: []string{"kube-system"}, AllowTags: true},
				{Prefix: "registry.example/base"},
			},
			Exemptions: []policy.Exemption{{Namespaces: []string{"legacy"}, Reason: "moving", Author: "ops", Expires: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}},
		},
	}
}

func decide(t *testing.T, judge admission.Judge, now time.Time, all ...workload.Workload) []admission.Result {
	t.Helper()
	results, err := admission.Decide(t.Context(), rules(), all, judge, now)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func pod(namespace string, images ...string) workload.Workload {
	w := workload.Workload{Kind: "Pod", Namespace: namespace, Name: "x"}
	for _, image := range images {
		w.Containers = append(w.Containers, workload.Container{Name: "c", Image: image})
	}
	return w
}

func passes(context.Context, name.Reference) (verdict.Verdict, error) {
	return verdict.Verdict{Checks: []verdict.Check{{Name: "signature", Outcome: verdict.Pass}}}, nil
}

// The rules that need no evidence, each with the image that only it refuses.
func TestRules(t *testing.T) {
	before, after := time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		namespace, image, code string
		now                    time.Time
	}{
		{"shop", "registry.example/acme/app" + digest, "", before},
		{"shop", "registry.example/acme/app:v1", admission.CodeTag, before},
		{"shop", "registry.example/acme/app:v1" + digest, "", before},
		{"shop", "registry.example/acme/app-evil" + digest, admission.CodeRegistry, before},
		{"shop", "xregistry.example/acme/app" + digest, admission.CodeRegistry, before},
		{"shop", "registry.example/acme/app/below" + digest, admission.CodeRegistry, before},
		{"shop", "nginx:latest", admission.CodeRegistry, before},
		{"shop", "addons.example/dns:v1", admission.CodeRegistry, before},
		{"kube-system", "addons.example/dns:v1", "", before},
		{"kube-system", "addons.example.evil/dns:v1", admission.CodeRegistry, before},
		{"shop", "registry.example/base/go" + digest, "", before},
		{"shop", "registry.example/base/go:v1", admission.CodeTag, before},
		{"shop", "registry.example/basement/go" + digest, admission.CodeRegistry, before},
		{"shop", "", admission.CodeImage, before},
		{"shop", "registry.example/acme/app@sha256:short", admission.CodeImage, before},
		{"legacy", "nginx:latest", "", before},
		{"legacy", "nginx:latest", admission.CodeRegistry, after},
	} {
		d := decide(t, passes, c.now, pod(c.namespace, c.image))[0].Images[0]
		if d.Code != c.code || d.Allowed != (c.code == "") || d.Reason == "" {
			t.Errorf("%s in %s: %+v, wanted code %q", c.image, c.namespace, d, c.code)
		}
	}
}

// Only a verdict in which every check passed admits; what could not be judged
// is denied.
func TestOnlyAVerdictAdmits(t *testing.T) {
	image := "registry.example/acme/app" + digest
	check := func(name string, outcome verdict.Outcome) verdict.Check {
		return verdict.Check{Name: name, Outcome: outcome, Code: "code-of-" + name, Reason: "r"}
	}
	for _, c := range []struct {
		name    string
		verdict verdict.Verdict
		err     error
		code    string
	}{
		{"no checks", verdict.Verdict{}, nil, admission.CodeJudge},
		{"an error", verdict.Verdict{}, errors.New("registry down"), admission.CodeJudge},
		{"a failure", verdict.Verdict{Checks: []verdict.Check{check("signature", verdict.Pass), check("sbom", verdict.Fail)}}, nil, "code-of-sbom"},
		{"an unknown", verdict.Verdict{Checks: []verdict.Check{check("provenance", verdict.Unknown)}}, nil, "code-of-provenance"},
		{"the cause before the subject", verdict.Verdict{Checks: []verdict.Check{check("subject", verdict.Fail), check("signature", verdict.Fail)}}, nil, "code-of-signature"},
	} {
		judge := func(context.Context, name.Reference) (verdict.Verdict, error) { return c.verdict, c.err }
		results := decide(t, judge, time.Now(), pod("shop", image))
		if d := results[0].Images[0]; d.Allowed || d.Code != c.code || admission.Denied(results) != 1 {
			t.Errorf("%s: %+v, wanted a denial with %q", c.name, d, c.code)
		}
	}
}

// An image that many workloads run is judged once, and all get its verdict in
// their own order.
func TestJudgesAnImageOnce(t *testing.T) {
	var judged atomic.Int32
	judge := func(ctx context.Context, ref name.Reference) (verdict.Verdict, error) {
		judged.Add(1)
		return passes(ctx, ref)
	}
	var all []workload.Workload
	for range 100 {
		all = append(all, pod("shop", "registry.example/acme/app"+digest, "nginx:latest"))
	}
	results := decide(t, judge, time.Now(), all...)
	if n := judged.Load(); n != 1 {
		t.Errorf("one image was judged %d times", n)
	}
	if denied := admission.Denied(results); len(results) != 100 || denied != 100 {
		t.Errorf("%d results with %d denials", len(results), denied)
	}
}
