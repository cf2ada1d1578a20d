package estate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/bench/estate"
)

func grow(t *testing.T, seed uint64) (*estate.Estate, []estate.Image) {
	t.Helper()
	e, err := estate.Grow(estate.Options{Seed: seed, Images: 500, Packages: 100, Versions: 10, Advisories: 300})
	if err != nil {
		t.Fatal(err)
	}
	var images []estate.Image
	e.Each(func(i estate.Image) error { images = append(images, i); return nil })
	return e, images
}

func TestGrow(t *testing.T) {
	e, images := grow(t, 7)
	total := 0
	for _, i := range images {
		total += len(i.Packages)
	}
	mean := float64(total) / float64(len(images))
	if len(images) != 500 || mean < 80 || mean > 120 || len(e.Packages) < 1000 || len(e.Advisories) < 200 {
		t.Errorf("%d images with %.0f packages each, %d distinct, %d advisories", len(images), mean, len(e.Packages), len(e.Advisories))
	}
	again, same := grow(t, 7)
	if diff := cmp.Diff(images, same); diff != "" || !cmp.Equal(e.Packages, again.Packages) || !cmp.Equal(e.Advisories, again.Advisories) {
		t.Errorf("the same seed gives another estate: %s", diff)
	}
	if _, other := grow(t, 8); cmp.Equal(images, other) {
		t.Error("another seed gives the same estate")
	}
}
