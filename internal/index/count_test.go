package index_test

import (
	"fmt"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// Sets of images are kept in words of 64: whatever is asked or told must be
// right at every number of images around their ends.
func TestEveryNumberOfImages(t *testing.T) {
	e := newEstate(t)
	for n := 1; n <= 130; n++ {
		e.image(n, "registry.example/app", "pkg:pypi/common@1.0.0", fmt.Sprintf("pkg:pypi/own-%d@1.0.0", n))
		id := fmt.Sprintf("ADV-%d", n)
		events, err := e.Apply(index.Change{At: day(n), Import: "test", Records: []vulnerability.Record{{Provider: "p", ID: id, Affected: []vulnerability.Row{{
			Type: "pypi", Name: "common", Ranges: []vulnerability.Range{{Format: "python"}},
		}}}}})
		if err != nil || len(events) != 1 || events[0].Images != n {
			t.Fatalf("with %d images: %+v, %v", n, events, err)
		}
		for _, o := range []index.Options{{}, {AsOf: day(n)}} {
			hit, err := e.Affected(index.AffectedQuery{ID: id}, o)
			if err != nil || hit.Total != n {
				t.Fatalf("with %d images, %+v: %d are affected, %v", n, o, hit.Total, err)
			}
			held, err := e.WhoHas(index.PackageQuery{Text: "common"}, o)
			if err != nil || held.Total != n {
				t.Fatalf("with %d images, %+v: %d have it, %v", n, o, held.Total, err)
			}
			if _, err := e.Top("images", o); err != nil {
				t.Fatal(err)
			}
		}
	}
}
