package image

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// materials turns the images a build started from into materials. BuildKit
// names them with the digest it resolved; an image that was only in the engine
// is looked up there. One whose digest nobody knows keeps an empty digest: it
// is listed as unknown rather than left out.
func (e *dockerEngine) materials(ctx context.Context, refs []string) ([]Material, error) {
	var out []Material
	digests := make(map[string]bool)
	for _, ref := range refs {
		m := Material{URI: materialURI(ref)}
		if _, digest, ok := strings.Cut(ref, "@"); ok {
			m.Digest, _ = v1.NewHash(digest)
		} else {
			m.Digest = e.digest(ctx, ref)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		// The same image may be named with its digest and, by an earlier
		// step, without.
		if !digests[m.URI+m.Digest.String()] {
			digests[m.URI+m.Digest.String()] = true
			out = append(out, m)
		}
	}
	return out, nil
}

// materialURI gives docker:// with the full name and the tag, if there is one.
func materialURI(ref string) string {
	named, _, _ := strings.Cut(ref, "@")
	if parsed, err := name.ParseReference(named); err == nil {
		named = parsed.Name()
	}
	return "docker://" + named
}

// digest asks the engine by which digest it once pulled an image; an image made
// on the spot has none.
func (e *dockerEngine) digest(ctx context.Context, ref string) v1.Hash {
	found, err := e.client.ImageInspect(ctx, ref)
	if err != nil {
		return v1.Hash{}
	}
	want, err := name.ParseReference(ref)
	if err != nil {
		return v1.Hash{}
	}
	for _, known := range found.RepoDigests {
		if d, err := name.NewDigest(known); err == nil && d.Context() == want.Context() {
			h, _ := v1.NewHash(d.DigestStr())
			return h
		}
	}
	return v1.Hash{}
}
