package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	// prefixForm is a registry's host, or a path of whole elements in one.
	prefixForm    = regexp.MustCompile(`^(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+|[a-z0-9.-]+:[0-9]+)(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	namespaceForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// labelForm and labelValueForm are Kubernetes' (apimachinery, validation).
	labelForm      = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	labelValueForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
)

func (c checker) admission(a Admission, t Trust) {
	c.oneOf("admission.mode", a.Mode, Enforce, Audit)
	if d := time.Duration(*a.Timeout); d < time.Second || d > 30*time.Second || d%time.Second != 0 {
		c.wrong("admission.timeout", "must be whole seconds from 1s to 30s, as Kubernetes allows a webhook")
	}
	for i, r := range a.Registries {
		at := fmt.Sprintf("admission.registries[%d]", i)
		c.prefix(at+".prefix", r.Prefix)
		c.namespaces(at+".namespaces", r.Namespaces)
	}
	for i, e := range a.Exemptions {
		at := fmt.Sprintf("admission.exemptions[%d]", i)
		c.exemption(at, e)
		for j, other := range a.Exemptions[:i] {
			if same(e, other) {
				c.wrong(at, "overlaps exemptions[%d]: both are for the same workloads, so that the later expiry would hold for both", j)
			}
		}
	}
	switch {
	case (a.TUFMirror == "") != (a.TUFRoot == ""):
		c.wrong("admission", "tuf-mirror and tuf-root go together: the mirror is believed from its first root on")
	case a.TUFMirror != "" && t.Root == RootPublic:
		c.wrong("admission.tuf-mirror", "is not for trust.root: public, whose TUF repository is known")
	case a.TUFMirror != "" && !addressForm.MatchString(a.TUFMirror):
		c.wrong("admission.tuf-mirror", "is not an https URL without a password in it")
	}
}

func (c checker) prefix(path, prefix string) {
	switch {
	case prefix == "":
		c.wrong(path, "is missing: a registry or a path in one, such as registry.k8s.io")
	case strings.Contains(prefix, "*"):
		c.wrong(path, "is not a pattern: it already stands for everything below it")
	case !prefixForm.MatchString(prefix):
		c.wrong(path, "%q is not a registry or a path in one, such as registry.k8s.io or quay.io/cilium", prefix)
	}
}

func (c checker) namespaces(path string, names []string) {
	for i, n := range names {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !namespaceForm.MatchString(n) {
			c.wrong(at, "%q is not the name of a namespace", n)
		} else if slices.Contains(names[:i], n) {
			c.wrong(at, "%s is there twice", n)
		}
	}
}

func (c checker) exemption(path string, e Exemption) {
	if len(e.Namespaces)+len(e.Labels) == 0 {
		c.wrong(path, "is for nobody in particular and so for everything; name namespaces or labels")
	}
	c.namespaces(path+".namespaces", e.Namespaces)
	for key, value := range e.Labels {
		switch at := join(path+".labels", key); {
		case !labelForm.MatchString(key):
			c.wrong(at, "%q is not the key of a label", key)
		case !labelValueForm.MatchString(value):
			c.wrong(at, "%q is not the value of a label", value)
		}
	}
	for _, f := range []struct{ key, value, want string }{
		{"reason", e.Reason, "why these workloads may run unjudged"},
		{"author", e.Author, "who answers for it"},
	} {
		if strings.TrimSpace(f.value) == "" {
			c.wrong(path+"."+f.key, "is missing: %s", f.want)
		}
	}
	if e.Expires.IsZero() {
		c.wrong(path+".expires", "is missing: the day from which it no longer holds, such as 2027-01-31")
	}
}

// same says that two exemptions can be for one workload: they share a
// namespace, or one is for any, and their labels do not exclude each other.
func same(a, b Exemption) bool {
	shared := len(a.Namespaces) == 0 || len(b.Namespaces) == 0
	for _, n := range a.Namespaces {
		shared = shared || slices.Contains(b.Namespaces, n)
	}
	if len(a.Namespaces)+len(a.Labels) == 0 {
		return false
	}
	if !shared || len(a.Labels) != len(b.Labels) {
		return false
	}
	for key, value := range a.Labels {
		if other, ok := b.Labels[key]; !ok || other != value {
			return false
		}
	}
	return true
}
