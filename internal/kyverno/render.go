package kyverno

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// Input is what the policies are made of.
type Input struct {
	Policy policy.Policy
	// TUFRoot is the first root of the TUF repository that the policy names,
	// as read from its file; unused for the public root.
	TUFRoot []byte
	// Now decides which exemptions have expired; those are left out.
	Now time.Time
}

// File is one rendered file.
type File struct {
	// Name is a file name without a folder.
	Name string
	Data []byte
}

// Render makes the admission policies. The same input gives the same bytes.
func Render(in Input) ([]File, error) {
	root, err := trustRoot(in)
	if err != nil {
		return nil, err
	}
	n := NamesOf(in.Policy)
	files := []struct {
		name, about string
		objects     []object
	}{
		{"registry.yaml", "Which images may run where. Kyverno writes a native ValidatingAdmissionPolicy\nfrom it, which refuses also while Kyverno is down.",
			[]object{registryPolicy(in.Policy, n.Registry)}},
		{"evidence.yaml", "What must be proven about " + in.Policy.Image + ". Kyverno makes the same rules for\neverything that makes Pods from the rules for Pods.",
			[]object{evidencePolicy(in.Policy, n.Evidence, "pods", root)}},
		{"evidence-debug.yaml", "The same for containers added by kubectl debug. It is a policy of its own: one\nthat lists pods/ephemeralcontainers is not applied to Deployments and their like.",
			[]object{evidencePolicy(in.Policy, n.Ephemeral, "pods/ephemeralcontainers", root)}},
		{"exemptions.yaml", "Who is exempt, why, and until when.", exemptions(in, n)},
	}
	var out []File
	for _, f := range files {
		if len(f.objects) == 0 {
			continue
		}
		data, err := write(in.Policy, f.about, f.objects)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", f.name, err)
		}
		out = append(out, File{f.name, data})
	}
	return out, nil
}

func write(p policy.Policy, about string, objects []object) ([]byte, error) {
	var b bytes.Buffer
	head := about + "\n\nRendered by hallmark policy render; change hallmark.yaml instead."
	for line := range strings.SplitSeq(head, "\n") {
		b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for _, o := range objects {
		if o.Metadata.Labels == nil {
			o.Metadata.Labels = map[string]string{}
		}
		o.Metadata.Labels["app.kubernetes.io/managed-by"] = "hallmark"
		if o.Metadata.Annotations == nil {
			o.Metadata.Annotations = map[string]string{}
		}
		o.Metadata.Annotations["hallmark.sh/image"] = p.Image
		if p.Digest != "" {
			o.Metadata.Annotations["hallmark.sh/policy-digest"] = p.Digest
		}
		if err := enc.Encode(o); err != nil {
			return nil, err
		}
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// TUFRootFile names the file whose content Input.TUFRoot must hold; empty for
// a policy that needs none.
func TUFRootFile(p policy.Policy) string {
	if p.Admission.TUFRoot != "" {
		return p.Admission.TUFRoot
	}
	return p.Trust.TUFRoot
}

// trustRoot is nil for the public root, which Kyverno knows.
func trustRoot(in Input) (*tuf, error) {
	p := in.Policy
	if p.Trust.Root == policy.RootPublic {
		return nil, nil
	}
	mirror := p.Admission.TUFMirror
	if mirror == "" {
		mirror = p.Trust.TUFMirror
	}
	if mirror == "" {
		return nil, hint.Add(fmt.Errorf("rendering policies: the %s root is a file, and Kyverno takes a root only from a TUF repository", p.Trust.Root),
			"serve trusted_root.json from a TUF repository, and name it with admission.tuf-mirror and admission.tuf-root")
	}
	if len(in.TUFRoot) == 0 {
		return nil, errors.New("rendering policies: the first root of the TUF repository is empty")
	}
	return &tuf{Mirror: mirror, Root: tufRoot{base64.StdEncoding.EncodeToString(in.TUFRoot)}}, nil
}

func actions(p policy.Policy) (failure string, does []string) {
	if p.Admission.Enforces() {
		return "Fail", []string{"Deny"}
	}
	// A policy that only reports must not stop anything by being down.
	return "Ignore", []string{"Audit"}
}

// exemptions are the exceptions that have not expired. Each has one condition:
// of several, the native policy would take any one for enough.
func exemptions(in Input, n Names) []object {
	var out []object
	for i, e := range in.Policy.Admission.Exemptions {
		if !in.Now.Before(e.Expires) {
			continue
		}
		name := fmt.Sprintf("%s-%d", n.Exemption, i+1)
		out = append(out, object{apiVersion, "PolicyException", metadata{
			Name: name, Namespace: exceptionNamespace,
			// Kyverno's cleanup controller removes what has this label, and
			// with it the exemption from the native policy, which knows no time.
			Labels: map[string]string{"cleanup.kyverno.io/ttl": e.Expires.UTC().Format("2006-01-02T150405Z")},
		}, exceptionSpec{
			ExpiresAt:  e.Expires.UTC().Format(time.RFC3339),
			Properties: map[string]string{"reason": e.Reason, "author": e.Author},
			Refs: []policyRef{
				{"ValidatingPolicy", n.Registry}, {"ImageValidatingPolicy", n.Evidence}, {"ImageValidatingPolicy", n.Ephemeral},
			},
			Conditions: []expression{{name, exempts(e)}},
		}})
	}
	return out
}
