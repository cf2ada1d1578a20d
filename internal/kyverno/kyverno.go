// Package kyverno makes admission policies for Kyverno from hallmark.yaml, and
// finds the weaknesses of policies that are already there.
//
// Render is a pure function to YAML of policies.kyverno.io/v1; Lint is one from
// YAML to findings. Neither imports anything of Kyverno's, nor talks to a
// cluster: that the real Kyverno takes what Render gives, and errs where Lint
// says so, is shown by the test cluster.
//
// What Render demands is what package verify demands, as far as CEL on an
// attestation's payload can say it; docs/admission.md lists where verify sees
// more. The policies fail closed.
package kyverno

import (
	"encoding/hex"
	"hash/fnv"
	"regexp"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

const (
	apiVersion = "policies.kyverno.io/v1"
	// exceptionNamespace is where Kyverno looks for exceptions, as its chart
	// sets it up.
	exceptionNamespace = "kyverno"
)

// Names are what the objects of one policy are called.
type Names struct{ Registry, Evidence, Ephemeral, Exemption string }

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// NamesOf gives the names of the objects Render makes of a policy: "hallmark-",
// the repository's path, and what the object is for. A path that is too long
// for a name, or that a name cannot spell, is told apart by a hash.
func NamesOf(p policy.Policy) Names {
	_, path, _ := strings.Cut(p.Image, "/")
	slug := strings.Trim(notLabel.ReplaceAllString(path, "-"), "-")
	if len(slug) > 30 || slug != strings.ReplaceAll(path, "/", "-") {
		h := fnv.New32a()
		h.Write([]byte(p.Image))
		slug = strings.TrimRight(slug[:min(len(slug), 30)], "-") + "-" + hex.EncodeToString(h.Sum(nil))
	}
	base := "hallmark-" + slug
	return Names{base + "-registry", base + "-evidence", base + "-evidence-debug", base + "-exemption"}
}
