package registry

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Tag makes a tag stand for a digest. Where it does already nothing is
// written; where it stands for another digest the error is a *TagTakenError
// and the tag stays. The tag "latest" is refused: it says nothing about what
// it stands for.
func (c *Client) Tag(ctx context.Context, d name.Digest, tag string) error {
	return c.tag(ctx, d, tag, false)
}

// MoveTag is Tag that takes the tag away from whatever it stands for.
func (c *Client) MoveTag(ctx context.Context, d name.Digest, tag string) error {
	return c.tag(ctx, d, tag, true)
}

func (c *Client) tag(ctx context.Context, d name.Digest, tag string, move bool) error {
	ref, err := name.NewTag(d.Context().Name()+":"+tag, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("tagging %s: %w", d, err)
	}
	if tag == "latest" {
		return hint.Add(fmt.Errorf("tagging %s: the tag latest is refused", d), "use a tag that names the commit or the version")
	}
	s, err := c.open(ctx, d.Context(), true)
	if err != nil {
		return err
	}
	m, err := s.byDigest(ctx, d.DigestStr())
	if err != nil {
		return fmt.Errorf("tagging %s: %w", d, err)
	}
	if err := s.point(ctx, ref, m, move); err != nil {
		return fmt.Errorf("tagging %s: %w", d, err)
	}
	return nil
}

// point writes the tag, after looking and before looking again.
func (s *session) point(ctx context.Context, ref name.Tag, m manifest, move bool) error {
	at, err := s.pointsTo(ctx, ref)
	if err != nil || at == m.descriptor.Digest {
		return err
	}
	condition := map[string]string{}
	switch {
	case at == v1.Hash{}:
		condition["If-None-Match"] = "*"
	case !move:
		return taken(ref, at, m)
	}
	_, putErr := s.put(ctx, ref.TagStr(), m, condition)
	if putErr != nil && !isRefusal(putErr) {
		return putErr
	}
	// Whoever was refused, or overwritten at once, learns by whom.
	at, err = s.pointsTo(ctx, ref)
	switch {
	case err != nil:
		return fmt.Errorf("reading back tag %s: %w", ref, err)
	case at == m.descriptor.Digest:
		return nil
	case putErr != nil && (move || at == v1.Hash{}):
		return putErr
	case at == v1.Hash{}:
		return fmt.Errorf("reading back tag %s: the registry took it and does not have it", ref)
	}
	return taken(ref, at, m)
}

func (s *session) pointsTo(ctx context.Context, ref name.Tag) (v1.Hash, error) {
	m, _, err := s.lookup(ctx, ref.TagStr())
	return m.descriptor.Digest, err
}

func taken(ref name.Tag, at v1.Hash, m manifest) error {
	err := &TagTakenError{Tag: ref, Has: at, Want: m.descriptor.Digest}
	return hint.Add(err, "the same commit gave another digest before: compare the two, and delete the tag only if nobody runs what it stands for")
}
