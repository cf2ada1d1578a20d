package index

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// image is one Image as it is kept; times are Unix nanoseconds, 0 for none.
type image struct {
	digest, evidence         [32]byte
	tags                     []string
	recorded, built, removed int64
	packages                 place
	repository               uint32 // of texts, and so are the others
	commit, source           uint32
	unidentified             uint32
	verified                 bool
}

type refusal struct {
	Refusal
	ended time.Time
}

func rawDigest(h v1.Hash) (out [32]byte, err error) {
	if h.Algorithm != "sha256" || len(h.Hex) != 64 {
		return out, fmt.Errorf("digest %q is not SHA-256", h.String())
	}
	_, err = hex.Decode(out[:], []byte(h.Hex))
	return out, err
}

func hash(raw [32]byte) v1.Hash {
	if raw == ([32]byte{}) {
		return v1.Hash{}
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(raw[:])}
}

func digest(raw [32]byte) Digest {
	if raw == ([32]byte{}) {
		return ""
	}
	text := make([]byte, 0, len("sha256:")+2*len(raw))
	return Digest(hex.AppendEncode(append(text, "sha256:"...), raw[:]))
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// AddImage takes an image in. It replaces a live image of the same digest, and
// ends a refusal of it. All its packages must have been added.
func (ix *Index) AddImage(i Image) error {
	ix.writing.Lock()
	defer ix.writing.Unlock()
	made, err := ix.image(i)
	if err != nil {
		return fmt.Errorf("adding image %s: %w", i.Digest, err)
	}
	ids := slices.Clone(i.Packages)
	list := EncodeList(ids)
	ids = slices.Compact(ids) // EncodeList has sorted them

	ix.mu.Lock()
	defer ix.mu.Unlock()
	made.packages = ix.lists.put(list)
	made.repository, made.commit, made.source = ix.texts.id(i.Repository), ix.texts.id(i.Commit), ix.texts.id(i.Source)
	ix.room(i.ID)
	ix.images[i.ID] = made
	if old, ok := ix.byDigest[made.digest]; ok {
		ix.end(old, made.recorded)
		ix.replaced[made.digest] = append(ix.replaced[made.digest], old)
	}
	ix.byDigest[made.digest] = i.ID
	ix.byRepository[made.repository] = append(ix.byRepository[made.repository], i.ID)
	ix.live.add(i.ID)
	if !i.Verified {
		ix.unverified.add(i.ID)
	}
	ix.liveCount++
	ix.everCount++
	ix.occurrences += len(ids)
	if !ix.loading { // Else EndLoad does it.
		for _, id := range ids {
			ix.packages[id].images.add(i.ID)
		}
		ix.markEcos(i.ID, ids)
	}
	for n := range ix.refusals {
		if r := &ix.refusals[n]; r.Digest == i.Digest && r.ended.IsZero() {
			r.ended = i.Recorded
		}
	}
	ix.doubts.Store(nil)
	return nil
}

func (ix *Index) image(i Image) (made image, err error) {
	made = image{
		tags: slices.Clone(i.Tags), recorded: nanos(i.Recorded), built: nanos(i.Built),
		verified: i.Verified, unidentified: uint32(max(0, i.Unidentified)),
	}
	if made.digest, err = rawDigest(i.Digest); err != nil {
		return made, err
	}
	if i.Evidence != (v1.Hash{}) {
		if made.evidence, err = rawDigest(i.Evidence); err != nil {
			return made, fmt.Errorf("evidence: %w", err)
		}
	}
	switch {
	case i.ID == 0 || i.ID > maxID:
		return made, fmt.Errorf("identifier %d is out of bounds", i.ID)
	case int(i.ID) < len(ix.images) && ix.images[i.ID].recorded != 0:
		return made, fmt.Errorf("identifier %d is that of %s", i.ID, hash(ix.images[i.ID].digest))
	case i.Recorded.IsZero():
		return made, fmt.Errorf("it has no time")
	}
	for _, id := range i.Packages {
		if int(id) >= len(ix.packages) || ix.packages[id].name == 0 {
			return made, fmt.Errorf("its package %d is not known", id)
		}
	}
	return made, nil
}

// room makes place for images up to id.
func (ix *Index) room(id uint32) {
	for int(id) >= len(ix.images) {
		ix.images = append(ix.images, image{})
	}
	grow := func(s set) set {
		for int(id)>>6 >= len(s) {
			s = append(s, 0)
		}
		return s
	}
	ix.live, ix.unverified = grow(ix.live), grow(ix.unverified)
}

// end takes an image out of the live ones; questions as of a time before at
// still see it.
func (ix *Index) end(id uint32, at int64) {
	if !ix.live.has(id) {
		return
	}
	ix.live.remove(id)
	ix.images[id].removed = max(at, 1)
	ix.liveCount--
	ids, err := DecodeList(ix.lists.get(ix.images[id].packages), nil)
	if err == nil {
		ix.occurrences -= len(ids)
	}
}

// RemoveImage takes an image out.
func (ix *Index) RemoveImage(id uint32, at time.Time) error {
	ix.writing.Lock()
	defer ix.writing.Unlock()
	if int(id) >= len(ix.images) || ix.images[id].recorded == 0 {
		return fmt.Errorf("removing image %d: %w", id, ErrUnknownImage)
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.end(id, nanos(at))
	if digest := ix.images[id].digest; ix.byDigest[digest] == id {
		delete(ix.byDigest, digest)
		ix.replaced[digest] = append(ix.replaced[digest], id)
	}
	ix.doubts.Store(nil)
	return nil
}

// Refuse records that an image's evidence was refused. An image of this digest
// that was taken in before stays: what was verified then is still known.
func (ix *Index) Refuse(r Refusal) {
	ix.writing.Lock()
	defer ix.writing.Unlock()
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for n := range ix.refusals {
		if old := &ix.refusals[n]; old.Digest == r.Digest && old.ended.IsZero() {
			old.ended = r.Recorded
		}
	}
	ix.refusals = append(ix.refusals, refusal{Refusal: r})
	ix.doubts.Store(nil)
}

// ref names an image in an answer.
func (ix *Index) ref(id uint32) ImageRef {
	i := &ix.images[id]
	return ImageRef{
		Digest: digest(i.digest), Repository: ix.texts.list[i.repository], Tags: i.tags, Evidence: digest(i.evidence),
		Verified: i.verified, Commit: ix.texts.list[i.commit], Recorded: instant(i.recorded),
	}
}

// packagesOf are the packages of an image, ascending, appended to ids.
func (ix *Index) packagesOf(id uint32, ids []uint32) []uint32 {
	ids, _ = DecodeList(ix.lists.get(ix.images[id].packages), ids) // It was encoded here.
	return ids
}

// at gives the images that were there at a time; the zero time is now. The
// result is not to be changed.
func (ix *Index) at(t time.Time) set {
	if t.IsZero() {
		return ix.live
	}
	s, n := make(set, len(ix.live)), t.UnixNano()
	for id := range ix.images {
		if i := &ix.images[id]; i.recorded != 0 && i.recorded <= n && (i.removed == 0 || i.removed > n) {
			s.add(uint32(id))
		}
	}
	return s
}

// find resolves a digest, repository@digest, repository:tag or repository to
// the image that was there at a time.
func (ix *Index) find(ref string, there set) (uint32, error) {
	if at := strings.LastIndex(ref, "@"); at >= 0 {
		ref = ref[at+1:]
	}
	if h, err := v1.NewHash(ref); err == nil {
		key, err := rawDigest(h)
		if err != nil {
			return 0, err
		}
		for _, id := range slices.Backward(ix.idsOf(key)) {
			if there.has(id) {
				return id, nil
			}
		}
		return 0, fmt.Errorf("looking up %s: %w", ref, ErrUnknownImage)
	}
	repository, tag := ref, ""
	if colon := strings.LastIndex(ref, ":"); colon > strings.LastIndex(ref, "/") {
		repository, tag = ref[:colon], ref[colon+1:]
	}
	var found []uint32
	named, known := ix.texts.ids[repository]
	if !known || repository == "" {
		return 0, fmt.Errorf("looking up %s: %w", ref, ErrUnknownImage)
	}
	for _, id := range ix.byRepository[named] {
		if there.has(id) && (tag == "" || slices.Contains(ix.images[id].tags, tag)) {
			found = append(found, id)
		}
	}
	switch {
	case len(found) == 0:
		return 0, fmt.Errorf("looking up %s: %w", ref, ErrUnknownImage)
	case len(found) > 1 && tag == "":
		return 0, fmt.Errorf("looking up %s: %w: %d of them; name one by tag or digest", ref, ErrAmbiguous, len(found))
	}
	return slices.Max(found), nil // A tag moves; the newest image has it.
}
