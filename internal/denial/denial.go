// Package denial reads why a cluster refused something, out of what people have
// at hand: the error that kubectl or Helm printed, an event, the condition of a
// ReplicaSet, or a whole listing with such words in it.
//
// It knows the messages of the policies that package kyverno renders, those of
// the API server around them, and the ways in which Kyverno itself fails. It
// looks nothing up and judges nothing; what it does not know it calls unknown.
package denial

import (
	"regexp"
	"slices"
	"strings"
)

// Kind is what refused.
type Kind string

// The kinds of refusals.
const (
	// Rule is a rule of the policies that hallmark rendered.
	Rule Kind = "rule"
	// Undecided is a policy of hallmark's that could not be evaluated.
	Undecided Kind = "undecided"
	// Unreachable is an admission webhook that did not answer.
	Unreachable Kind = "unreachable"
	// Foreign is somebody else's policy.
	Foreign Kind = "foreign"
)

// Denial is one refusal.
type Denial struct {
	Kind Kind `json:"kind"`
	// Policy is the policy's or the webhook's name.
	Policy string `json:"policy"`
	// Link is the rule: registry, digest, signature, sbom, scan or provenance;
	// empty for all kinds but Rule.
	Link string `json:"link,omitempty"`
	// Images are those the message names, each once.
	Images []string `json:"images,omitempty"`
	// Message is what was said, from the policy's own words on.
	Message string `json:"message"`
}

const (
	webhookSaid = `admission webhook "([^"]+)" denied the request: `
	nativeSaid  = `ValidatingAdmissionPolicy '([^']+)' with binding '[^']+' denied request: `
	noAnswer    = `failed calling webhook "([^"]+)": `
)

var (
	begins = regexp.MustCompile(webhookSaid + "|" + nativeSaid + "|" + noAnswer)
	policy = regexp.MustCompile(`^Policy (\S+) (failed|error): `)
	rule   = regexp.MustCompile(`hallmark (registry|digest|signature|sbom|scan|provenance): (\S+(?:, \S+)*) (?:is from no registry|is not named by digest|is not signed|has no )`)
	suffix = regexp.MustCompile(`^(?:i?vpol)\.(?:validate|mutate)\.kyverno\.svc-(?:fail|ignore)(?:-finegrained)?-?`)
)

// Read finds the refusals in a text, in the order they stand, each once.
func Read(text string) []Denial {
	var all []Denial
	for _, part := range parts(unescape(text)) {
		d := read(part)
		if !slices.ContainsFunc(all, func(other Denial) bool {
			return other.Kind == d.Kind && other.Policy == d.Policy && other.Link == d.Link && slices.Equal(other.Images, d.Images) && sameCause(other, d)
		}) {
			all = append(all, d)
		}
	}
	return all
}

// sameCause says that two failures came of the same; rules have none.
func sameCause(a, b Denial) bool {
	one, _ := a.Cause()
	other, _ := b.Cause()
	return a.Kind == Rule || one == other
}

// unescape undoes what JSON and YAML listings do to quotes and ends of lines.
func unescape(text string) string {
	return strings.NewReplacer(`\"`, `"`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&", `\n`, "\n").Replace(text)
}

// part is a text that begins with a refusal, and what begins it.
type part struct{ webhook, native, silent, said string }

// parts cuts the text where refusals begin.
func parts(text string) []part {
	var all []part
	found := begins.FindAllStringSubmatchIndex(text, -1)
	for i, m := range found {
		end := len(text)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		group := func(n int) string {
			if m[2*n] < 0 {
				return ""
			}
			return text[m[2*n]:m[2*n+1]]
		}
		said, _, _ := strings.Cut(text[m[1]:end], "\n\n")
		all = append(all, part{group(1), group(2), group(3), strings.Join(strings.Fields(said), " ")})
	}
	return all
}

func read(p part) Denial {
	d := Denial{Kind: Foreign, Message: p.said}
	switch {
	case p.silent != "":
		d.Kind, d.Policy = Unreachable, name(p.silent)
		return d
	case p.native != "":
		d.Policy = strings.TrimPrefix(p.native, "vpol-")
	default:
		d.Policy = name(p.webhook)
	}
	failed := false
	if m := policy.FindStringSubmatch(p.said); m != nil {
		d.Policy, failed = m[1], m[2] == "error"
	}
	m := rule.FindStringSubmatch(p.said)
	switch {
	case failed && strings.HasPrefix(d.Policy, "hallmark-"):
		d.Kind = Undecided
	case m != nil:
		d.Kind, d.Link = Rule, m[1]
		d.Images = slices.Compact(slices.Sorted(slices.Values(strings.Split(m[2], ", "))))
	}
	return d
}

// name is the policy's name within a webhook's, or the webhook's.
func name(webhook string) string {
	if short := suffix.ReplaceAllString(webhook, ""); short != "" {
		return short
	}
	return webhook
}

// Cause says in plain words what kept an admission controller from deciding,
// and what to do about it. The words are of Kyverno 1.19 and of Go's network
// library.
func (d Denial) Cause() (why, next string) {
	for _, c := range causes {
		if slices.ContainsFunc(c.signs, func(sign string) bool { return strings.Contains(d.Message, sign) }) {
			return c.why, c.next
		}
	}
	if d.Kind == Unreachable {
		return "the admission webhook gave no answer", "look at the Pods and the log of Kyverno's admission controller"
	}
	return "the policy could not be evaluated", "look at the log of Kyverno's admission controller"
}

var causes = []struct {
	signs     []string
	why, next string
}{
	{[]string{"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "manifest unknown", "404 Not Found"}, "the registry has no such image, or shows it not to this cluster",
		"check the image's name, and that it was pushed; hallmark verify IMAGE says the same from here"},
	{[]string{"UNAUTHORIZED", "DENIED", "401 Unauthorized", "403 Forbidden", "no basic auth"}, "the registry does not let Kyverno read",
		"give Kyverno's service account the right to pull; terraform/modules/identity shows it for ECR"},
	{[]string{"TOOMANYREQUESTS", "429"}, "the registry wants fewer requests",
		"set Kyverno's cache in bytes as charts/kyverno-values.yaml does, and try again"},
	{[]string{"500 Internal", "502 Bad", "503 Service", "504 Gateway"}, "the registry is in trouble",
		"try again; Kyverno refuses while it cannot look"},
	{[]string{"tuf", "TUF"}, "the trust root could not be fetched",
		"see that Kyverno reaches the TUF repository; hallmark policy check names it"},
	{[]string{"no such host", "network is unreachable", "i/o timeout"}, "the registry or the trust root cannot be reached from the cluster",
		"see that Kyverno's Pods may reach both; a NetworkPolicy may be in the way"},
	{[]string{"context deadline exceeded", "Client.Timeout"}, "it took longer than the webhook may take",
		"set timeoutSeconds: 30 and the cache in bytes; a Pod that names one image twice meets a fault of Kyverno 1.19.1 (docs/decisions/0019)"},
	{[]string{"connection refused", "no endpoints available", "EOF"}, "Kyverno does not run, and its policies refuse while it doesn't",
		"look at the Pods of Kyverno's admission controller"},
}
