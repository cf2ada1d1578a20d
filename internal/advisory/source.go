package advisory

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Kind is what a source of advisories holds.
type Kind string

// The kinds of sources.
const (
	// OSV is a folder or archive of OSV records, JSON or YAML.
	OSV Kind = "osv"
	// DebianList is Debian's list of advisories (data/DSA/list or
	// data/DLA/list of the security tracker), or a folder or archive of such.
	DebianList Kind = "debian"
	// KEV is CISA's catalogue of known exploited vulnerabilities in JSON.
	KEV Kind = "kev"
	// CVSS is a table of CVE, vector, score and severity, separated by tabs.
	CVSS Kind = "cvss"
)

// Source is one input of a build: a file, a folder, or an archive (.zip, .tar,
// .tar.gz, .tgz, .tar.zst, .tar.xz). A single file may be compressed (.gz,
// .zst, .xz).
type Source struct {
	Kind Kind
	Path string
	// FS, when set, is read instead of the disk, with Path as its root folder.
	FS fs.FS
}

// Bounds on what is read. A table is one file that is held in memory.
const (
	maxTable   = 256 << 20
	maxEntries = 10_000_000
)

// walk calls visit for each regular file of the source, in an order that
// depends on the source only, with the file's name within it. The reader is
// good until visit returns.
func (s Source) walk(ctx context.Context, visit func(name string, r io.Reader) error) error {
	if s.FS != nil {
		return walkFolder(ctx, s.FS, s.Path, visit)
	}
	info, err := os.Stat(s.Path)
	if err != nil {
		return hint.Add(fmt.Errorf("opening advisories: %w", err), "check the path given for %s", s.Kind)
	}
	if info.IsDir() {
		return walkFolder(ctx, os.DirFS(s.Path), ".", visit)
	}
	if path.Ext(s.Path) == ".zip" {
		return walkZip(ctx, s.Path, visit)
	}
	f, err := os.Open(s.Path)
	if err != nil {
		return fmt.Errorf("opening advisories: %w", err)
	}
	defer f.Close()
	plain := plainName(filepath.Base(s.Path))
	r, err := inflate(f)
	if err != nil {
		return fmt.Errorf("opening %s: %w", s.Path, err)
	}
	defer r.Close()
	if path.Ext(plain) == ".tar" {
		if err := walkTar(ctx, r, visit); err != nil {
			return fmt.Errorf("reading %s: %w", s.Path, err)
		}
		return nil
	}
	return visit(plain, r)
}

func walkFolder(ctx context.Context, fsys fs.FS, root string, visit func(string, io.Reader) error) error {
	return fs.WalkDir(fsys, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reading advisories: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.IsDir() && name != root && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := fsys.Open(name)
		if err != nil {
			return fmt.Errorf("reading advisories: %w", err)
		}
		defer f.Close()
		return visit(name, f)
	})
}

func walkZip(ctx context.Context, file string, visit func(string, io.Reader) error) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("opening %s: %w", file, err)
	}
	defer z.Close()
	for _, entry := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !entry.Mode().IsRegular() {
			continue
		}
		r, err := entry.Open()
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		err = visit(entry.Name, r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func walkTar(ctx context.Context, r io.Reader, visit func(string, io.Reader) error) error {
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := visit(h.Name, t); err != nil {
			return err
		}
	}
}

// inflate undoes the compression that the first bytes tell: gzip, zstd or xz.
// Other content comes as it is.
func inflate(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxMemory(512<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		z, err := xz.ReaderConfig{DictCap: 64 << 20}.NewReader(b)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(z), nil
	}
	return io.NopCloser(b), nil
}

// plainName is a file's name without the ending that tells its compression.
func plainName(name string) string {
	if base, ok := strings.CutSuffix(name, ".tgz"); ok {
		return base + ".tar"
	}
	for _, ext := range []string{".gz", ".zst", ".xz"} {
		if base, ok := strings.CutSuffix(name, ext); ok {
			return base
		}
	}
	return name
}
