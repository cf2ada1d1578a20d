package lint

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// slow is how long a webhook that asks a registry and Sigstore's services must
// be given, in seconds. Kubernetes allows 30.
const slow = 15

func checkFailurePolicy(e *estate, say report) {
	check := func(o *object, field, value string, denies bool) {
		if value == "Ignore" && denies {
			say(o, field, "Ignore")
		}
	}
	for i := range e.images {
		check(&e.images[i].object, "spec.failurePolicy", e.images[i].Spec.FailurePolicy, e.images[i].Spec.denies())
	}
	for i := range e.validating {
		check(&e.validating[i].object, "spec.failurePolicy", e.validating[i].Spec.FailurePolicy, e.validating[i].Spec.denies())
	}
	for i := range e.legacy {
		p := &e.legacy[i]
		check(&p.object, "spec.failurePolicy", p.Spec.FailurePolicy, true)
		check(&p.object, "spec.webhookConfiguration.failurePolicy", p.Spec.WebhookConfiguration.FailurePolicy, true)
	}
	for i := range e.webhooks {
		w := &e.webhooks[i]
		for n, hook := range w.Webhooks {
			// Of Kyverno's webhooks those that judge resources; the others look
			// at its own objects.
			if strings.Contains(hook.Name, "kyverno.svc-ignore") {
				check(&w.object, fmt.Sprintf("webhooks[%d].failurePolicy", n), hook.FailurePolicy, true)
			}
		}
	}
}

func checkTimeout(e *estate, say report) {
	check := func(o *object, field string, seconds *int) {
		switch {
		case seconds == nil:
			say(o, field, "not set: 10 seconds")
		case *seconds < slow:
			say(o, field, "%d seconds", *seconds)
		}
	}
	for i := range e.images {
		check(&e.images[i].object, "spec.webhookConfiguration.timeoutSeconds", e.images[i].Spec.WebhookConfiguration.TimeoutSeconds)
	}
	seen := map[*legacyPolicy]bool{}
	e.eachImages(func(p *legacyPolicy, _ string, _ legacyImages) {
		if !seen[p] {
			seen[p] = true
			field, seconds := p.timeout()
			check(&p.object, field, seconds)
		}
	})
}

func checkAudit(e *estate, say report) {
	check := func(o *object, c common) {
		switch {
		case !c.denies():
			say(o, "spec.validationActions", "%s", strings.Join(c.ValidationActions, ", "))
		case is(c.Evaluation.Admission.Enabled, false):
			say(o, "spec.evaluation.admission.enabled", "it is not asked at admission")
		}
	}
	for i := range e.images {
		check(&e.images[i].object, e.images[i].Spec.common)
	}
	for i := range e.validating {
		if p := &e.validating[i]; p.aboutImages() && !p.native() { // a native one denies by its binding
			check(&p.object, p.Spec)
		}
	}
	e.eachImages(func(p *legacyPolicy, path string, v legacyImages) {
		if p.audits(v.FailureAction) {
			say(&p.object, path+".failureAction", "Audit")
		}
	})
	for i := range e.legacy {
		p := &e.legacy[i]
		for n, rule := range p.Spec.Rules {
			if rule.restrictsImages() && p.audits(rule.Validate.FailureAction) {
				say(&p.object, fmt.Sprintf("spec.rules[%d].validate.failureAction", n), "Audit")
			}
		}
	}
}

// settings is a Deployment, of which only Kyverno's admission controller
// matters.
type settings struct {
	object `yaml:"-"`
	Spec   struct {
		Template struct {
			Spec struct {
				Containers []struct {
					Image string   `yaml:"image"`
					Args  []string `yaml:"args"`
				} `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

// smallCache is what one SBOM may take, in bytes.
const smallCache = 10_000_000

func checkCache(e *estate, say report) {
	for i := range e.kyvernos {
		d := &e.kyvernos[i]
		for n, c := range d.Spec.Template.Spec.Containers {
			if !isKyverno(c.Image) {
				continue
			}
			where := fmt.Sprintf("spec.template.spec.containers[%d].args", n)
			size, found := "", false
			for _, arg := range c.Args {
				name, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
				switch {
				case name == "imageVerifyCacheEnabled" && value == "false":
					say(&d.object, where, "%s: every image is verified anew for every Pod", arg)
					found, size = true, strconv.Itoa(smallCache)
				case name == "imageVerifyCacheMaxSize":
					found, size = true, value
				}
			}
			bytes, err := strconv.ParseFloat(size, 64)
			switch {
			case !found:
				say(&d.object, where, "imageVerifyCacheMaxSize is not set: 1000 bytes, in which no attestation has room")
			case err != nil || bytes < smallCache:
				say(&d.object, where, "imageVerifyCacheMaxSize is %s bytes, in which few attestations have room", size)
			}
		}
	}
}

// isKyverno says that an image is that of the admission controller, whose
// repository ends in the program's name alone.
func isKyverno(image string) bool {
	image, _, _ = strings.Cut(image, "@")
	name, _, _ := strings.Cut(path.Base(image), ":")
	return name == "kyverno"
}

func checkExceptionErrors(e *estate, say report) {
	for i := range e.exceptions {
		x := &e.exceptions[i]
		checkConditions(&x.object, x.Spec.MatchConditions, say)
	}
	for i := range e.images {
		checkConditions(&e.images[i].object, e.images[i].Spec.MatchConditions, say)
	}
	for i := range e.validating {
		if p := &e.validating[i]; p.aboutImages() {
			checkConditions(&p.object, p.Spec.MatchConditions, say)
		}
	}
}

var (
	ofMaps  = regexp.MustCompile(`\.(labels|annotations)\b`)
	guarded = regexp.MustCompile(`has\([^()]*\.(labels|annotations)(\.\w+)?\)`)
	indexed = regexp.MustCompile(`\.\?(labels|annotations)\s*\[\s*[^?\s]`)
	keys    = regexp.MustCompile(`\.(?:labels|annotations)\s*\[\s*("[^"]*"|'[^']*')\s*\]`)
	fields  = regexp.MustCompile(`\.(labels|annotations)\.(\w+)\s*([^(\w\s]|$)`)
)

// unasked says that a key is read of which nobody asked whether it is there: an
// object that has labels need not have this one.
func unasked(expression string) bool {
	for _, found := range keys.FindAllStringSubmatch(expression, -1) {
		asked := regexp.MustCompile(regexp.QuoteMeta(found[1]) + `\s+in\s+[\w.?]*(labels|annotations)`)
		if !asked.MatchString(expression) {
			return true
		}
	}
	for _, found := range fields.FindAllStringSubmatch(expression, -1) {
		if asked := regexp.MustCompile(`has\([^()]*\.` + found[1] + `\.` + found[2] + `\)`); !asked.MatchString(expression) {
			return true
		}
	}
	return false
}

// checkConditions looks for labels and annotations that are read although an
// object may have none, which is an error of the condition.
func checkConditions(o *object, conditions []expression, say report) {
	for n, c := range conditions {
		if ofMaps.MatchString(c.Expression) && !guarded.MatchString(c.Expression) || indexed.MatchString(c.Expression) || unasked(c.Expression) {
			say(o, fmt.Sprintf("spec.matchConditions[%d].expression", n), "%s", c.Expression)
		}
	}
}

func checkExceptionEnd(e *estate, say report) {
	for i := range e.exceptions {
		x := &e.exceptions[i]
		if x.Spec.ExpiresAt == "" {
			say(&x.object, "spec", "it has no expiresAt")
		} else if _, err := time.Parse(time.RFC3339, x.Spec.ExpiresAt); err != nil {
			say(&x.object, "spec.expiresAt", "%s is no time", x.Spec.ExpiresAt)
		}
	}
}

func checkExceptionWidth(e *estate, say report) {
	for i := range e.exceptions {
		x := &e.exceptions[i]
		switch {
		case !x.old() && len(x.Spec.MatchConditions) == 0:
			say(&x.object, "spec", "it has no matchConditions: everything is exempt")
		case !x.old() && !slices.ContainsFunc(x.Spec.MatchConditions, func(c expression) bool { return looks.MatchString(c.Expression) }):
			say(&x.object, "spec.matchConditions", "none of them looks at what is asked for: everything is exempt")
		case x.old() && !narrow(x.Spec.Match):
			say(&x.object, "spec.match", "it names neither namespaces nor a selector")
		}
	}
}

// looks finds what a condition can read of a request.
var looks = regexp.MustCompile(`\b(object|oldObject|request|namespaceObject|images|variables)\b`)

// narrow says that a match of the older kinds is bound to somewhere.
func narrow(n yaml.Node) bool {
	var match struct {
		Any, All []struct {
			Resources struct {
				Namespaces        []string       `yaml:"namespaces"`
				Names             []string       `yaml:"names"`
				Selector          map[string]any `yaml:"selector"`
				NamespaceSelector map[string]any `yaml:"namespaceSelector"`
			} `yaml:"resources"`
		}
	}
	if err := n.Decode(&match); err != nil {
		return false
	}
	for _, list := range append(match.Any, match.All...) {
		r := list.Resources
		if len(r.Selector)+len(r.NamespaceSelector) == 0 && wide(r.Namespaces) && wide(r.Names) {
			return false
		}
	}
	return len(match.Any)+len(match.All) > 0
}

// wide says that a list of patterns leaves nothing out.
func wide(patterns []string) bool {
	for _, p := range patterns {
		if strings.Trim(p, "*") == "" {
			return true
		}
	}
	return len(patterns) == 0
}

func checkDeprecated(e *estate, say report) {
	for i := range e.deprecated {
		o := &e.deprecated[i].object
		say(o, "apiVersion", "%s %s", o.APIVersion, o.Kind)
	}
}
