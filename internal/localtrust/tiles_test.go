package localtrust

import (
	"path/filepath"
	"strings"
	"testing"
)

// FuzzTilePath asserts that a path from a stranger is refused, or is the one
// path of its tile and stays in the log's folder.
func FuzzTilePath(f *testing.F) {
	for _, p := range []string{"tile/0/000", "tile/1/x001/234.p/7", "tile/entries/000.p/255", "tile/data/000", "tile/8/0/000", "tile/0/../000", "tile/-1/000", "tile/0/000.p/256", "checkpoint", ""} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		tile, err := parseTilePath(path)
		if err != nil {
			return
		}
		if tilePath(tile) != path {
			t.Errorf("%q is read as the tile %q", path, tilePath(tile))
		}
		if !filepath.IsLocal(path) || filepath.Clean(path) != path || !strings.HasPrefix(path, "tile/") {
			t.Errorf("%q leads out of the log", path)
		}
	})
}
