package image

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// programDir is the folder of an image that the program is in.
const programDir = "app"

// layer makes the layer that holds the program: a folder and a file, both
// root's and not writable by the user the image runs as.
func (g *goBuild) layer(ctx context.Context, program string) (layer, error) {
	file, err := os.Open(program)
	if err != nil {
		return layer{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return layer{}, err
	}
	headers := []*tar.Header{
		{Typeflag: tar.TypeDir, Name: programDir + "/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: path.Join(programDir, filepath.Base(program)), Mode: 0o755, Size: info.Size()},
	}
	r, w := io.Pipe()
	var l layer
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		err := g.write(w, headers, file)
		w.CloseWithError(err)
		return err
	})
	work.Go(func() error {
		var err error
		l, err = g.store.pack(ctx, r)
		r.CloseWithError(err)
		return err
	})
	return l, work.Wait()
}

// write writes a tar whose last member is file.
func (g *goBuild) write(w io.Writer, headers []*tar.Header, file io.Reader) error {
	t := tar.NewWriter(w)
	for _, h := range headers {
		h.ModTime = g.src.CommitTime
		h.Format = tar.FormatUSTAR
		if err := t.WriteHeader(h); err != nil {
			return err
		}
	}
	if _, err := io.Copy(t, file); err != nil {
		return err
	}
	return t.Close()
}
