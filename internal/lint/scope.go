package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// aboutImages says that a policy looks at the names of a Pod's images.
func (p validatingPolicy) aboutImages() bool {
	text := p.Spec.text()
	return strings.Contains(text, "ontainers") && strings.Contains(text, "image")
}

// restricting are the policies that look at the names of images. Whether they
// refuse is told by a code of its own.
func (e *estate) restricting() []*validatingPolicy {
	var all []*validatingPolicy
	for i := range e.validating {
		if p := &e.validating[i]; p.aboutImages() {
			all = append(all, p)
		}
	}
	return all
}

const debug = "pods/ephemeralcontainers"

func checkEphemeral(e *estate, say report) {
	for i := range e.images {
		p := &e.images[i]
		if p.Spec.MatchConstraints.covers("pods") && !slices.ContainsFunc(e.images, func(other imagePolicy) bool {
			return other.Spec.MatchConstraints.covers(debug) && sameImages(*p, other)
		}) {
			say(&p.object, "spec.matchConstraints.resourceRules", "no policy about the same images is asked about %s", debug)
		}
	}
	policies := e.restricting()
	for _, p := range policies {
		text := p.Spec.text()
		switch {
		case p.Spec.MatchConstraints.covers("pods") && !slices.ContainsFunc(policies, func(other *validatingPolicy) bool {
			return other.Spec.MatchConstraints.covers(debug) && strings.Contains(other.Spec.text(), "ephemeralContainers")
		}):
			say(&p.object, "spec.matchConstraints.resourceRules", "no policy about the names of images is asked about %s", debug)
		case !strings.Contains(text, "ephemeralContainers") && p.Spec.MatchConstraints.covers(debug):
			say(&p.object, "spec.validations", "no expression reads ephemeralContainers")
		}
	}
}

// sameImages says that two policies are about the same images, as far as the
// patterns tell.
func sameImages(a, b imagePolicy) bool {
	if len(b.Spec.MatchImageReferences) == 0 {
		return true
	}
	for _, one := range a.Spec.MatchImageReferences {
		if slices.Contains(b.Spec.MatchImageReferences, one) {
			return true
		}
	}
	return false
}

func checkInit(e *estate, say report) {
	for _, p := range e.restricting() {
		if !strings.Contains(p.Spec.text(), "initContainers") {
			say(&p.object, "spec.validations", "no expression reads initContainers")
		}
	}
	for i := range e.images {
		p := &e.images[i]
		// Where a verdict about every matched image is required, one that is
		// forgotten is refused.
		if text := p.Spec.text(); is(p.Spec.ValidationConfigurations.Required, false) &&
			strings.Contains(text, "images.containers") && !strings.Contains(text, "images.initContainers") {
			say(&p.object, "spec.validations", "no expression reads images.initContainers")
		}
	}
}

func is(b *bool, want bool) bool { return b != nil && *b == want }

func checkControllers(e *estate, say report) {
	check := func(o *object, c common, native bool) {
		m := c.MatchConstraints
		switch {
		case !m.covers("pods") || m.covers("deployments"):
		case native:
			say(o, "spec.matchConstraints.resourceRules", "it is asked about pods and not about deployments")
		case m.covers(debug):
			say(o, "spec.matchConstraints.resourceRules", "pods and %s stand together, so that Kyverno makes no rules for Deployments", debug)
		case c.Autogen.PodControllers != nil && len(c.Autogen.PodControllers.Controllers) == 0:
			say(o, "spec.autogen.podControllers", "no controllers are listed")
		}
	}
	for i := range e.images {
		check(&e.images[i].object, e.images[i].Spec.common, false)
	}
	for _, p := range e.restricting() {
		check(&p.object, p.Spec, p.native())
	}
}

// checkRegistries looks for a policy that says, for every namespace, which
// registries may be used, and refuses the others.
func checkRegistries(e *estate, say report) {
	if slices.ContainsFunc(e.restricting(), e.closes) || slices.ContainsFunc(e.legacy, legacyPolicy.closes) {
		return
	}
	for i := range e.images {
		p := &e.images[i]
		var globs []string
		for _, m := range p.Spec.MatchImageReferences {
			globs = append(globs, m.Glob)
		}
		if !takesAll(globs) {
			say(&p.object, "spec.matchImageReferences", "an image beside %s is not judged, and admitted", strings.Join(globs, ", "))
		}
	}
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		if !takesAll(v.ImageReferences) {
			say(&p.object, path+".imageReferences", "an image beside %s is not judged, and admitted", strings.Join(v.ImageReferences, ", "))
		}
	})
}

// closes says that a policy is about the Pods of all namespaces whose images
// are from elsewhere. One that looks at tags alone, or holds in some namespaces,
// leaves the rest open. That one only tells is a code of its own.
func (e *estate) closes(p *validatingPolicy) bool {
	return (!p.native() || e.bound(p)) && !strings.HasPrefix(p.Kind, "Namespaced") && p.Spec.MatchConstraints.covers("pods") && !p.Spec.MatchConstraints.narrow() && namesPlace(p.Spec.text())
}

var (
	quotations = regexp.MustCompile(`"([^"]*)"|'([^']*)'`)
	// places are a registry's host, or a repository.
	places = regexp.MustCompile(`^\^?(?:[a-zA-Z0-9-]+(?:\\{0,2}\.[a-zA-Z0-9-]+)+|localhost)(?::[0-9]+)?(?:/|$)|^[a-z0-9._-]+/[a-z0-9./_*-]*$`)
)

// namesPlace says that an expression has the name of a registry or repository
// in quotation marks.
func namesPlace(expressions string) bool {
	for _, found := range quotations.FindAllStringSubmatch(expressions, -1) {
		if places.MatchString(found[1] + found[2]) {
			return true
		}
	}
	return false
}

func takesAll(globs []string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool { return g != "" && strings.Trim(g, "*/") == "" })
}

var prefixes = regexp.MustCompile(`startsWith\(\s*(?:"([^"]*)"|'([^']*)')`)

// checkPrefixes looks at how the names of images are compared.
func checkPrefixes(e *estate, say report) {
	for _, p := range e.restricting() {
		for _, list := range []struct {
			path string
			all  []expression
		}{{"variables", p.Spec.Variables}, {"validations", p.Spec.Validations}} {
			for i, x := range list.all {
				for _, found := range prefixes.FindAllStringSubmatch(x.Expression, -1) {
					prefix := found[1] + found[2]
					if !strings.Contains(x.Expression, "image") && !strings.Contains(prefix, ".") {
						continue // about something else
					}
					if prefix != "" && !strings.ContainsAny(prefix[len(prefix)-1:], "/@:") {
						say(&p.object, fmt.Sprintf("spec.%s[%d].expression", list.path, i), "%q begins other names too", prefix)
					}
				}
			}
		}
	}
}

func checkBindings(e *estate, say report) {
	for i := range e.validating {
		p := &e.validating[i]
		if p.native() && !e.bound(p) {
			say(&p.object, "metadata.name", "no ValidatingAdmissionPolicyBinding that denies names it")
		}
	}
}

// bound says that a native policy refuses anything, in all namespaces.
func (e *estate) bound(p *validatingPolicy) bool {
	return slices.ContainsFunc(e.bindings, func(b binding) bool {
		return b.Spec.PolicyName == p.meta.Name && slices.Contains(b.Spec.ValidationActions, "Deny") && !b.Spec.MatchResources.narrow()
	})
}
