package image

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// A file that somebody cuts while it is read is an error, not a crash.
func TestMappedFileCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "layer.gz")
	noise := make([]byte, 4<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 7)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z, _ := gzip.NewWriterLevel(f, gzip.NoCompression)
	z.Write(noise)
	z.Close()
	m, err := mapFile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	raw := m.reader()
	r, err := gzip.NewReader(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, m.guard(r, raw)); !errors.Is(err, errCut) {
		t.Errorf("error %v, wanted %v", err, errCut)
	}
}
