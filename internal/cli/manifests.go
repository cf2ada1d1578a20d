package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// manifestFiles are the files that -f names: itself, or what a folder holds in
// manifests, in the order of their names.
func manifestFiles(named []string) ([]string, error) {
	var all []string
	for _, path := range named {
		info, err := os.Stat(path)
		switch {
		case path == "-":
			all = append(all, path)
			continue
		case err != nil:
			return nil, misuse{fmt.Errorf("reading manifests: %w", err)}
		case !info.IsDir():
			all = append(all, path)
			continue
		}
		before := len(all)
		err = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
				all = append(all, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading manifests in %s: %w", path, err)
		}
		if len(all) == before {
			return nil, misuse{hint.Add(fmt.Errorf("%s holds no manifest", path), "manifests end in .yaml, .yml or .json")}
		}
	}
	return all, nil
}
