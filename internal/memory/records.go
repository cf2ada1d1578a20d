package memory

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// Image is an image to be taken in, with what its evidence lists.
type Image struct {
	Digest v1.Hash
	// Name is a repository, or a repository and tag as REPOSITORY:TAG.
	Name string
	// Evidence is the digest of the document that lists the packages.
	Evidence v1.Hash
	Verified bool
	// Commit and Source are the provenance's; empty without one.
	Commit, Source string
	// Signed is when the evidence was signed; zero when nothing proves it.
	Signed   time.Time
	Packages []component.Listed
	// Unidentified counts the document's packages that have no name.
	Unidentified int
}

// packageNotes and imageNotes are the JSON that a store keeps beside a package
// and an image.
type packageNotes struct {
	Licences []string `json:"licences,omitempty"`
	Supplier string   `json:"supplier,omitempty"`
}

type imageNotes struct {
	Commit       string    `json:"commit,omitempty"`
	Source       string    `json:"source,omitempty"`
	Signed       time.Time `json:"signed,omitzero"`
	Unidentified int       `json:"unidentified,omitempty"`
}

// maxWord bounds a name, version, licence or supplier in bytes. Longer ones
// are cut: no real one is longer, and every answer that names it carries it.
const maxWord = 1 << 10

func cut(s string) string {
	if len(s) <= maxWord {
		return s
	}
	return strings.ToValidUTF8(s[:maxWord], "") + "…"
}

// arrival is the image as a store takes it.
func (i Image) arrival(at time.Time) (store.Arrival, error) {
	// What the index would choke on must never become truth.
	if i.Digest.Algorithm != "sha256" || i.Evidence.Algorithm != "sha256" {
		return store.Arrival{}, fmt.Errorf("the digest %s or its evidence's is not SHA-256", i.Digest)
	}
	body, err := json.Marshal(imageNotes{i.Commit, i.Source, i.Signed, i.Unidentified})
	if err != nil {
		return store.Arrival{}, err
	}
	a := store.Arrival{Digest: i.Digest.String(), Name: i.Name, Evidence: i.Evidence.String(), Verified: i.Verified, At: at,
		Body: body, Packages: make([]store.Package, 0, len(i.Packages))}
	for _, p := range i.Packages {
		key := []byte(p.Key())
		if back, err := component.ParseKey(p.Key()); err != nil || back != p.Package {
			return store.Arrival{}, fmt.Errorf("the package %q has no key that can be read back", p.Name)
		}
		made := store.Package{Key: store.KeyOf(key), Body: key}
		if len(p.Licences) > 0 || p.Supplier != "" {
			n := packageNotes{Supplier: cut(p.Supplier)}
			for _, l := range p.Licences[:min(len(p.Licences), 32)] {
				n.Licences = append(n.Licences, cut(l))
			}
			if made.Notes, err = json.Marshal(n); err != nil {
				return store.Arrival{}, err
			}
		}
		a.Packages = append(a.Packages, made)
	}
	return a, nil
}

// imageOf is a store's record as the index takes it.
func imageOf(i store.Image) (index.Image, error) {
	digest, err := v1.NewHash(i.Digest)
	if err != nil {
		return index.Image{}, fmt.Errorf("image record %d: %w: %w", i.ID, store.ErrCorrupt, err)
	}
	evidence, err := v1.NewHash(i.Evidence)
	if err != nil {
		return index.Image{}, fmt.Errorf("image record %d: %w: %w", i.ID, store.ErrCorrupt, err)
	}
	var n imageNotes
	if err := decode(i.Body, &n); err != nil {
		return index.Image{}, fmt.Errorf("image record %d: %w", i.ID, err)
	}
	made := index.Image{ID: i.ID, Digest: digest, Evidence: evidence, Verified: i.Verified, Commit: n.Commit, Source: n.Source,
		Recorded: i.At, Built: n.Signed, Packages: i.Packages, Unidentified: n.Unidentified}
	made.Repository, made.Tags = places(i.Names)
	return made, nil
}

// places splits names into the first repository with its tags. What is
// elsewhere stays a full name among the tags.
func places(names []string) (repository string, tags []string) {
	for _, n := range names {
		repo, tag := splitName(n)
		switch {
		case repository == "":
			repository = repo
			fallthrough
		case repo == repository:
			if tag != "" {
				tags = append(tags, tag)
			}
		default:
			tags = append(tags, n)
		}
	}
	return repository, tags
}

func splitName(n string) (repository, tag string) {
	if t, err := name.NewTag(n, name.StrictValidation); err == nil {
		return t.Context().Name(), t.TagStr()
	}
	return n, ""
}

func decode(raw []byte, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return nil
}
