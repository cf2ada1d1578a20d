package localregistry_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/localregistry"
)

func TestTagsAreListed(t *testing.T) {
	s := start(t, t.TempDir(), localregistry.Options{PageSize: 2})
	s.blob("app", "{}")
	for _, tag := range []string{"c", "a", "e", "b", "d"} {
		s.put(201, "", "app", tag, manifest(""))
	}
	var got []string
	for path := "/v2/app/tags/list"; path != ""; {
		r := s.want(200, "", "GET", path, "")
		var page struct{ Tags []string }
		if err := json.Unmarshal([]byte(r.body), &page); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(page.Tags, "+"))
		path = link(r)
	}
	if diff := cmp.Diff([]string{"a+b", "c+d", "e"}, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func link(r response) string {
	path, _, _ := strings.Cut(strings.TrimPrefix(r.header.Get("Link"), "<"), ">")
	return path
}

func TestReferrers(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, localregistry.Options{PageSize: 2})
	s.blob("app", "{}")
	subject := manifest("")
	about := fmt.Sprintf(`,"subject":{"mediaType":%q,"size":%d,"digest":%q}`, manifestType, len(subject), digest(subject))
	want := map[string]string{}
	for i := range 5 {
		m := manifest(about + fmt.Sprintf(`,"artifactType":"type/%d","annotations":{"n":"%d"}`, i%2, i))
		// A referrer may come before its subject.
		r := s.put(201, "", "app", digest(m), m)
		if got := r.header.Get("OCI-Subject"); got != digest(subject) {
			t.Errorf("OCI-Subject %q, want %s", got, digest(subject))
		}
		want[digest(m)] = fmt.Sprintf("type/%d %d", i%2, i)
	}
	bare := manifest(about)
	s.put(201, "", "app", digest(bare), bare)
	want[digest(bare)] = "application/vnd.oci.empty.v1+json "

	list := func(query string) map[string]string {
		got := map[string]string{}
		for path := "/v2/app/referrers/" + digest(subject) + query; path != ""; {
			r := s.want(200, "", "GET", path, "")
			if r.header.Get("Content-Type") != string(types.OCIImageIndex) {
				t.Fatalf("content type %q", r.header.Get("Content-Type"))
			}
			var index v1.IndexManifest
			if err := json.Unmarshal([]byte(r.body), &index); err != nil {
				t.Fatal(err)
			}
			if len(index.Manifests) > 2 {
				t.Errorf("%d on a page of 2", len(index.Manifests))
			}
			for _, d := range index.Manifests {
				got[d.Digest.String()] = d.ArtifactType + " " + d.Annotations["n"]
			}
			path = link(r)
		}
		return got
	}
	if diff := cmp.Diff(want, list("")); diff != "" {
		t.Errorf("referrers (-want +got):\n%s", diff)
	}
	filtered := list("?artifactType=type/0")
	if len(filtered) != 3 {
		t.Errorf("filtered: %v, want the three of type/0", filtered)
	}
	s.want(202, "", "DELETE", "/v2/app/manifests/"+digest(bare), "")
	if n := len(list("")); n != 5 {
		t.Errorf("%d referrers after one was deleted, want 5", n)
	}
	s = start(t, dir, localregistry.Options{PageSize: 2})
	if n := len(list("")); n != 5 {
		t.Errorf("%d referrers after a restart, want 5", n)
	}
	if got := s.want(200, "", "GET", "/v2/app/referrers/"+digest("nobody"), "").body; !strings.Contains(got, `"manifests":[]`) {
		t.Errorf("referrers of nothing: %s", got)
	}

	s = start(t, dir, localregistry.Options{NoReferrers: true})
	s.want(404, "", "GET", "/v2/app/referrers/"+digest(subject), "")
	if r := s.put(201, "", "app", digest(bare), bare); r.header.Get("OCI-Subject") != "" {
		t.Error("announces referrers that it does not list")
	}
}

func TestImmutableTags(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, localregistry.Options{ImmutableTags: true})
	s.blob("app", "{}")
	m := manifest("")
	s.put(201, "", "app", "v1", m)
	s.put(400, "TAG_INVALID", "app", "v1", m)
	s.put(400, "TAG_INVALID", "app", "v1", manifest(`,"annotations":{"a":"b"}`))
	s.put(201, "", "app", digest(m), m)
	if got := s.want(200, "", "GET", "/v2/app/manifests/v1", "").body; got != m {
		t.Errorf("tag holds %s", got)
	}
}

func TestConditions(t *testing.T) {
	s := start(t, t.TempDir(), localregistry.Options{})
	s.blob("app", "{}")
	m, other := manifest(""), manifest(`,"annotations":{"a":"b"}`)
	s.put(412, "", "app", "v1", m, `If-Match: "`+digest(m)+`"`)
	s.put(201, "", "app", "v1", m, "If-None-Match: *")
	s.put(412, "", "app", "v1", other, "If-None-Match: *")
	s.put(412, "", "app", "v1", other, `If-Match: "`+digest(other)+`"`)
	etag := s.want(200, "", "GET", "/v2/app/manifests/v1", "").header.Get("ETag")
	s.put(201, "", "app", "v1", other, "If-Match: "+etag)
}
