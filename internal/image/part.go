package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// blob is the stored content of one blob, open for reading.
type blob struct {
	io.ReadCloser
	// size is in bytes, or unknownSize for a stream.
	size int64
	// path is set when the blob is a whole file of its own.
	path string
}

const unknownSize = -1

// part is a file on its way into a store: until adopt gives it its final name
// it lies in the scratch folder, and every byte written to it counts against
// the store's budget.
type part struct {
	path   string
	file   *os.File // nil when the part is a link to a file that is there already
	size   int64
	budget *budget
}

// create makes an empty part.
func (s *store) create() (*part, error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, scratchDir), "part-")
	if err != nil {
		return nil, err
	}
	return &part{path: f.Name(), file: f, budget: s.budget}, nil
}

// part makes the part that is to become b: a hard link where the file system
// has them, so that nothing is copied, else an empty file.
func (s *store) part(b blob, name v1.Hash) (*part, error) {
	if b.path != "" {
		link := filepath.Join(s.dir, scratchDir, "link-"+name.Hex)
		target, err := filepath.EvalSymlinks(b.path)
		if err == nil && os.Link(target, link) == nil {
			return &part{path: link}, nil
		}
	}
	return s.create()
}

// Write appends p; written to a link it does nothing, as the bytes are there.
func (p *part) Write(b []byte) (int, error) {
	if p.file == nil {
		return len(b), nil
	}
	if err := p.budget.spend(int64(len(b))); err != nil {
		return 0, err
	}
	p.size += int64(len(b))
	return p.file.Write(b)
}

// adopt gives the part its final name.
func (p *part) adopt(path string) error {
	if p.file != nil {
		if err := p.file.Chmod(0o644); err != nil {
			return err
		}
		if err := p.file.Close(); err != nil {
			return err
		}
	}
	if err := os.Rename(p.path, path); err != nil {
		return err
	}
	p.path = ""
	return nil
}

// discard removes the part unless it was adopted.
func (p *part) discard() {
	if p.path == "" {
		return
	}
	if p.file != nil {
		p.file.Close()
	}
	os.Remove(p.path)
}

// budget bounds how many bytes one build may write.
type budget struct {
	limit int64
	spent atomic.Int64
}

func (b *budget) spend(n int64) error {
	if b.spent.Add(n) > b.limit {
		return hint.Add(fmt.Errorf("the image takes more than %d bytes of disk", b.limit),
			"an image this large is more likely a mistake or an attack; see what fills its layers")
	}
	return nil
}

// The buffers of one flow: small enough to stay in a core's cache between the
// one who fills them and the one who empties them.
const (
	chunkSize  = 256 << 10
	chunkCount = 8
)

// flow copies r to its end. direct gets the bytes on the goroutine that reads,
// aside on a second one, so that hashing and writing run beside inflating or
// compressing; direct may be nil.
func flow(ctx context.Context, r io.Reader, direct, aside io.Writer) (int64, error) {
	free, full := make(chan []byte, chunkCount), make(chan []byte, chunkCount)
	for range chunkCount {
		free <- make([]byte, chunkSize)
	}
	var total int64
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for buf := range full {
			if _, err := aside.Write(buf); err != nil {
				return err
			}
			free <- buf[:cap(buf)]
		}
		return nil
	})
	g.Go(func() error {
		defer close(full)
		for {
			var buf []byte
			select {
			case buf = <-free:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			n, err := fill(r, buf)
			total += int64(n)
			if direct != nil && n > 0 {
				if _, err := direct.Write(buf[:n]); err != nil {
					return err
				}
			}
			full <- buf[:n]
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	err := g.Wait()
	return total, err
}

// fill reads until buf is full or r ends. Unlike io.ReadFull it never turns an
// end into an error, nor hides r's own io.ErrUnexpectedEOF.
func fill(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// withContext ends reading when its context does.
type withContext struct {
	ctx context.Context
	r   io.Reader
}

func (w withContext) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.r.Read(p)
}
