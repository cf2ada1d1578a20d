package policy

import "time"

// What a cluster does about an image that is not proven.
const (
	// Enforce refuses it.
	Enforce = "enforce"
	// Audit admits it and reports it.
	Audit = "audit"
)

// DefaultAdmissionTimeout is how long the API server waits for a verdict: the
// longest it can be told to. A registry that is slow for longer is a refusal.
const DefaultAdmissionTimeout = 30 * time.Second

// Admission says what a cluster admits besides the policy's own image, and
// whom it exempts.
type Admission struct {
	// Mode is enforce or audit; default enforce.
	Mode string `yaml:"mode,omitempty" json:"mode,omitempty"`
	// Registries lists what may run beside the policy's own image, such as
	// the cluster's add-ons. Nothing is verified about these images.
	Registries []AllowedRegistry `yaml:"registries,omitempty" json:"registries,omitempty"`
	// AllowTags admits images by tag: each is pinned to its digest first, and
	// the digest is what is verified. Default is by digest only.
	AllowTags bool `yaml:"allow-tags,omitempty" json:"allow-tags,omitempty"`
	// Timeout is how long the API server waits, 1 s to 30 s; default 30 s.
	Timeout *Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// TUFMirror and TUFRoot name the TUF repository that gives a cluster the
	// trusted root, where the policy's trust names none: Kyverno takes a root
	// that is not the public one only that way.
	TUFMirror  string      `yaml:"tuf-mirror,omitempty" json:"tuf-mirror,omitempty"`
	TUFRoot    string      `yaml:"tuf-root,omitempty" json:"tuf-root,omitempty"`
	Exemptions []Exemption `yaml:"exemptions,omitempty" json:"exemptions,omitempty"`
}

// AllowedRegistry is a place whose images may run without evidence.
type AllowedRegistry struct {
	// Prefix is a registry, or a path in one, whole path elements only:
	// registry.k8s.io, or quay.io/cilium.
	Prefix string `yaml:"prefix" json:"prefix"`
	// Namespaces limits it to these; empty for every namespace.
	Namespaces []string `yaml:"namespaces,omitempty" json:"namespaces,omitempty"`
	// AllowTags admits images by tag; default is by digest only.
	AllowTags bool `yaml:"allow-tags,omitempty" json:"allow-tags,omitempty"`
}

// Exemption lets workloads run unjudged until a day, with a name to it. Both
// namespaces and labels must fit where both are given.
type Exemption struct {
	Namespaces []string `yaml:"namespaces,omitempty" json:"namespaces,omitempty"`
	// Labels must all be on the object with these values: on the Pod, and on
	// the Deployment or other object that makes it.
	Labels map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`
	Reason string            `yaml:"reason" json:"reason"`
	Author string            `yaml:"author" json:"author"`
	// Expires is the first instant at which the exemption no longer holds.
	Expires time.Time `yaml:"expires" json:"expires"`
}

// Enforces says that an image that is not proven is refused. Anything but
// audit means so.
func (a Admission) Enforces() bool { return a.Mode != Audit }

// TimeoutSeconds is how long the API server waits for a verdict.
func (a Admission) TimeoutSeconds() int {
	if a.Timeout == nil {
		return int(DefaultAdmissionTimeout / time.Second)
	}
	return int(time.Duration(*a.Timeout) / time.Second)
}

// Covers says that the exemption holds at now for an object of a namespace.
func (e Exemption) Covers(namespace string, labels map[string]string, now time.Time) bool {
	if !now.Before(e.Expires) || len(e.Namespaces)+len(e.Labels) == 0 {
		return false
	}
	inside := len(e.Namespaces) == 0
	for _, n := range e.Namespaces {
		inside = inside || n == namespace
	}
	for key, value := range e.Labels {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return inside
}

// Admits says that the registry may be used in a namespace.
func (r AllowedRegistry) Admits(namespace string) bool {
	for _, n := range r.Namespaces {
		if n == namespace {
			return true
		}
	}
	return len(r.Namespaces) == 0
}

func (a *Admission) fillDefaults() {
	if a.Mode == "" {
		a.Mode = Enforce
	}
	if a.Timeout == nil {
		d := Duration(DefaultAdmissionTimeout)
		a.Timeout = &d
	}
}
