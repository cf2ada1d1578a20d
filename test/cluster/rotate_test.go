//go:build cluster

package cluster_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
)

// rotate gives the world's trust new keys and serves the new root by TUF. Verifiers on this machine forget the root they
// have, as they do after a day.
func (w *world) rotate() {
	w.t.Helper()
	if err := localtrust.Rotate(w.t.Context(), filepath.Join(w.dir, "trust"), time.Now()); err != nil {
		w.t.Fatal(err)
	}
	w.trust = w.sigstore("trust", time.Now)
	w.serving.Store(w.trust)
	for _, cache := range []string{"cache", ".cache"} {
		if err := os.RemoveAll(filepath.Join(w.dir, cache)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestRotatedRoot rotates the trust root while the policies stand. All three judges still take what was signed before, take
// what is signed after, and refuse what is signed with the keys of before.
func TestRotatedRoot(t *testing.T) {
	w := newWorld(t)
	c := startCluster(t, w)
	// Timestamps have seconds: a clock that is ahead puts what the retired keys sign well after the rotation.
	ahead := func() time.Time { return time.Now().Add(time.Minute) }
	old := w.sigstore("trust", ahead)
	before, seen := w.released(ours()).String(), w.released(ours()).String()
	if said := admits(t, c, in("shop", pod(seen))); !said.yes {
		t.Fatal(said.words)
	}
	w.rotate()
	after, forged := w.released(ours()).String(), w.push()
	w.attach(forged, w.signAt(old, ahead, ours(), w.full(forged, ours())...))
	late := forged.String()
	anchor := w.anchor()
	for _, tt := range []struct {
		name, image string
		want        bool
	}{
		{"signed before, and seen", seen, true},
		{"signed before", before, true},
		{"signed after", after, true},
		{"signed after with the retired keys", late, false},
	} {
		o := in("shop", pod(tt.image))
		for judge, said := range map[string]says{"Kyverno": admits(t, c, o), "policy test": w.tests(o), "verify": w.verifies(anchor, tt.image)} {
			t.Logf("%s, %s: %s", tt.name, judge, said)
			if said.yes != tt.want {
				t.Errorf("%s: %s says %s: %s", tt.name, judge, said, said.words)
			}
		}
	}
}
