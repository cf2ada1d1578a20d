package query_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/query"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

const (
	readers   = 64
	documents = 60
	perImage  = 40
)

// TestReadersDuringIntake has 64 readers ask everything while images come in:
// none meets an error, none sees a part of an image, and for none does an image
// go that was there.
func TestReadersDuringIntake(t *testing.T) {
	server := unbounded(t)
	must(t, server, http.MethodPost, "/v1/advisories?source=a&built=2026-11-01T00:00:00Z", "application/x-ndjson", advisory("PYSEC-2019-16", "CVE-2019-14234"))
	must(t, server, http.MethodPost, "/v1/sboms?image="+url.QueryEscape(imageName(0)), "application/json", large(0))
	done := make(chan struct{})
	asked := make(chan int, readers)
	var group sync.WaitGroup
	for n := range readers {
		group.Go(func() {
			r := reader{t: t, server: server}
			for {
				select {
				case <-done:
					asked <- r.asked
					return
				default:
					r.round(n)
				}
			}
		})
	}
	for n := 1; n < documents; n++ {
		must(t, server, http.MethodPost, "/v1/sboms?image="+url.QueryEscape(imageName(n)), "application/json", large(n))
	}
	close(done)
	group.Wait()
	close(asked)
	total := 0
	for n := range asked {
		total += n
	}
	if r := (&reader{t: t, server: server}); r.count("/v1/who-has?package=django") != documents {
		t.Errorf("not all %d images are there in the end", documents)
	}
	if total < readers*3 {
		t.Errorf("%d readers asked %d questions: they did not read during intake", readers, total)
	}
	t.Logf("%d questions by %d readers while %d images came in", total, readers, documents)
}

// unbounded serves a new store without a bound on the rate of requests.
func unbounded(t *testing.T) *httptest.Server {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "memory.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m, err := memory.Open(t.Context(), memory.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	server := httptest.NewServer(query.New(query.Config{
		Memory: m, Intake: intake.New(intake.Config{Memory: m, Unverified: true}), Metrics: query.NewMetrics("test"), Version: "test",
		ReadRate: 1e9, WriteRate: 1e9,
	}))
	t.Cleanup(server.Close)
	return server
}

func imageName(n int) string {
	return fmt.Sprintf("registry.test/team/app%d@sha256:%064x", n, n+1)
}

// large is a document of perImage packages, one of which every image has and
// an advisory hits, and one of which this image alone has.
func large(n int) string {
	list := []string{
		`{"type":"library","name":"django","version":"2.0.1","purl":"pkg:pypi/django@2.0.1"}`,
		fmt.Sprintf(`{"type":"library","name":"own%d","version":"1","purl":"pkg:pypi/own%d@1"}`, n, n),
	}
	for i := len(list); i < perImage; i++ {
		list = append(list, fmt.Sprintf(`{"type":"library","name":"lib%d","version":"1.%d","purl":"pkg:pypi/lib%d@1.%d"}`, i, n%7, i, n%7))
	}
	return `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[` + strings.Join(list, ",") + `]}`
}

// reader remembers how many images it has seen.
type reader struct {
	t      *testing.T
	server *httptest.Server
	seen   int
	asked  int
}

// round asks each question once.
func (r *reader) round(n int) {
	total := r.count("/v1/who-has?package=django")
	if total < r.seen {
		r.t.Errorf("%d images hold django, and %d did before", total, r.seen)
	}
	r.seen = total
	if hit := r.count("/v1/affected/CVE-2019-14234"); hit < total {
		r.t.Errorf("%d images hold what the advisory hits, and %d are affected", total, hit)
	}
	for _, path := range []string{"/v1/licences", "/v1/top"} {
		r.ask(path, http.StatusOK)
	}
	image := imageName(n % documents)
	status, answer := r.ask("/v1/image?ref="+url.QueryEscape(image), http.StatusOK, http.StatusNotFound)
	if status == http.StatusNotFound {
		return
	}
	var whole struct {
		Packages []json.RawMessage `json:"packages"`
	}
	if err := json.Unmarshal(answer, &whole); err != nil || len(whole.Packages) != perImage {
		r.t.Errorf("%s has %d packages and not %d: %v", image, len(whole.Packages), perImage, err)
	}
	if own := r.count(fmt.Sprintf("/v1/who-has?package=own%d", n%documents)); own != 1 {
		r.t.Errorf("%s is there, and %d images hold its own package", image, own)
	}
}

func (r *reader) count(path string) int {
	_, answer := r.ask(path, http.StatusOK)
	var a struct {
		Total int `json:"total"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		r.t.Errorf("%s: %v", path, err)
	}
	return a.Total
}

func (r *reader) ask(path string, want ...int) (status int, answer []byte) {
	r.asked++
	resp, err := r.server.Client().Get(r.server.URL + path)
	if err != nil {
		r.t.Error(err)
		return 0, nil
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	for _, w := range want {
		if err == nil && resp.StatusCode == w {
			return resp.StatusCode, answer
		}
	}
	r.t.Errorf("%s: %d %v %s", path, resp.StatusCode, err, answer)
	return resp.StatusCode, answer
}
