package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/release"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// Attempt is one forgery and what became of it.
type Attempt struct {
	// Title says what was tried, for a person.
	Title string
	// Image is the forged reference.
	Image   string
	Verdict verdict.Verdict
	// wants is the check that must fail: a refusal for another reason would
	// prove nothing about this forgery.
	wants string
}

// Refused says that the forgery was refused by the check it is aimed at.
func (a Attempt) Refused() bool {
	for _, c := range a.Verdict.Failing() {
		if c.Name == a.wants && c.Outcome == verdict.Fail {
			return true
		}
	}
	return false
}

// Reason gives the reason of the check the forgery is aimed at.
func (a Attempt) Reason() string {
	for _, c := range a.Verdict.Failing() {
		if c.Name == a.wants {
			return c.Reason
		}
	}
	return "it was not refused for that"
}

// forgery makes evidence about an image it is given, and says which check has
// to catch it.
type forgery struct {
	title, wants string
	signAs       string // repository that signs; ours when empty
	links        []string
	bend         func(*evidence.Statement) error
}

var forgeries = []forgery{
	{title: "an image that nobody signed", wants: "signature"},
	{title: "all evidence, signed by another repository", wants: "signature", signAs: "acme/demo-evil", links: everyLink},
	{title: "an SBOM attestation passed off as a signature", wants: "signature", links: []string{evidence.CycloneDX}},
	{title: "provenance that names another commit than its certificate", wants: "source", links: everyLink, bend: otherCommit},
}

var everyLink = []string{evidence.Signature, evidence.CycloneDX, evidence.Scan, evidence.Provenance}

// forge tries every forgery on an image of its own, and last moves the tag of
// the true image.
func (s *stage) forge(ctx context.Context, truth release.Result) ([]Attempt, error) {
	var all []Attempt
	for i, f := range forgeries {
		ref, err := s.forgedImage(ctx, truth, i, f)
		if err != nil {
			return all, fmt.Errorf("%s: %w", f.title, err)
		}
		judged, err := s.verify(ctx, ref)
		if err != nil {
			return all, fmt.Errorf("%s: %w", f.title, err)
		}
		all = append(all, Attempt{Title: f.title, Image: ref.String(), Verdict: judged, wants: f.wants})
		s.Tried(all[len(all)-1])
	}
	moved, err := s.movedTag(ctx, truth)
	if err != nil {
		return all, fmt.Errorf("moving the tag: %w", err)
	}
	s.Tried(moved)
	return append(all, moved), nil
}

// forgedImage pushes a copy of the true image with one label more, and hangs
// the forgery's evidence on it.
func (s *stage) forgedImage(ctx context.Context, truth release.Result, i int, f forgery) (name.Digest, error) {
	digest, err := s.pushCopy(ctx, truth, fmt.Sprintf("forgery %d", i+1))
	if err != nil || len(f.links) == 0 {
		return digest, err
	}
	subject, err := v1.NewHash(digest.DigestStr())
	if err != nil {
		return digest, err
	}
	statements, err := s.copyStatements(ctx, truth, subject, f)
	if err != nil {
		return digest, err
	}
	signer := s.signer(repositoryName, truth.Source.Commit)
	if f.signAs != "" {
		signer = s.signer(f.signAs, truth.Source.Commit)
	}
	signed, err := signer.Sign(ctx, statements)
	if err != nil {
		return digest, err
	}
	return digest, s.client.Attach(ctx, digest, signed)
}

// copyStatements takes the true image's statements and makes them speak of
// another subject.
func (s *stage) copyStatements(ctx context.Context, truth release.Result, subject v1.Hash, f forgery) ([]evidence.Statement, error) {
	held, err := s.client.Evidence(ctx, truth.Image)
	if err != nil {
		return nil, err
	}
	var all []evidence.Statement
	for _, link := range f.links {
		for _, signed := range held {
			if signed.PredicateType != link {
				continue
			}
			statement, err := signed.Statement()
			if err != nil {
				return nil, err
			}
			text := strings.ReplaceAll(string(statement.Predicate), truth.Built.Digest.Hex, subject.Hex)
			copied, err := evidence.About(s.policy.Image, link, []byte(text), subject)
			if err != nil {
				return nil, err
			}
			if f.bend != nil && link == evidence.Provenance {
				if err := f.bend(&copied); err != nil {
					return nil, err
				}
			}
			all = append(all, copied)
		}
	}
	return all, nil
}

// otherCommit changes the commit that a provenance names.
func otherCommit(s *evidence.Statement) error {
	var predicate map[string]any
	if err := json.Unmarshal(s.Predicate, &predicate); err != nil {
		return err
	}
	definition, _ := predicate["buildDefinition"].(map[string]any)
	dependencies, _ := definition["resolvedDependencies"].([]any)
	if len(dependencies) == 0 {
		return fmt.Errorf("the provenance names no source")
	}
	source, _ := dependencies[0].(map[string]any)
	source["digest"] = map[string]any{"gitCommit": strings.Repeat("f", 40)}
	changed, err := json.Marshal(predicate)
	s.Predicate = changed
	return err
}

// movedTag lets the release's tag point at an unsigned copy, as whoever may
// push to a registry with mutable tags can.
func (s *stage) movedTag(ctx context.Context, truth release.Result) (Attempt, error) {
	digest, err := s.pushCopy(ctx, truth, "moved tag")
	if err != nil {
		return Attempt{}, err
	}
	tag := digest.Context().Tag(truth.Tag)
	if err := s.client.MoveTag(ctx, digest, truth.Tag); err != nil {
		return Attempt{}, err
	}
	judged, err := s.verify(ctx, tag)
	attempt := Attempt{Title: "the release's tag, moved to another image", Image: tag.String(), Verdict: judged, wants: "signature"}
	return attempt, err
}

// pushCopy pushes the true image with one label more: other bytes, another
// digest, the same program.
func (s *stage) pushCopy(ctx context.Context, truth release.Result, label string) (name.Digest, error) {
	original, err := truth.Built.Image(truth.Built.Platforms[0])
	if err != nil {
		return name.Digest{}, err
	}
	config, err := original.ConfigFile()
	if err != nil {
		return name.Digest{}, err
	}
	changed := *config.Config.DeepCopy()
	if changed.Labels == nil {
		changed.Labels = map[string]string{}
	}
	changed.Labels["sh.hallmark.demo"] = label
	forged, err := mutate.Config(original, changed)
	if err != nil {
		return name.Digest{}, err
	}
	work, err := os.MkdirTemp(s.Dir, "work-")
	if err != nil {
		return name.Digest{}, err
	}
	from, err := layout.Write(filepath.Join(work, "from"), empty.Index)
	if err != nil {
		return name.Digest{}, err
	}
	if err := from.AppendImage(forged); err != nil {
		return name.Digest{}, err
	}
	built, err := image.Build(ctx, truth.Source, policy.Build{Layout: &policy.LayoutBuild{Path: filepath.Join(work, "from")}},
		image.Options{Dir: filepath.Join(work, "layout"), Repository: s.policy.Image})
	if err != nil {
		return name.Digest{}, err
	}
	return s.client.Push(ctx, built, s.policy.Repository(), nil)
}
