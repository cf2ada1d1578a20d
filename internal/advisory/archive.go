package advisory

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
)

const (
	latestName   = "latest.json"
	bundleSuffix = ".sigstore.json"
	// maxDatabase bounds a database out of an archive, in bytes: five times
	// the largest published one.
	maxDatabase = 8 << 30
	// maxSmall bounds files that are read whole: latest.json, bundles.
	maxSmall = 8 << 20
)

var schema = fmt.Sprintf("v%d.%d.%d", v6.ModelVersion, v6.Revision, v6.Addition)

// archiveName follows grype's own naming, schema, date of the data and build
// time in seconds, but writes the date without colons, which file systems and
// release pages refuse.
func archiveName(built time.Time) string {
	return fmt.Sprintf("vulnerability-db_%s_%s_%d.tar.zst", schema, built.UTC().Format("20060102T150405Z"), built.Unix())
}

// pack writes the archive of a database folder. Its bytes depend on the two
// files and the time only.
func pack(ctx context.Context, dir, to string, t time.Time) (digest v1.Hash, err error) {
	f, err := os.Create(to)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("packing archive: %w", err)
	}
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("packing archive: %w", e)
		}
	}()
	sum := sha256.New()
	z, err := zstd.NewWriter(io.MultiWriter(f, sum), zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return v1.Hash{}, fmt.Errorf("packing archive: %w", err)
	}
	w := tar.NewWriter(z)
	for _, name := range []string{v6.VulnerabilityDBFileName, v6.ImportMetadataFileName} {
		if err := packFile(ctx, w, dir, name, t); err != nil {
			return v1.Hash{}, fmt.Errorf("packing archive: %w", err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return v1.Hash{}, fmt.Errorf("packing archive: %w", err)
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, nil
}

func packFile(ctx context.Context, w *tar.Writer, dir, name string, t time.Time) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o644, ModTime: t.UTC().Truncate(time.Second), Format: tar.FormatUSTAR}
	if info.Size() > 8<<30-1 {
		header.Format = tar.FormatPAX
	}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, reader{ctx, f})
	return err
}

// reader ends with the context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// unpack takes the database, and its checksum file when there is one, out of
// an archive into the new folder dir. Anything that points out of the archive
// or is no plain file refuses the whole; other plain files are passed over.
func unpack(ctx context.Context, from io.Reader, dir string) error {
	z, err := inflate(reader{ctx, from})
	if err != nil {
		return err
	}
	defer z.Close()
	limit := &io.LimitedReader{R: z, N: maxDatabase}
	found := false
	t := tar.NewReader(limit)
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && found:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("no %s in it", v6.VulnerabilityDBFileName)
		case n == 0 && (errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF)):
			return errors.New("it is neither a database nor an archive of one")
		case err != nil:
			if limit.N <= 0 {
				err = fmt.Errorf("larger than %d bytes unpacked", int64(maxDatabase))
			}
			return err
		case !filepath.IsLocal(h.Name) && path.Clean(h.Name) != ".":
			return fmt.Errorf("entry %q leads out of the archive", h.Name)
		case h.Typeflag == tar.TypeDir:
			continue
		case h.Typeflag != tar.TypeReg:
			return fmt.Errorf("entry %q is no plain file", h.Name)
		}
		name := path.Clean(h.Name)
		if name != v6.VulnerabilityDBFileName && name != v6.ImportMetadataFileName {
			continue
		}
		found = found || name == v6.VulnerabilityDBFileName
		if err := writeNew(filepath.Join(dir, name), t); err != nil {
			return err
		}
	}
}

func writeNew(file string, r io.Reader) (err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// writeWhole writes a small file so that a reader sees the old or the new one.
func writeWhole(file string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}

// latest is the document that tells grype which archive is the newest.
type latest struct {
	Status string    `json:"status"`
	Schema string    `json:"schemaVersion"`
	Built  time.Time `json:"built"`
	Path   string    `json:"path"`
	Digest string    `json:"checksum"`
}

func latestDocument(name string, digest v1.Hash, built time.Time) ([]byte, error) {
	doc, err := json.MarshalIndent(latest{Status: "active", Schema: schema, Built: built.UTC().Truncate(time.Second),
		Path: name, Digest: digest.String()}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", latestName, err)
	}
	return append(doc, '\n'), nil
}
