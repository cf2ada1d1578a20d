package verify

import (
	"context"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// Image resolves ref, fetches the evidence about it and judges. A tag that is
// a commit is compared with the provenance too.
//
// When the evidence could not be fetched, there is an error and besides a
// verdict whose only check is Unknown.
func Image(ctx context.Context, reg *registry.Client, ref name.Reference, o Options) (verdict.Verdict, error) {
	v, _, err := Prove(ctx, reg, ref, o)
	return v, err
}

// Prove is Image that also gives what the verdict rests on. When the verdict
// does not pass there is none.
func Prove(ctx context.Context, reg *registry.Client, ref name.Reference, o Options) (verdict.Verdict, Proof, error) {
	found, err := reg.Resolve(ctx, ref)
	if err != nil {
		return verdict.Verdict{}, Proof{}, fmt.Errorf("resolving %s: %w", ref, err)
	}
	image := ref.Context().Digest(found.Digest.String())
	held, err := reg.Find(ctx, image)
	if err != nil {
		p := &opinion{Options: o, subject: found.Digest}
		p.checks = []verdict.Check{unknown("subject", codeUnavailable, shown(err.Error()))}
		return p.named(image), Proof{}, err
	}
	p := judge(found.Digest, held.Signed(), held.Legacy, o)
	p.note(held)
	if tag, ok := ref.(name.Tag); ok {
		p.checks = append(p.checks, p.checkTag(tag.TagStr())...)
	}
	if o.Explain && found.MediaType.IsIndex() {
		members, err := platforms(ctx, reg, image, o)
		if err != nil {
			return verdict.Verdict{}, Proof{}, fmt.Errorf("looking at the platforms of %s: %w", image, err)
		}
		p.carriers = append(p.carriers, members...)
	}
	v := p.named(image)
	if !v.Passed() {
		return v, Proof{}, nil
	}
	return v, p.proof(), nil
}

// named gives the verdict about an image where it was found, which may be a
// copy in another repository than the policy's.
func (p *opinion) named(image name.Digest) verdict.Verdict {
	v := p.verdict()
	v.Subject = image.String()
	return v
}

// note adds to the first check what the registry held and nobody judged.
func (p *opinion) note(held registry.Found) {
	about := &p.checks[0]
	for _, s := range held.Skipped {
		about.Details = append(about.Details, detail("skipped", "referrer %s (%s) %s", s.Manifest, s.ArtifactType, s.Reason))
	}
}

// Bundles judges an image by evidence in files, one bundle or JSON lines of
// bundles each, without any network.
func Bundles(image name.Digest, files []string, o Options) (verdict.Verdict, error) {
	digest, err := v1.NewHash(image.DigestStr())
	if err != nil {
		return verdict.Verdict{}, fmt.Errorf("reading digest of %s: %w", image, err)
	}
	var all []evidence.Signed
	for _, file := range files {
		signed, err := readBundles(file)
		if err != nil {
			return verdict.Verdict{}, hint.Add(fmt.Errorf("reading bundles from %s: %w", file, err),
				"give a Sigstore bundle, or a file of one bundle a line as gh attestation download writes it")
		}
		all = append(all, signed...)
	}
	return judge(digest, all, nil, o).named(image), nil
}

func readBundles(file string) ([]evidence.Signed, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return evidence.ReadLines(f)
}
