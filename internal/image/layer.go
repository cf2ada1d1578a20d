package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// compression is how a layer is stored.
type compression string

const (
	plain     compression = "plain"
	gzipped   compression = "gzip"
	zstandard compression = "zstd"
	// opaque is no layer at all: only digest and size count.
	opaque compression = "opaque"
)

// sniffBytes is how many bytes sniff needs.
const sniffBytes = 4

// The compression of what hallmark writes itself. The block size is part of
// it: pgzip's output depends on level and block size, not on how many blocks
// are in work at once, so a digest does not depend on the number of cores.
const (
	gzipLevel = 3
	gzipBlock = 1 << 20
)

// zstdWindow bounds the memory one zstd layer may ask for, in bytes; it is
// what zstd --long uses.
const zstdWindow = 128 << 20

// sniff tells the compression from a file's first bytes.
func sniff(head []byte) compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzipped
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	}
	return plain
}

// inflater reads the uncompressed form of r.
func inflater(r *bufio.Reader, c compression) (io.Reader, func(), error) {
	switch c {
	case gzipped:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, func() {}, nil
	case zstandard:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// layer is one layer of an image in a store.
type layer struct {
	desc   v1.Descriptor
	diffID v1.Hash
}

// take brings a blob of an existing layout into the store: it checks digest and
// size and then, for a layer, inflates what it checked and keeps the result by
// the diff ID it gives, which is returned. An opaque blob has none.
func (s *store) take(ctx context.Context, b blob, desc v1.Descriptor, c compression) (v1.Hash, error) {
	if b.size != unknownSize && b.size != desc.Size {
		return v1.Hash{}, fmt.Errorf("blob %s has %d bytes, its descriptor says %d", desc.Digest, b.size, desc.Size)
	}
	part, err := s.part(b, desc.Digest)
	if err != nil {
		return v1.Hash{}, err
	}
	defer part.discard()
	stored := sha256.New()
	size, err := io.CopyBuffer(io.MultiWriter(stored, part), withContext{ctx, b}, make([]byte, chunkSize))
	if err != nil {
		return v1.Hash{}, fmt.Errorf("reading blob %s: %w", desc.Digest, err)
	}
	if got := sum(stored); got != desc.Digest {
		return v1.Hash{}, fmt.Errorf("blob %s is not what its name says: its digest is %s", desc.Digest, got)
	}
	if size != desc.Size {
		return v1.Hash{}, fmt.Errorf("blob %s has %d bytes, its descriptor says %d", desc.Digest, size, desc.Size)
	}
	var diffID v1.Hash
	if c == gzipped || c == zstandard {
		if diffID, err = s.inflateFile(ctx, part.path, c); err != nil {
			return v1.Hash{}, fmt.Errorf("inflating blob %s: %w", desc.Digest, err)
		}
	}
	if err := part.adopt(s.blob(desc.Digest)); err != nil {
		return v1.Hash{}, err
	}
	if c == plain {
		diffID = desc.Digest
		// Without the second name, reading falls back to the blob itself.
		_ = os.Link(s.blob(desc.Digest), s.flat(diffID))
	}
	return diffID, nil
}

// inflateFile keeps the uncompressed form of a file and gives its diff ID.
func (s *store) inflateFile(ctx context.Context, path string, c compression) (v1.Hash, error) {
	f, err := os.Open(path)
	if err != nil {
		return v1.Hash{}, err
	}
	defer f.Close()
	if c == gzipped {
		if m, err := mapFile(f); err == nil {
			defer m.close()
			raw := m.reader()
			z, err := gzip.NewReader(raw)
			if err != nil {
				return v1.Hash{}, err
			}
			return s.spool(ctx, m.guard(z, raw))
		}
	}
	return s.inflate(ctx, bufio.NewReaderSize(f, chunkSize), c)
}

// inflate keeps the uncompressed form of r and gives its diff ID.
func (s *store) inflate(ctx context.Context, r *bufio.Reader, c compression) (v1.Hash, error) {
	z, closeZ, err := inflater(r, c)
	if err != nil {
		return v1.Hash{}, err
	}
	defer closeZ()
	return s.spool(ctx, z)
}

// spool keeps an uncompressed layer and gives its diff ID.
func (s *store) spool(ctx context.Context, r io.Reader) (v1.Hash, error) {
	part, err := s.create()
	if err != nil {
		return v1.Hash{}, err
	}
	defer part.discard()
	content := sha256.New()
	if _, err := flow(ctx, r, nil, io.MultiWriter(content, part)); err != nil {
		return v1.Hash{}, err
	}
	diffID := sum(content)
	return diffID, part.adopt(s.flat(diffID))
}

// pack makes a layer of an uncompressed tar: kept as it is by its diff ID, and
// gzip-compressed on all cores as a blob, in one pass.
func (s *store) pack(ctx context.Context, r io.Reader) (layer, error) {
	flat, err := s.create()
	if err != nil {
		return layer{}, err
	}
	defer flat.discard()
	packed, err := s.create()
	if err != nil {
		return layer{}, err
	}
	defer packed.discard()

	stored, content := sha256.New(), sha256.New()
	z, err := pgzip.NewWriterLevel(io.MultiWriter(stored, packed), gzipLevel)
	if err != nil {
		return layer{}, err
	}
	if err := z.SetConcurrency(gzipBlock, runtime.GOMAXPROCS(0)); err != nil {
		return layer{}, err
	}
	_, err = flow(ctx, r, z, io.MultiWriter(content, flat))
	if err = errors.Join(err, z.Close()); err != nil {
		return layer{}, err
	}
	l := layer{diffID: sum(content)}
	l.desc = v1.Descriptor{MediaType: types.OCILayer, Digest: sum(stored), Size: packed.size}
	if err := flat.adopt(s.flat(l.diffID)); err != nil {
		return layer{}, err
	}
	return l, packed.adopt(s.blob(l.desc.Digest))
}

func sum(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// keep takes a compressed layer of which nothing is known beforehand.
func (s *store) keep(ctx context.Context, r io.Reader, c compression) (layer, error) {
	part, err := s.create()
	if err != nil {
		return layer{}, err
	}
	defer part.discard()
	stored := sha256.New()
	raw := bufio.NewReaderSize(io.TeeReader(r, io.MultiWriter(stored, part)), chunkSize)
	var l layer
	if l.diffID, err = s.inflate(ctx, raw, c); err != nil {
		return layer{}, err
	}
	if _, err := io.Copy(io.Discard, withContext{ctx, raw}); err != nil {
		return layer{}, err
	}
	l.desc = v1.Descriptor{MediaType: types.OCILayer, Digest: sum(stored), Size: part.size}
	if c == zstandard {
		l.desc.MediaType = types.OCILayerZStd
	}
	return l, part.adopt(s.blob(l.desc.Digest))
}

func digestOf(b []byte) v1.Hash {
	h := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h[:])}
}

func withHead(head []byte, rest io.Reader) io.Reader {
	return io.MultiReader(bytes.NewReader(head), rest)
}
