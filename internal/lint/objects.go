package lint

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hallmark-sh/hallmark/internal/manifest"
)

// object is who a policy is and where it stands.
type object struct {
	manifest.Object
	meta metadata
}

type metadata struct {
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace"`
	Annotations map[string]string `yaml:"annotations"`
}

func (o *object) name() string {
	if o.meta.Namespace != "" {
		return o.Kind + "/" + o.meta.Namespace + "/" + o.meta.Name
	}
	return o.Kind + "/" + o.meta.Name
}

// line is where the field of a path such as spec.rules[0].name stands, or the
// nearest one above it that is there.
func (o *object) line(path string) int { return o.node(path).Line }

func (o *object) node(path string) *yaml.Node {
	at, where := o.Node, o.Node
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		key, value := child(manifest.Resolve(at), step)
		if value == nil {
			break
		}
		at, where = value, key
	}
	return where
}

// child gives an item of a list by its number, or a value by its key.
func child(n *yaml.Node, step string) (key, value *yaml.Node) {
	if i, err := strconv.Atoi(step); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
		return n.Content[i], n.Content[i]
	}
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if n.Content[i].Value == step {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// estate is everything that was read, by kind.
type estate struct {
	images     []imagePolicy      // Kyverno's policies about images
	validating []validatingPolicy // Kyverno's and the native ones
	bindings   []binding
	legacy     []legacyPolicy
	exceptions []exception
	webhooks   []webhooks
	kyvernos   []settings
	deprecated []plain
}

// rules are the resources a policy is asked about.
type rules struct {
	ResourceRules []struct {
		Resources     []string `yaml:"resources"`
		ResourceNames []string `yaml:"resourceNames"`
	} `yaml:"resourceRules"`
	NamespaceSelector selector `yaml:"namespaceSelector"`
	ObjectSelector    selector `yaml:"objectSelector"`
}

// selector is a label selector of Kubernetes.
type selector struct {
	MatchLabels      map[string]string `yaml:"matchLabels"`
	MatchExpressions []struct {
		Operator string `yaml:"operator"`
	} `yaml:"matchExpressions"`
}

// picks says that only what carries some label is meant. To leave some out, as
// kube-system often is, is another thing.
func (s selector) picks() bool {
	for _, e := range s.MatchExpressions {
		if e.Operator == "In" || e.Operator == "Exists" {
			return true
		}
	}
	return len(s.MatchLabels) > 0
}

// narrow says that most of a cluster is not meant.
func (r rules) narrow() bool { return r.NamespaceSelector.picks() || r.ObjectSelector.picks() }

func (r rules) covers(resource string) bool {
	group, _, _ := strings.Cut(resource, "/")
	for _, rule := range r.ResourceRules {
		for _, have := range rule.Resources {
			if len(rule.ResourceNames) > 0 {
				continue // it is about some by name
			}
			if have == resource || have == "*/*" || have == "*" && group == resource || have == group+"/*" {
				return true
			}
		}
	}
	return false
}

type expression struct {
	Name       string `yaml:"name"`
	Expression string `yaml:"expression"`
}

// common is what policies of both of Kyverno's new kinds, and native ones, have.
type common struct {
	FailurePolicy        string       `yaml:"failurePolicy"`
	ValidationActions    []string     `yaml:"validationActions"`
	MatchConstraints     rules        `yaml:"matchConstraints"`
	MatchConditions      []expression `yaml:"matchConditions"`
	Variables            []expression `yaml:"variables"`
	Validations          []expression `yaml:"validations"`
	WebhookConfiguration struct {
		TimeoutSeconds *int `yaml:"timeoutSeconds"`
	} `yaml:"webhookConfiguration"`
	Evaluation struct {
		Admission struct {
			Enabled *bool `yaml:"enabled"`
		} `yaml:"admission"`
	} `yaml:"evaluation"`
	Autogen struct {
		PodControllers *struct {
			Controllers []string `yaml:"controllers"`
		} `yaml:"podControllers"`
	} `yaml:"autogen"`
}

// denies says that the policy refuses anything at all.
func (c common) denies() bool {
	if len(c.ValidationActions) == 0 {
		return true
	}
	for _, action := range c.ValidationActions {
		if action == "Deny" || action == "Enforce" {
			return true
		}
	}
	return false
}

// text is every expression of the policy, a line each.
func (c common) text() string {
	var b strings.Builder
	for _, list := range [][]expression{c.Variables, c.Validations} {
		for _, e := range list {
			b.WriteString(e.Expression + "\n")
		}
	}
	return b.String()
}

type identity struct {
	Issuer            string `yaml:"issuer"`
	IssuerRegExp      string `yaml:"issuerRegExp"`
	Subject           string `yaml:"subject"`
	SubjectRegExp     string `yaml:"subjectRegExp"`
	SubjectExpression string `yaml:"subjectExpression"`
}

type imagePolicy struct {
	object `yaml:"-"`
	Spec   struct {
		common               `yaml:",inline"`
		MatchImageReferences []struct {
			Glob string `yaml:"glob"`
		} `yaml:"matchImageReferences"`
		ValidationConfigurations struct {
			MutateDigest *bool `yaml:"mutateDigest"`
			VerifyDigest *bool `yaml:"verifyDigest"`
			Required     *bool `yaml:"required"`
		} `yaml:"validationConfigurations"`
		Credentials struct {
			AllowInsecureRegistry bool `yaml:"allowInsecureRegistry"`
		} `yaml:"credentials"`
		Attestors []struct {
			Name   string `yaml:"name"`
			Cosign *struct {
				Keyless *struct {
					Identities           []identity        `yaml:"identities"`
					AdditionalExtensions map[string]string `yaml:"additionalExtensions"`
				} `yaml:"keyless"`
				CTLog struct {
					InsecureIgnoreSCT  bool `yaml:"insecureIgnoreSCT"`
					InsecureIgnoreTlog bool `yaml:"insecureIgnoreTlog"`
				} `yaml:"ctlog"`
			} `yaml:"cosign"`
		} `yaml:"attestors"`
		Attestations []attestation `yaml:"attestations"`
	} `yaml:"spec"`
}

type attestation struct {
	Name   string `yaml:"name"`
	InToto struct {
		Type string `yaml:"type"`
	} `yaml:"intoto"`
}

type validatingPolicy struct {
	object `yaml:"-"`
	Spec   common `yaml:"spec"`
}

// native says that it is the API server's own kind.
func (p validatingPolicy) native() bool { return p.Kind == "ValidatingAdmissionPolicy" }

type binding struct {
	object `yaml:"-"`
	Spec   struct {
		PolicyName        string   `yaml:"policyName"`
		ValidationActions []string `yaml:"validationActions"`
		MatchResources    rules    `yaml:"matchResources"`
	} `yaml:"spec"`
}

type exception struct {
	object `yaml:"-"`
	Spec   struct {
		ExpiresAt       string       `yaml:"expiresAt"`
		MatchConditions []expression `yaml:"matchConditions"`
		Match           yaml.Node    `yaml:"match"`
	} `yaml:"spec"`
}

func (x exception) old() bool { return strings.HasPrefix(x.APIVersion, "kyverno.io/") }

type webhooks struct {
	object   `yaml:"-"`
	Webhooks []struct {
		Name           string `yaml:"name"`
		FailurePolicy  string `yaml:"failurePolicy"`
		TimeoutSeconds *int   `yaml:"timeoutSeconds"`
	} `yaml:"webhooks"`
}

// plain is an object of which only the kind matters.
type plain struct {
	object `yaml:"-"`
}
