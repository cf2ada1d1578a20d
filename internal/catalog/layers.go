package catalog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// linkFlatLayers spares the copy of every layer that is already on disk in the
// form stereoscope wants. Stereoscope spools each layer uncompressed to
// dir/INDEX-DIFFID and takes a file of that name for the finished spool; a
// symbolic link to a layer's own file is such a file. Should the name change
// in another version the links are ignored and layers are copied: slower, not
// wrong.
func linkFlatLayers(img v1.Image, dir string) error {
	layers, err := img.Layers()
	if err != nil {
		return fmt.Errorf("listing layers: %w", err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return fmt.Errorf("reading the image config: %w", err)
	}
	if len(cfg.RootFS.DiffIDs) != len(layers) {
		return fmt.Errorf("the image config lists %d diff IDs for %d layers", len(cfg.RootFS.DiffIDs), len(layers))
	}
	for i, layer := range layers {
		file, err := flatFile(layer)
		if err != nil {
			return fmt.Errorf("opening layer %d: %w", i, err)
		}
		if file == "" {
			continue
		}
		name := fmt.Sprintf("%d-%s", i, strings.ReplaceAll(cfg.RootFS.DiffIDs[i].String(), ":", "-"))
		if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("linking layer %d: %w", i, err)
		}
	}
	return nil
}

// flatFile is the absolute path of the file that holds the layer uncompressed,
// or empty when the layer is read in some other way.
func flatFile(layer v1.Layer) (string, error) {
	r, err := layer.Uncompressed()
	if err != nil {
		return "", err
	}
	defer r.Close()
	f, ok := r.(*os.File)
	if !ok {
		return "", nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "", err
	}
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != 0 {
		return "", errors.Join(err)
	}
	return filepath.Abs(f.Name())
}
