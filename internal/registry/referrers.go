package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// listLimit bounds one page of referrers, or a fallback index, in bytes.
	listLimit = 8 << 20
	// pageLimit bounds how many pages of referrers are read.
	pageLimit = 100
)

// listing is what the referrers API says about a subject.
type listing struct {
	// supported is false when the registry has no such API.
	supported bool
	referrers []v1.Descriptor
}

func (l listing) has(h v1.Hash) bool {
	for _, d := range l.referrers {
		if d.Digest == h {
			return true
		}
	}
	return false
}

// listReferrers asks the referrers API, page by page (distribution
// specification, "Listing Referrers").
func (s *session) listReferrers(ctx context.Context, subject v1.Hash) (listing, error) {
	list := listing{supported: true}
	address, seen := s.at("referrers/%s", subject), map[string]bool{}
	for range pageLimit {
		a, err := s.do(ctx, call{
			method: http.MethodGet, url: address, limit: listLimit,
			header: map[string]string{"Accept": string(types.OCIImageIndex)},
			want: []int{http.StatusOK, http.StatusNotFound, http.StatusBadRequest,
				http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented},
		})
		if err != nil {
			return listing{}, fmt.Errorf("listing referrers of %s: %w", subject, err)
		}
		kind, _, _ := cutParameters(types.MediaType(a.header.Get("Content-Type")))
		if a.status != http.StatusOK || kind != types.OCIImageIndex {
			if len(list.referrers) == 0 {
				return listing{}, nil
			}
			return listing{}, fmt.Errorf("listing referrers of %s: a later page is no index", subject)
		}
		var index v1.IndexManifest
		if err := json.Unmarshal(a.body, &index); err != nil {
			return listing{}, fmt.Errorf("listing referrers of %s: %w", subject, err)
		}
		list.referrers = append(list.referrers, index.Manifests...)
		seen[address] = true
		if address, err = nextPage(a); err != nil || address == "" {
			return list, err
		}
		if seen[address] {
			return listing{}, fmt.Errorf("listing referrers of %s: the registry's pages go in a circle", subject)
		}
	}
	return listing{}, fmt.Errorf("listing referrers of %s: %w: more than %d pages", subject, ErrTooLarge, pageLimit)
}

var linkNext = regexp.MustCompile(`<([^<>]+)>\s*;[^,]*\brel="?next"?`)

// nextPage reads the Link header (RFC 8288). A page elsewhere is refused: it
// would get this registry's credentials or speak for another.
func nextPage(a answer) (string, error) {
	match := linkNext.FindStringSubmatch(strings.Join(a.header.Values("Link"), ","))
	if match == nil {
		return "", nil
	}
	u, err := a.url.Parse(match[1])
	if err != nil {
		return "", errors.New("the registry's link to the next page is not readable")
	}
	if u.Host != a.url.Host {
		return "", fmt.Errorf("%s links to a next page at %s", a.url.Host, tame(u.Host))
	}
	return (&url.URL{Scheme: a.url.Scheme, Host: u.Host, Path: u.Path, RawQuery: u.RawQuery}).String(), nil
}

// fallbackTag is the tag of the index that stands in for the referrers API
// (distribution specification, "Referrers Tag Schema").
func fallbackTag(subject v1.Hash) string { return subject.Algorithm + "-" + subject.Hex }

// fallback is the index under the fallback tag. What other writers put into it
// is kept byte for byte, also what this package does not know.
type fallback struct {
	exists bool
	etag   string
	digest v1.Hash
	index  map[string]json.RawMessage
	// entries are the descriptors as they stand; listed as they read.
	entries []json.RawMessage
	listed  []v1.Descriptor
}

func (s *session) readFallback(ctx context.Context, subject v1.Hash) (fallback, error) {
	tag := fallbackTag(subject)
	m, etag, err := s.lookup(ctx, tag)
	if err != nil {
		return fallback{}, fmt.Errorf("reading fallback tag %s: %w", tag, err)
	}
	if m.raw == nil {
		return fallback{}, nil
	}
	f := fallback{exists: true, etag: etag, digest: m.descriptor.Digest}
	if !m.descriptor.MediaType.IsIndex() {
		return f, fmt.Errorf("reading fallback tag %s: it holds %q and no index", tag, tame(string(m.descriptor.MediaType)))
	}
	if err := json.Unmarshal(m.raw, &f.index); err != nil {
		return f, fmt.Errorf("reading fallback tag %s: %w", tag, err)
	}
	if raw, ok := f.index["manifests"]; ok {
		if err := errors.Join(json.Unmarshal(raw, &f.entries), json.Unmarshal(raw, &f.listed)); err != nil {
			return f, fmt.Errorf("reading fallback tag %s: %w", tag, err)
		}
	}
	return f, nil
}

// lacking gives those descriptors that the index does not list.
func (f fallback) lacking(want []v1.Descriptor) []v1.Descriptor {
	var list []v1.Descriptor
	for _, d := range want {
		if !(listing{referrers: f.listed}).has(d.Digest) {
			list = append(list, d)
		}
	}
	return list
}

// with makes the index that lists the further descriptors too.
func (f fallback) with(more []v1.Descriptor) (manifest, error) {
	index := map[string]json.RawMessage{
		"schemaVersion": json.RawMessage("2"),
		"mediaType":     json.RawMessage(`"` + types.OCIImageIndex + `"`),
	}
	for key, value := range f.index {
		index[key] = value
	}
	entries := append([]json.RawMessage{}, f.entries...)
	for _, d := range more {
		raw, err := json.Marshal(d)
		if err != nil {
			return manifest{}, err
		}
		entries = append(entries, raw)
	}
	var err error
	if index["manifests"], err = json.Marshal(entries); err != nil {
		return manifest{}, err
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return manifest{}, err
	}
	return newManifest(raw, "")
}
