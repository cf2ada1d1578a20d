package localregistry

import (
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// listTags answers tags/list, in pages of n after the tag last.
func (r *Registry) listTags(w http.ResponseWriter, req *http.Request, repo string) error {
	if req.Method != http.MethodGet {
		return notAllowed(w, "GET")
	}
	tags, err := r.store.tags(repo)
	if err != nil {
		return err
	}
	query := req.URL.Query()
	if last := query.Get("last"); last != "" {
		tags = tags[sort.Search(len(tags), func(i int) bool { return tags[i] > last }):]
	}
	if n := r.page(query); len(tags) > n {
		tags = tags[:n]
		next(w, req.URL, tags[max(n-1, 0)])
	}
	return answerJSON(w, "application/json", map[string]any{"name": repo, "tags": append([]string{}, tags...)})
}

// listReferrers answers referrers/DIGEST: distribution specification, section
// "Listing Referrers".
func (r *Registry) listReferrers(w http.ResponseWriter, req *http.Request, repo, digest string) error {
	if r.opts.NoReferrers {
		return refusal{http.StatusNotFound, "NOT_FOUND", "no such path"}
	}
	if req.Method != http.MethodGet {
		return notAllowed(w, "GET")
	}
	h, err := parseDigest(digest)
	if err != nil {
		return err
	}
	list, err := r.store.referrers(repo, h)
	if err != nil {
		return err
	}
	query := req.URL.Query()
	if want := query.Get("artifactType"); want != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
		kept := list[:0]
		for _, d := range list {
			if d.descriptor.ArtifactType == want {
				kept = append(kept, d)
			}
		}
		list = kept
	}
	if last := query.Get("last"); last != "" {
		list = list[sort.Search(len(list), func(i int) bool { return list[i].hex > last }):]
	}
	if n := r.page(query); len(list) > n {
		list = list[:n]
		next(w, req.URL, list[max(n-1, 0)].hex)
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for _, d := range list {
		index.Manifests = append(index.Manifests, d.descriptor)
	}
	return answerJSON(w, string(types.OCIImageIndex), index)
}

// page is how many entries this request gets.
func (r *Registry) page(query url.Values) int {
	if n, err := strconv.Atoi(query.Get("n")); err == nil && n > 0 && n < r.opts.PageSize {
		return n
	}
	return r.opts.PageSize
}

// next points to the page after last, keeping the request's filters.
func next(w http.ResponseWriter, u *url.URL, last string) {
	query := u.Query()
	query.Set("last", last)
	w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, u.Path, query.Encode()))
}
