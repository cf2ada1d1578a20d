package kyverno

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

// digestForm is an image named by a digest that Kubernetes pulls.
const digestForm = `^[^@]+@sha256:[0-9a-f]{64}$`

// text writes a string of CEL. What Go and CEL escape alike is all that a
// policy's values can hold.
func text(s string) string { return strconv.Quote(s) }

func texts(list []string) string {
	var quoted []string
	for _, s := range list {
		quoted = append(quoted, text(s))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// within says that the image i is of a repository or below a path.
func within(prefix string, below bool) string {
	ends := []string{"@", ":"}
	if below {
		ends = append(ends, "/")
	}
	parts := []string{"i == " + text(prefix)}
	for _, end := range ends {
		parts = append(parts, "i.startsWith("+text(prefix+end)+")")
	}
	return strings.Join(parts, " || ")
}

// place says that the image i is from a registry that the policy lists, and in
// a namespace it is listed for.
func place(r policy.AllowedRegistry) string {
	where := within(r.Prefix, true)
	if !strings.Contains(r.Prefix, "/") {
		// After a registry's host a colon would be a port: another registry.
		where = "i.startsWith(" + text(r.Prefix+"/") + ")"
	}
	if len(r.Namespaces) == 0 {
		return "(" + where + ")"
	}
	return "(request.namespace in " + texts(r.Namespaces) + " && (" + where + "))"
}

func allowed(p policy.Policy) string {
	parts := []string{"(" + within(p.Image, false) + ")"}
	for _, r := range p.Admission.Registries {
		parts = append(parts, place(r))
	}
	return strings.Join(parts, " ||\n  ")
}

// mayHaveTag excuses images that may be named by tag.
func mayHaveTag(p policy.Policy) string {
	var parts []string
	if p.Admission.AllowTags {
		parts = append(parts, "("+within(p.Image, false)+")")
	}
	for _, r := range p.Admission.Registries {
		if r.AllowTags {
			parts = append(parts, place(r))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " && !(\n  " + strings.Join(parts, " ||\n  ") + ")"
}

// exempts says that an object is exempt. It cannot fail on one without labels.
func exempts(e policy.Exemption) string {
	var parts []string
	if len(e.Namespaces) > 0 {
		parts = append(parts, "request.namespace in "+texts(e.Namespaces))
	}
	for _, key := range slices.Sorted(maps.Keys(e.Labels)) {
		parts = append(parts, fmt.Sprintf(`object.metadata.?labels[?%s].orValue("") == %s`, text(key), text(e.Labels[key])))
	}
	return strings.Join(parts, " && ")
}
