// Package admission says what a cluster would do about workloads, without one:
// it applies the rules about registries and digests, and has every image of the
// policy's own judged by package verify's verdicts. It makes no verdict itself.
//
// The rules are those that package kyverno renders, and the test cluster holds
// that the two agree. What cannot be judged is denied, as a cluster does.
package admission

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/workload"
)

// The codes of denials besides those of verdicts.
const (
	CodeImage    = "image-unreadable"
	CodeRegistry = "registry-not-allowed"
	CodeTag      = "not-by-digest"
	CodeJudge    = "could-not-judge"
)

// Decision is what would be done about one container.
type Decision struct {
	Container string        `json:"container"`
	Role      workload.Role `json:"role"`
	Image     string        `json:"image"`
	Line      int           `json:"line,omitempty"`
	// Allowed is false for a denial, whatever the policy's mode.
	Allowed bool `json:"allowed"`
	// Link is what decided: exemption, registry, digest, or the first check
	// of the verdict that did not pass; "evidence" where all passed.
	Link string `json:"link"`
	// Code is empty for an image that is allowed.
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason"`
	Next   string `json:"next,omitempty"`
	// Digest is what was judged, "sha256:hex"; empty when nothing was.
	Digest string `json:"digest,omitempty"`
	// Running are the digests that a cluster says it runs now under this name;
	// empty for a manifest.
	Running []string `json:"running,omitempty"`
}

// Drifted says that something else runs than what was judged.
func (d Decision) Drifted() bool {
	return d.Digest != "" && slices.ContainsFunc(d.Running, func(r string) bool { return r != d.Digest })
}

// Result is what would be done about one workload.
type Result struct {
	workload.Workload
	Images []Decision `json:"images"`
}

// Denied counts the images that would be refused.
func Denied(results []Result) int {
	n := 0
	for _, r := range results {
		for _, d := range r.Images {
			if !d.Allowed {
				n++
			}
		}
	}
	return n
}

// Judge gives the verdict about one image by digest or tag. An error means
// that there is none.
type Judge func(context.Context, name.Reference) (verdict.Verdict, error)

// Decide decides about workloads, each image judged once, some at a time. The
// results are in the order of the workloads. It ends early only with ctx.
func Decide(ctx context.Context, p policy.Policy, all []workload.Workload, judge Judge, now time.Time) ([]Result, error) {
	opinions := judgements{judge: judge, known: map[string]*opinion{}}
	results := make([]Result, len(all))
	turns := make(chan struct{}, 8)
	var group sync.WaitGroup
	for i, w := range all {
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			results[i] = decide(ctx, p, w, &opinions, now)
		})
	}
	group.Wait()
	return results, ctx.Err()
}

func decide(ctx context.Context, p policy.Policy, w workload.Workload, opinions *judgements, now time.Time) Result {
	r := Result{Workload: w, Images: make([]Decision, 0, len(w.Containers))}
	for _, c := range w.Containers {
		d := Decision{Container: c.Name, Role: c.Role, Image: c.Image, Line: c.Line, Running: c.Digests}
		if e, ok := exempt(p, w, now); ok {
			d.Allowed, d.Link = true, "exemption"
			d.Reason = "exempt until " + e.Expires.Format(time.DateOnly) + ", by " + e.Author + ": " + e.Reason
		} else {
			d.rule(ctx, p, w.Namespace, opinions)
		}
		r.Images = append(r.Images, d)
	}
	return r
}

func exempt(p policy.Policy, w workload.Workload, now time.Time) (policy.Exemption, bool) {
	for _, e := range p.Admission.Exemptions {
		if e.Covers(w.Namespace, w.Labels, now) {
			return e, true
		}
	}
	return policy.Exemption{}, false
}

var digestForm = regexp.MustCompile(`^[^@]+@sha256:[0-9a-f]{64}$`)

func (d *Decision) rule(ctx context.Context, p policy.Policy, namespace string, opinions *judgements) {
	ours := of(d.Image, p.Image, false)
	tags := ours && p.Admission.AllowTags
	listed := false
	for _, r := range p.Admission.Registries {
		if r.Admits(namespace) && of(d.Image, r.Prefix, true) {
			listed, tags = true, tags || r.AllowTags
		}
	}
	ref, err := name.ParseReference(d.Image, name.WeakValidation)
	switch {
	case d.Image == "":
		d.deny("registry", CodeImage, "it names no image", "name the image, with its registry and digest")
	case err != nil:
		d.deny("registry", CodeImage, "it cannot be read as the name of an image: "+err.Error(), "write REGISTRY/REPOSITORY@sha256:…")
	case !ours && !listed:
		d.deny("registry", CodeRegistry, "it is from no registry that may run in namespace "+namespace,
			"write the image with its registry, or list the registry under admission.registries in hallmark.yaml")
	case !tags && !digestForm.MatchString(d.Image):
		d.deny("digest", CodeTag, "it is not named by digest, so what runs could change",
			"deploy the digest that hallmark verify "+d.Image+" names")
	case ours:
		d.judged(opinions.about(ctx, ref))
	default:
		d.Allowed, d.Link, d.Reason = true, "registry", "its registry is listed; nothing is verified about it"
	}
}

// of says that an image is of a repository, or below a prefix. It compares
// text, as the rendered policies do.
func of(image, prefix string, below bool) bool {
	rest, ok := strings.CutPrefix(image, prefix)
	switch {
	case !ok:
		return false
	case below && !strings.Contains(prefix, "/"):
		return strings.HasPrefix(rest, "/")
	case below && strings.HasPrefix(rest, "/"):
		return true
	}
	return rest == "" || rest[0] == '@' || rest[0] == ':'
}

func (d *Decision) deny(link, code, reason, next string) {
	d.Link, d.Code, d.Reason, d.Next = link, code, reason, next
}

func (d *Decision) judged(o *opinion) {
	d.Digest = o.verdict.Digest
	failing := o.verdict.Failing()
	switch {
	case o.err != nil && len(failing) == 0:
		d.deny("evidence", CodeJudge, o.err.Error(), "check the registry and the login, then run again; a cluster refuses what it cannot judge")
	case len(failing) > 0:
		c := first(failing)
		d.deny(c.Name, c.Code, c.Reason, c.Next)
	case !o.verdict.Passed():
		d.deny("evidence", CodeJudge, "there is no verdict about it", "run again")
	default:
		d.Allowed, d.Link, d.Reason = true, "evidence", "proven by "+names(o.verdict.Checks)
	}
}

// first gives the link to name: the first that fails, but for the subject,
// which only says again what the others say.
func first(failing []verdict.Check) verdict.Check {
	for _, c := range failing {
		if c.Name != "subject" {
			return c
		}
	}
	return failing[0]
}

func names(checks []verdict.Check) string {
	var out []string
	for _, c := range checks {
		out = append(out, c.Name)
	}
	return strings.Join(out, ", ")
}

// judgements remembers what was judged: a hundred Pods may run one image.
type judgements struct {
	judge Judge
	mu    sync.Mutex
	known map[string]*opinion
}

type opinion struct {
	once    sync.Once
	verdict verdict.Verdict
	err     error
}

func (j *judgements) about(ctx context.Context, ref name.Reference) *opinion {
	j.mu.Lock()
	o, ok := j.known[ref.Name()]
	if !ok {
		o = &opinion{}
		j.known[ref.Name()] = o
	}
	j.mu.Unlock()
	o.once.Do(func() { o.verdict, o.err = j.judge(ctx, ref) })
	return o
}
