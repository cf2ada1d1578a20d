package release

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// publish is everything after the gate's yes, in the order of effects that the
// package promises.
func (r *run) publish(ctx context.Context) error {
	anchor, err := r.anchor.wait()
	if err != nil {
		return fmt.Errorf("loading the trust root: %w", err)
	}
	r.judge = verify.Options{Policy: r.Policy, Anchor: anchor, Now: r.Now(), AllowDirty: r.Source.Dirty}
	tag := r.Policy.Repository().Tag(r.Source.Tag())
	standing, err := r.standing(ctx, tag)
	if err != nil || r.result.Already {
		return err
	}
	plan, err := r.plan(ctx)
	if err != nil {
		return err
	}
	if err := r.pushAndSign(ctx, plan); err != nil {
		return err
	}
	if err := r.attach(ctx, plan); err != nil {
		return err
	}
	if err := r.proveFromRegistry(ctx); err != nil {
		return err
	}
	if standing == r.result.Built.Digest {
		r.result.Already = r.result.Added == 0
		r.result.Tag = tag.TagStr()
		return nil
	}
	return r.tag(ctx, tag)
}

// standing looks whether this commit's tag is there already. When it names
// another digest that is fully proven, the commit has been released and the
// result is that image: a build that is not reproducible must not make a
// second truth. Without proof it is an error, for the tag is nobody's to move.
func (r *run) standing(ctx context.Context, tag name.Tag) (v1.Hash, error) {
	found, err := r.Registry.Resolve(ctx, tag)
	if registry.IsNotFound(err) {
		return v1.Hash{}, nil
	}
	if err != nil {
		return v1.Hash{}, err
	}
	if found.Digest == r.result.Built.Digest {
		return found.Digest, nil
	}
	image := tag.Context().Digest(found.Digest.String())
	r.step("verify", "%s is already there, as %s", tag.TagStr(), found.Digest)
	judged, err := verify.Image(ctx, r.Registry, image, r.judge)
	if err != nil {
		return v1.Hash{}, err
	}
	r.result.Verdict = judged
	if !judged.Passed() {
		err := fmt.Errorf("%w: tag %s names %s, which is not the image built now (%s)", ErrUnproven, tag.TagStr(), found.Digest, r.result.Built.Digest)
		return v1.Hash{}, hint.Add(err, "find out who pushed that tag: hallmark verify %s; hallmark never moves a tag", image)
	}
	r.result.Image, r.result.Tag, r.result.Already = image, tag.TagStr(), true
	return found.Digest, nil
}

// pushAndSign brings the blobs and manifests to the registry and has the
// missing statements signed, side by side: neither needs the other, and
// neither is visible by any name yet.
func (r *run) pushAndSign(ctx context.Context, p *plan) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer r.clock.start("push")()
		r.step("push", "%s@%s", r.Policy.Image, r.result.Built.Digest)
		image, err := r.Registry.Push(ctx, r.result.Built, r.Policy.Repository(), r.pushed)
		if err != nil {
			return err
		}
		r.result.Image = image
		return nil
	})
	group.Go(func() error { return r.sign(ctx, p) })
	return group.Wait()
}

func (r *run) pushed(p registry.Progress) {
	if r.Progress != nil {
		text := fmt.Sprintf("%d of %d bytes; %d of %d blobs were there", p.Sent, p.Total, p.Present, p.Blobs)
		r.Progress(Step{Stage: "push", Text: text, Counting: true})
	}
}

// attach stores the new bundles beside every digest that lacks them, after one
// more look at them with the eyes of a verifier.
func (r *run) attach(ctx context.Context, p *plan) error {
	defer r.clock.start("attach")()
	for subject, bundles := range p.missing {
		judged := verify.Judge(subject, append(p.held[subject], bundles...), r.judge)
		if !judged.Passed() {
			r.result.Verdict = judged
			return fmt.Errorf("%w, before anything was attached: %s", ErrUnproven, reasons(judged))
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for subject, bundles := range p.missing {
		if len(bundles) == 0 {
			continue
		}
		r.result.Added += len(bundles)
		group.Go(func() error {
			r.step("attach", "%d bundles to %s", len(bundles), subject)
			return r.Registry.Attach(ctx, r.Policy.Repository().Digest(subject.String()), bundles)
		})
	}
	return group.Wait()
}

// proveFromRegistry judges what the registry now holds, for every digest, with
// the code that hallmark verify runs.
func (r *run) proveFromRegistry(ctx context.Context) error {
	defer r.clock.start("verify")()
	r.step("verify", "%s, from the registry", r.result.Image)
	group, ctx := errgroup.WithContext(ctx)
	for _, subject := range r.subjects() {
		group.Go(func() error {
			image := r.Policy.Repository().Digest(subject.String())
			judged, err := verify.Image(ctx, r.Registry, image, r.judge)
			if err != nil {
				return err
			}
			if subject == r.result.Built.Digest {
				r.result.Verdict = judged
			}
			if !judged.Passed() {
				return fmt.Errorf("%w: %s: %s", ErrUnproven, image, reasons(judged))
			}
			return nil
		})
	}
	return group.Wait()
}

func (r *run) tag(ctx context.Context, tag name.Tag) error {
	defer r.clock.start("tag")()
	r.step("tag", "%s", tag)
	if err := r.Registry.Tag(ctx, r.result.Image, tag.TagStr()); err != nil {
		return err
	}
	r.result.Tag = tag.TagStr()
	return nil
}

// subjects are the digests that carry evidence: the image's, and for an index
// those of its platforms, because an admission policy may meet either.
func (r *run) subjects() []v1.Hash {
	built := r.result.Built
	all := []v1.Hash{built.Digest}
	for _, platform := range built.Platforms {
		if platform.Digest != built.Digest {
			all = append(all, platform.Digest)
		}
	}
	return all
}

// held fetches what the registry already holds about each subject and keeps
// the bundles that this release's own policy accepts.
func (r *run) heldEvidence(ctx context.Context, subjects []v1.Hash) (map[v1.Hash][]evidence.Signed, error) {
	held := make([][]evidence.Signed, len(subjects))
	group, ctx := errgroup.WithContext(ctx)
	for i, subject := range subjects {
		group.Go(func() error {
			image := r.Policy.Repository().Digest(subject.String())
			found, err := r.Registry.Evidence(ctx, image)
			if err != nil {
				return err
			}
			for _, signed := range found {
				if r.accepts(subject, signed) {
					held[i] = append(held[i], signed)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := make(map[v1.Hash][]evidence.Signed, len(subjects))
	for i, subject := range subjects {
		all[subject] = held[i]
	}
	return all, nil
}

// accepts says that a bundle alone is a valid link of its kind about subject.
func (r *run) accepts(subject v1.Hash, signed evidence.Signed) bool {
	kind := linkOf(signed.PredicateType)
	if kind == "" {
		return false
	}
	alone := r.judge
	alone.Policy.Evidence = []string{kind}
	return verify.Judge(subject, []evidence.Signed{signed}, alone).Passed()
}
