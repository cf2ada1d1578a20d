package query_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/index"
)

// Pages of one must name every image once, and the last has no next.
func TestPagesOverHTTP(t *testing.T) {
	server := filled(t)
	seen, cursor := map[string]int{}, ""
	for range 3 {
		var page index.WhoHas
		raw := must(t, server, http.MethodGet, "/v1/who-has?package=django&limit=1&cursor="+url.QueryEscape(cursor), "", "")
		if err := json.Unmarshal([]byte(raw), &page); err != nil {
			t.Fatal(err)
		}
		if page.Total != 2 || len(page.Images) != 1 {
			t.Fatalf("a page of one: %s", raw)
		}
		seen[page.Images[0].Digest.String()]++
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(seen) != 2 || cursor != "" {
		t.Errorf("the pages name %v, and then %q", seen, cursor)
	}
}

// Every question that --as-of and --vex are promised for takes them.
func TestQuestionsTakeATimeAndVEX(t *testing.T) {
	server := filled(t)
	now, long := time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "2001-01-01T00:00:00Z"
	for path, q := range questions {
		if path == "/v1/refusals" || path == "/v1/events" || path == "/v1/status" {
			continue
		}
		ask := q.ask + "?"
		if strings.Contains(q.ask, "?") {
			ask = q.ask + "&"
		}
		if answer := must(t, server, http.MethodGet, ask+"vex=true&as-of="+now, "", ""); !strings.Contains(answer, q.says) {
			t.Errorf("%s as of now does not say %s: %s", q.ask, q.says, answer)
		}
		if _, answer := send(t, server, http.MethodGet, ask+"as-of="+long, "", ""); strings.Contains(answer, q.says) {
			t.Errorf("%s says in 2001 what came in today: %s", q.ask, answer)
		}
	}
}
