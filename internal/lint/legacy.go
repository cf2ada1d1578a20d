package lint

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// legacyPolicy is a ClusterPolicy or Policy of kyverno.io, as far as it is
// about images.
type legacyPolicy struct {
	object `yaml:"-"`
	Spec   struct {
		ValidationFailureAction string `yaml:"validationFailureAction"`
		FailurePolicy           string `yaml:"failurePolicy"`
		WebhookTimeoutSeconds   *int   `yaml:"webhookTimeoutSeconds"`
		WebhookConfiguration    struct {
			FailurePolicy  string `yaml:"failurePolicy"`
			TimeoutSeconds *int   `yaml:"timeoutSeconds"`
		} `yaml:"webhookConfiguration"`
		Rules []legacyRule `yaml:"rules"`
	} `yaml:"spec"`
}

type legacyRule struct {
	Match    yaml.Node `yaml:"match"`
	Validate struct {
		FailureAction string    `yaml:"failureAction"`
		Pattern       yaml.Node `yaml:"pattern"`
		ForEach       yaml.Node `yaml:"foreach"`
		CEL           yaml.Node `yaml:"cel"`
	} `yaml:"validate"`
	VerifyImages []legacyImages `yaml:"verifyImages"`
}

type legacyImages struct {
	Type            string              `yaml:"type"`
	ImageReferences []string            `yaml:"imageReferences"`
	MutateDigest    *bool               `yaml:"mutateDigest"`
	VerifyDigest    *bool               `yaml:"verifyDigest"`
	Required        *bool               `yaml:"required"`
	UseCache        *bool               `yaml:"useCache"`
	FailureAction   string              `yaml:"failureAction"`
	Attestors       []legacyAttestor    `yaml:"attestors"`
	Attestations    []legacyAttestation `yaml:"attestations"`
}

type legacyAttestation struct {
	Type          string           `yaml:"type"`
	PredicateType string           `yaml:"predicateType"`
	Attestors     []legacyAttestor `yaml:"attestors"`
	Conditions    []yaml.Node      `yaml:"conditions"`
}

// kind is the predicate type, which had another name once.
func (a legacyAttestation) kind() string { return cmp.Or(a.Type, a.PredicateType) }

type legacyAttestor struct {
	Entries []struct {
		Keyless *struct {
			identity             `yaml:",inline"`
			AdditionalExtensions map[string]string `yaml:"additionalExtensions"`
			Rekor                struct {
				IgnoreTlog bool `yaml:"ignoreTlog"`
			} `yaml:"rekor"`
			CTLog struct {
				IgnoreSCT bool `yaml:"ignoreSCT"`
			} `yaml:"ctlog"`
		} `yaml:"keyless"`
	} `yaml:"entries"`
}

// bundles says that the rule reads the bundles of cosign 3 and not the tags of
// cosign 2.
func (v legacyImages) bundles() bool { return v.Type == "SigstoreBundle" }

// notary says that the rule is about Notary's signatures, of which nothing is
// known here.
func (v legacyImages) notary() bool { return v.Type == "Notary" }

// eachImages goes through all verifyImages of the estate.
func (e *estate) eachImages(f func(p *legacyPolicy, path string, v legacyImages)) {
	for i := range e.legacy {
		p := &e.legacy[i]
		for r, rule := range p.Spec.Rules {
			for n, v := range rule.VerifyImages {
				f(p, fmt.Sprintf("spec.rules[%d].verifyImages[%d]", r, n), v)
			}
		}
	}
}

// timeout is the first that is set.
func (p *legacyPolicy) timeout() (path string, seconds *int) {
	if p.Spec.WebhookConfiguration.TimeoutSeconds != nil {
		return "spec.webhookConfiguration.timeoutSeconds", p.Spec.WebhookConfiguration.TimeoutSeconds
	}
	return "spec.webhookTimeoutSeconds", p.Spec.WebhookTimeoutSeconds
}

// audits says that an action refuses nothing; the policy's holds for rules that
// give none, and its default is to audit.
func (p *legacyPolicy) audits(action string) bool {
	if action == "" {
		action = p.Spec.ValidationFailureAction
	}
	return !strings.EqualFold(action, "Enforce")
}

// restrictsImages says that a rule looks at the names of images.
func (r legacyRule) restrictsImages() bool {
	return slices.ContainsFunc(r.texts(), func(text string) bool { return strings.Contains(text, "image") })
}

// texts are what a rule compares objects with.
func (r legacyRule) texts() (all []string) {
	for _, n := range []yaml.Node{r.Validate.Pattern, r.Validate.ForEach, r.Validate.CEL} {
		if text, err := yaml.Marshal(&n); err == nil && !n.IsZero() {
			all = append(all, string(text))
		}
	}
	return all
}

// images are the patterns of a rule that an image must match.
var images = regexp.MustCompile(`(?m)image"?: *["']?([^"'\n]+)`)

// closes says that one of the policy's rules is about images from elsewhere, in
// all namespaces.
func (p legacyPolicy) closes() bool {
	return p.Kind == "ClusterPolicy" && slices.ContainsFunc(p.Spec.Rules, func(r legacyRule) bool {
		return !narrow(r.Match) && slices.ContainsFunc(r.texts(), func(text string) bool {
			for _, found := range images.FindAllStringSubmatch(text, -1) {
				for pattern := range strings.SplitSeq(found[1], "|") {
					if pattern = strings.TrimSpace(pattern); !strings.HasPrefix(pattern, "!") && places.MatchString(strings.TrimRight(pattern, "*")) {
						return true
					}
				}
			}
			return strings.Contains(text, "image") && namesPlace(text) && strings.Contains(text, "expression")
		})
	})
}
