package localtrust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is the height of the tiles of tlog-tiles.
const tileHeight = 8

// tilePath is a tile's path in tlog-tiles: as in the checksum database, but
// without the height, and with another name for the entries.
func tilePath(t tlog.Tile) string {
	path := strings.Replace(t.Path(), "tile/"+strconv.Itoa(tileHeight)+"/", "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

// parseTilePath is the inverse of tilePath, for paths from strangers.
func parseTilePath(path string) (tlog.Tile, error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || strings.HasPrefix(rest, "data/") {
		return tlog.Tile{}, fmt.Errorf("%q is not a tile's path", path)
	}
	if e, ok := strings.CutPrefix(rest, "entries/"); ok {
		rest = "data/" + e
	}
	return tlog.ParseTilePath("tile/" + strconv.Itoa(tileHeight) + "/" + rest)
}

// tiles reads the tiles of a log's folder, for tlog.TileHashReader, which
// checks them against the tree.
type tiles struct{ dir string }

func (tiles) Height() int { return tileHeight }

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (r tiles) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(want))
	for i, t := range want {
		b, err := os.ReadFile(filepath.Join(r.dir, tilePath(t)))
		if err != nil {
			return nil, err
		}
		if len(b) != t.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes, not %d", tilePath(t), len(b), t.W*tlog.HashSize)
		}
		data[i] = b
	}
	return data, nil
}

// overlay reads the hashes of a tree that grows: those added, and those of the
// tree before.
type overlay struct {
	base  tlog.HashReader
	added map[int64]tlog.Hash
}

func (o overlay) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	var missing []int64
	var at []int
	for i, index := range indexes {
		if h, ok := o.added[index]; ok {
			hashes[i] = h
			continue
		}
		missing, at = append(missing, index), append(at, i)
	}
	if len(missing) == 0 {
		return hashes, nil
	}
	old, err := o.base.ReadHashes(missing)
	if err != nil {
		return nil, err
	}
	if len(old) != len(missing) {
		return nil, errors.New("fewer hashes than asked for")
	}
	for i, h := range old {
		hashes[at[i]] = h
	}
	return hashes, nil
}
