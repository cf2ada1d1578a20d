package terraform

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// statement is one statement of an IAM policy, however it was written. Texts are the literal pieces that its values are
// made of.
type statement struct {
	at         hcl.Range
	effect     string
	actions    []string
	notAction  bool
	principals []principal
	notPrinc   bool
	conditions []condition
}

type principal struct {
	kind  string // AWS, Federated, Service, or * for everybody
	texts []string
}

type condition struct {
	operator, key string
	texts         []string
	certain       bool // stands in every outcome, not just on one side of a condition
}

const (
	github = "token.actions.githubusercontent.com"
	eksPod = "pods.eks.amazonaws.com"
)

// judge finds what must not stand in an Allow. A Deny may name everybody.
func (c *checker) judge(s statement) {
	if s.effect == "Deny" {
		return
	}
	if s.effect != "Allow" {
		c.found(s.at, "the effect of a statement cannot be read: write Allow or Deny")
		return
	}
	if s.notAction {
		c.found(s.at, "an Allow with NotAction allows every action but those")
	}
	if s.notPrinc {
		c.found(s.at, "an Allow with NotPrincipal trusts everybody but those")
	}
	for _, action := range s.actions {
		if strings.Contains(action, "*") {
			c.found(s.at, "action %q is a pattern: name each action", action)
		}
	}
	for _, p := range s.principals {
		c.principal(s, p)
	}
	for _, cond := range s.conditions {
		switch {
		case strings.HasPrefix(cond.operator, "ForAllValues"):
			c.found(s.at, "%s on %s in an Allow is true for a claim that is absent: use StringEquals", cond.operator, cond.key)
		case strings.HasSuffix(cond.operator, "IfExists"):
			c.found(s.at, "%s on %s in an Allow is true for a claim that is absent: use %s", cond.operator, cond.key, strings.TrimSuffix(cond.operator, "IfExists"))
		}
	}
	c.trust(s)
}

func (c *checker) principal(s statement, p principal) {
	if p.kind == "*" {
		c.found(s.at, "principal * is everybody")
		return
	}
	for _, text := range p.texts {
		if strings.Contains(text, "*") {
			c.found(s.at, "principal %q of %s is a pattern: name each", text, p.kind)
		}
	}
}

// trust judges a statement that lets somebody take a role.
func (c *checker) trust(s statement) {
	web := false
	for _, action := range s.actions {
		web = web || action == "sts:AssumeRoleWithWebIdentity"
	}
	actions, pods := false, false
	for _, p := range s.principals {
		web = web || p.kind == "Federated"
		for _, text := range p.texts {
			actions = actions || strings.Contains(text, github)
			pods = pods || text == eksPod
		}
	}
	if pods {
		c.demand(s, "aws:RequestTag/kubernetes-namespace", "any pod of the cluster can be given the role")
		c.demand(s, "aws:RequestTag/kubernetes-service-account", "any service account of the namespace can be given the role")
	}
	if !web {
		return
	}
	c.demand(s, ":sub", "every token of the issuer is trusted")
	c.demand(s, ":aud", "a token meant for another service is trusted")
	for _, cond := range s.conditions {
		actions = actions || strings.HasPrefix(cond.key, github)
	}
	if actions {
		c.demand(s, ":repository_id", "whoever takes over the repository's name is trusted")
		c.demand(s, ":job_workflow_ref", "every workflow of the repository is trusted")
	}
}

// demand finds that no exact condition holds a claim in every case.
func (c *checker) demand(s statement, suffix, otherwise string) {
	exact, loose := false, ""
	for _, cond := range s.conditions {
		if !strings.HasSuffix(cond.key, suffix) {
			continue
		}
		if cond.operator != "StringEquals" || !cond.certain {
			loose = cond.operator
			continue
		}
		exact = true
		for _, text := range cond.texts {
			if strings.ContainsAny(text, "*?") {
				c.found(s.at, "the condition on %s holds a pattern, %q: StringEquals takes it for that very text", strings.TrimPrefix(suffix, ":"), text)
			}
		}
	}
	claim := strings.TrimPrefix(suffix, ":")
	switch {
	case exact:
	case loose == "":
		c.found(s.at, "a trust policy without a condition on %s: %s", claim, otherwise)
	default:
		c.found(s.at, "a trust policy whose condition on %s is not a certain StringEquals but %s: %s", claim, loose, otherwise)
	}
}
