package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
)

// TagLimit is the most tags of a repository that are listed. More is an error
// and not a selection.
const TagLimit = 100_000

// Tags lists the tags of a repository, page by page, in the registry's order
// (distribution specification, "Listing Tags"). A repository that does not
// exist is an error for which IsNotFound holds.
func (c *Client) Tags(ctx context.Context, repo name.Repository) ([]string, error) {
	s, err := c.open(ctx, repo, false)
	if err != nil {
		return nil, err
	}
	var tags []string
	address, seen := s.at("tags/list")+"?n=1000", map[string]bool{}
	for address != "" {
		if seen[address] {
			return nil, fmt.Errorf("listing tags of %s: the registry's pages go in a circle", repo)
		}
		seen[address] = true
		a, err := s.do(ctx, call{method: http.MethodGet, url: address, limit: listLimit, want: []int{http.StatusOK}})
		if err != nil {
			return nil, fmt.Errorf("listing tags of %s: %w", repo, err)
		}
		var page struct {
			Tags []string `json:"tags"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, fmt.Errorf("listing tags of %s: %w", repo, err)
		}
		if tags = append(tags, page.Tags...); len(tags) > TagLimit {
			return nil, fmt.Errorf("listing tags of %s: %w: more than %d tags", repo, ErrTooLarge, TagLimit)
		}
		if address, err = nextPage(a); err != nil {
			return nil, fmt.Errorf("listing tags of %s: %w", repo, err)
		}
	}
	return tags, nil
}
