// Package intake lets images into the memory: an image is resolved to its
// digest, its evidence fetched and judged by package verify as everywhere, and
// only what was proven is stored. What is not is recorded as refused, with the
// verdict's code and reason, and tells the memory nothing about the image.
//
// An image comes in by name, by a registry's notification, or by a sweep of a
// repository. Which repositories may come in, and by whose signature, says the
// policy of the repository; one without a policy is refused before a single
// request is sent to it, so that who may write here cannot make the service
// fetch from anywhere.
//
// A loose SBOM that nobody signed can be let in too, where the operator allows
// it. Its image, and every answer that rests on it, says so.
package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/sbom"
	"github.com/hallmark-sh/hallmark/internal/span"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// ErrNoPolicy says that no policy covers a repository.
var ErrNoPolicy = errors.New("no policy covers the repository")

// ErrUnverified says that loose documents are not let in.
var ErrUnverified = errors.New("unverified documents are not let in")

// Codes of refusals that no verdict gives. The others are package verify's.
const (
	codeNotFound   = "image-not-found"
	codeUnreadable = "sbom-unreadable"
	codeEmpty      = "sbom-empty"
	codeOther      = "sbom-other-subject"
)

// missing are the verdict's codes that say no more than that something is not
// there, and may come.
var missing = []string{"no-evidence", "no-signature", "no-sbom", "no-scan", "no-provenance"}

// Config says what an intake uses.
type Config struct {
	Registry *registry.Client
	// Judge gives the options to judge a repository's images by, or
	// ErrNoPolicy.
	Judge  func(ctx context.Context, repository string) (verify.Options, error)
	Memory *memory.Memory
	// Unverified lets loose documents in.
	Unverified bool
	// Log is told of refusals; nil for silence.
	Log *slog.Logger
}

// Intake lets images in. It may be used from many goroutines.
type Intake struct{ Config }

// New makes an intake.
func New(c Config) *Intake {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Intake{c}
}

// Refused is the result of an image whose evidence was not believed; the other
// results are package store's.
const Refused store.Result = "refused"

// Result is what became of one image.
type Result struct {
	// Image is the image as it was asked for, Digest what it stands for.
	Image  string       `json:"image"`
	Digest string       `json:"digest,omitempty"`
	Result store.Result `json:"result" enum:"stored,unchanged,kept,refused,waiting"`
	// Code and Reason say why it was refused.
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Evidence is the digest of the document the packages come from.
	Evidence string `json:"evidence,omitempty"`
	Verified bool   `json:"verified"`
	// Packages counts the image's packages, NewPackages those that no image
	// had before.
	Packages    int `json:"packages"`
	NewPackages int `json:"newPackages"`
	// VEX counts the VEX documents attested on the image.
	VEX int `json:"vex,omitempty"`
}

// Image takes in an image by tag or digest. A refusal is a result; an error
// means that nothing could be found out, and that trying again may help.
func (in *Intake) Image(ctx context.Context, ref name.Reference) (Result, error) {
	return in.image(ctx, ref, false)
}

// image takes in an image; early says that its evidence may still be on its
// way.
func (in *Intake) image(ctx context.Context, ref name.Reference, early bool) (Result, error) {
	repository := ref.Context().Name()
	options, err := in.Judge(ctx, repository)
	if err != nil {
		return Result{}, fmt.Errorf("taking in %s: %w", ref, err)
	}
	if !options.Policy.Wants(policy.SBOMLink) {
		options.Policy.Evidence = append(slices.Clone(options.Policy.Evidence), policy.SBOMLink)
	}
	proving, proved := span.Start(ctx, "prove")
	judged, proof, err := verify.Prove(proving, in.Registry, ref, options)
	proved(err)
	r := Result{Image: ref.String(), Digest: judged.Digest}
	switch {
	case registry.IsNotFound(err):
		return in.refuse(ctx, r, codeNotFound, "the registry has no such image")
	case err != nil:
		return r, fmt.Errorf("taking in %s: %w", ref, err)
	}
	if failing := judged.Failing(); len(failing) > 0 {
		if early && slices.Contains(missing, failing[0].Code) {
			r.Result, r.Code, r.Reason = Waiting, failing[0].Code, failing[0].Reason
			return r, nil
		}
		return in.refuse(ctx, r, failing[0].Code, failing[0].Name+": "+failing[0].Reason)
	}
	_, read := span.Start(ctx, "read SBOM")
	inventory, err := sbom.Read(bytes.NewReader(proof.SBOM), sbom.Limits{})
	read(err)
	if err != nil {
		return in.refuse(ctx, r, codeUnreadable, err.Error())
	}
	if len(inventory.Packages) == 0 {
		return in.refuse(ctx, r, codeEmpty, "the SBOM lists no package")
	}
	digest, err := v1.NewHash(judged.Digest)
	if err != nil {
		return r, err
	}
	r, err = in.take(ctx, r, memory.Image{
		Digest: digest, Name: nameOf(ref), Evidence: digestOf(proof.SBOM), Verified: true, Commit: proof.Commit, Source: proof.Repository,
		Signed: proof.Signed, Packages: inventory.Packages, Unidentified: inventory.Unidentified,
	})
	if err != nil {
		return r, err
	}
	return in.exploitability(ctx, r, proof.VEX)
}

// exploitability takes in the VEX documents that were attested on the image. One
// that cannot be read is told and changes nothing: the findings stay.
func (in *Intake) exploitability(ctx context.Context, r Result, documents [][]byte) (Result, error) {
	for _, d := range documents {
		_, err := in.Memory.AddVEX(ctx, digestOf(d).String(), d, true)
		if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBusy) || ctx.Err() != nil {
			return r, fmt.Errorf("taking in the VEX of %s: %w", r.Image, err)
		}
		if err != nil {
			in.Log.Warn("passed over a VEX document", "image", r.Image, "digest", r.Digest, "error", err)
			continue
		}
		r.VEX++
	}
	return r, nil
}

// Document takes in a loose SBOM about an image. Nobody vouches for it.
func (in *Intake) Document(ctx context.Context, image name.Digest, document io.Reader) (Result, error) {
	if !in.Unverified {
		return Result{}, hint.Add(fmt.Errorf("taking in a document about %s: %w", image, ErrUnverified),
			"attest the SBOM (hallmark release does) and take the image in; or start hallmark serve with --unverified")
	}
	sum := sha256.New()
	inventory, err := sbom.Read(io.TeeReader(document, sum), sbom.Limits{})
	if err != nil {
		return Result{}, hint.Add(fmt.Errorf("reading the SBOM of %s: %w", image, err), "CycloneDX 1.2 to 1.7 and SPDX 2 in JSON are read")
	}
	if _, err := io.Copy(sum, document); err != nil { // what the decoder left, which is white space
		return Result{}, fmt.Errorf("reading the SBOM of %s: %w", image, err)
	}
	r := Result{Image: image.String(), Digest: image.DigestStr()}
	if len(inventory.Packages) == 0 {
		return in.refuse(ctx, r, codeEmpty, "the SBOM lists no package")
	}
	if claimed := inventory.Subject.Digests; len(claimed) > 0 && !slices.Contains(claimed, image.DigestStr()) {
		return in.refuse(ctx, r, codeOther, fmt.Sprintf("the SBOM says it is about %s", claimed[0]))
	}
	digest, err := v1.NewHash(image.DigestStr())
	if err != nil {
		return r, err
	}
	in.Log.Warn("taking in an UNVERIFIED document: nobody vouches for it", "image", r.Image)
	return in.take(ctx, r, memory.Image{
		Digest: digest, Name: image.Context().Name(), Evidence: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))},
		Packages: inventory.Packages, Unidentified: inventory.Unidentified,
	})
}

func (in *Intake) take(ctx context.Context, r Result, i memory.Image) (Result, error) {
	storing, stored := span.Start(ctx, "store")
	outcome, err := in.Memory.Take(storing, i)
	stored(err)
	if errors.Is(err, store.ErrTooLarge) {
		return in.refuse(ctx, r, codeUnreadable, err.Error())
	}
	r.Result, r.Evidence, r.Verified = outcome.Result, i.Evidence.String(), i.Verified || outcome.Result == store.Kept
	r.Packages, r.NewPackages = len(i.Packages), outcome.NewPackages
	return r, err
}

func (in *Intake) refuse(ctx context.Context, r Result, code, reason string) (Result, error) {
	r.Result, r.Code, r.Reason = Refused, code, store.Text(reason)
	in.Log.Warn("refused", "image", r.Image, "digest", r.Digest, "code", code, "reason", r.Reason)
	err := in.Memory.Refuse(ctx, store.Refusal{Name: r.Image, Digest: r.Digest, Code: code, Reason: r.Reason})
	return r, err
}

// nameOf is the place an image was seen at, without its digest.
func nameOf(ref name.Reference) string {
	if tag, ok := ref.(name.Tag); ok {
		return tag.Name()
	}
	return ref.Context().Name()
}

func digestOf(document []byte) v1.Hash {
	sum := sha256.Sum256(document)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}
