// Package release calls the stages of a release in order: it is the chain
// itself, from one commit to a signed, attested and verified image.
//
// The order of effects is fixed and is what the product promises:
//
//	source, build, SBOM, scan, gate      nothing leaves the machine
//	push by digest, sign, attach         nothing names the image yet
//	verify from the registry             the same judgement as anyone's
//	tag                                  last, and only after a yes
//
// Until the gate has said yes the registry sees no request and the
// transparency log no entry; a crash at any point leaves no tag without full
// evidence. Stages that do not wait for each other run side by side.
//
// A second run on the same commit completes what is missing and adds nothing
// twice. The package prints nothing and reads no flags.
package release

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/gate"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/sbom"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// Settings is everything a release needs to know and to speak to.
type Settings struct {
	Source source.Source
	Policy policy.Policy
	// AllowDirty lets a working tree that is not exactly its commit through;
	// the tag and the provenance then say so, and verify refuses both.
	AllowDirty bool
	// Check stops after the gate: nothing leaves the machine.
	Check bool
	// Work is an empty folder for layouts and spools; the caller removes it.
	Work string
	// Env is the environment of the build, in the form of os.Environ.
	Env []string
	// Version is hallmark's own, for the documents it writes.
	Version string

	Advisories advisory.Options
	Registry   *registry.Client
	Signer     *sign.Signer
	// Anchor gives the trust root to verify by. It may need the network and
	// is called while the image is being built.
	Anchor func(context.Context) (trust.Anchor, error)
	// Now is the clock for the gate and the verdict.
	Now func() time.Time
	// Progress is told what is being done; it is called from many goroutines.
	Progress func(Step)
}

// Step is one sign of life.
type Step struct {
	// Stage is source, build, sbom, scan, gate, push, sign, attach, verify or
	// tag.
	Stage string
	Text  string
	// Counting says that this is one of very many about the same work, of
	// which any may be left out.
	Counting bool
}

// Result is what a release made and found. It is filled as far as the release
// got, also when an error ended it.
type Result struct {
	Source source.Source
	Built  image.Built
	// Documents are the SBOMs: one per platform, and for an index one more
	// about the index itself.
	Documents []sbom.Document
	Report    finding.Report
	Decision  gate.Decision
	// Image is the released image by digest, and Tag its tag; empty until
	// pushed and tagged.
	Image name.Digest
	Tag   string
	// Already says that this commit had been released before and nothing was
	// added.
	Already bool
	// Added counts the bundles this run attached, over all digests.
	Added   int
	Verdict verdict.Verdict
	// Times are the stages with how long each took; side by side stages
	// overlap.
	Times []Time
}

// Time is how long one stage took.
type Time struct {
	Stage string
	Took  time.Duration
}

// ErrRefused says that the gate refused the image. The Result's Decision has
// the reasons.
var ErrRefused = errors.New("the gate refused the image")

// ErrUnproven says that the pushed evidence did not verify; no tag was set.
// The Result's Verdict has the reasons.
var ErrUnproven = errors.New("the image's evidence does not verify")

// Run releases one commit. It gives ErrRefused, wrapped, when the gate says
// no, and ErrUnproven when the evidence does not hold; any other error means
// that the release could not be done, and doing it again completes it.
func Run(ctx context.Context, s Settings) (Result, error) {
	r := &run{Settings: s, result: Result{Source: s.Source}}
	err := r.all(ctx)
	r.result.Times = r.clock.times
	return r.result, err
}

// run is one release under way.
type run struct {
	Settings
	result Result
	clock  stopwatch
	anchor pending[trust.Anchor]
	// reports are the scans of each platform, in the order of the platforms.
	reports []finding.Report
	// judge is how evidence is judged, the same before and after attaching.
	judge verify.Options
}

func (r *run) all(ctx context.Context) error {
	if err := MayStart(r.Source, r.AllowDirty); err != nil {
		return err
	}
	r.anchor.start(func() (trust.Anchor, error) { return r.Anchor(ctx) })
	if err := r.make(ctx); err != nil {
		return err
	}
	if r.result.Decision.Refused {
		return fmt.Errorf("%w, for %d reasons: %s", ErrRefused, len(r.result.Decision.Refusals), r.result.Decision.Refusals[0].Reason)
	}
	if r.Check {
		return nil
	}
	return r.publish(ctx)
}

// MayStart refuses a source that no later stage could make good: a working tree
// that is not exactly its commit, unless that is allowed.
func MayStart(src source.Source, allowDirty bool) error {
	if src.Dirty && !allowDirty {
		err := fmt.Errorf("the working tree of %s is not exactly commit %.12s: %s", src.Dir, src.Commit, list(src.DirtyPaths))
		return hint.Add(err, "commit or stash the changes, or pass --allow-dirty to make an image that is marked dirty and that verify refuses")
	}
	return nil
}

func (r *run) step(stage, format string, args ...any) {
	if r.Progress != nil {
		r.Progress(Step{Stage: stage, Text: fmt.Sprintf(format, args...)})
	}
}
