package kyverno

// The objects, with their fields in the order they are written in.

type object struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
	Spec       any      `yaml:"spec"`
}

type metadata struct {
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

type validatingSpec struct {
	FailurePolicy     string        `yaml:"failurePolicy"`
	ValidationActions []string      `yaml:"validationActions,flow"`
	Webhook           webhook       `yaml:"webhookConfiguration"`
	Autogen           vapAutogen    `yaml:"autogen"`
	MatchConstraints  matchResource `yaml:"matchConstraints"`
	Variables         []expression  `yaml:"variables"`
	Validations       []validation  `yaml:"validations"`
}

type imageSpec struct {
	FailurePolicy     string              `yaml:"failurePolicy"`
	ValidationActions []string            `yaml:"validationActions,flow"`
	Webhook           webhook             `yaml:"webhookConfiguration"`
	Evaluation        evaluation          `yaml:"evaluation"`
	MatchConstraints  matchResource       `yaml:"matchConstraints"`
	Images            []map[string]string `yaml:"matchImageReferences"`
	Configurations    configurations      `yaml:"validationConfigurations"`
	Attestors         []attestor          `yaml:"attestors"`
	Attestations      []attestation       `yaml:"attestations"`
	Variables         []expression        `yaml:"variables"`
	Validations       []validation        `yaml:"validations"`
}

type webhook struct {
	TimeoutSeconds int `yaml:"timeoutSeconds"`
}

type enabled struct {
	Enabled bool `yaml:"enabled"`
}

type vapAutogen struct {
	Native enabled `yaml:"validatingAdmissionPolicy"`
}

type evaluation struct {
	Background enabled `yaml:"background"`
}

type matchResource struct {
	Rules []resourceRule `yaml:"resourceRules"`
}

type resourceRule struct {
	Groups     []string `yaml:"apiGroups,flow"`
	Versions   []string `yaml:"apiVersions,flow"`
	Operations []string `yaml:"operations,flow"`
	Resources  []string `yaml:"resources,flow"`
}

type configurations struct {
	MutateDigest bool `yaml:"mutateDigest"`
	VerifyDigest bool `yaml:"verifyDigest"`
	Required     bool `yaml:"required"`
}

type attestor struct {
	Name   string `yaml:"name"`
	Cosign cosign `yaml:"cosign"`
}

type cosign struct {
	Keyless keyless `yaml:"keyless"`
	CTLog   ctlog   `yaml:"ctlog"`
	TUF     *tuf    `yaml:"tuf,omitempty"`
}

type keyless struct {
	Identities []identity `yaml:"identities"`
}

type identity struct {
	Issuer        string `yaml:"issuer"`
	SubjectRegExp string `yaml:"subjectRegExp"`
}

type ctlog struct {
	URL string `yaml:"url"`
}

type tuf struct {
	Mirror string  `yaml:"mirror"`
	Root   tufRoot `yaml:"root"`
}

type tufRoot struct {
	Data string `yaml:"data"`
}

type attestation struct {
	Name   string `yaml:"name"`
	InToto intoto `yaml:"intoto"`
}

type intoto struct {
	Type string `yaml:"type"`
}

type expression struct {
	Name       string `yaml:"name"`
	Expression string `yaml:"expression"`
}

type validation struct {
	Expression        string `yaml:"expression"`
	MessageExpression string `yaml:"messageExpression"`
}

type exceptionSpec struct {
	ExpiresAt  string            `yaml:"expiresAt"`
	Properties map[string]string `yaml:"properties"`
	Refs       []policyRef       `yaml:"policyRefs"`
	Conditions []expression      `yaml:"matchConditions"`
}

type policyRef struct {
	Kind string `yaml:"kind"`
	Name string `yaml:"name"`
}
