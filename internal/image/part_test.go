package image

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFlow(t *testing.T) {
	in := bytes.Repeat([]byte("0123456789abcdef"), 3*chunkSize/16+5)
	var direct, aside bytes.Buffer
	n, err := flow(t.Context(), slowReader{bytes.NewReader(in)}, &direct, &aside)
	if err != nil || n != int64(len(in)) || !bytes.Equal(in, direct.Bytes()) || !bytes.Equal(in, aside.Bytes()) {
		t.Errorf("flow = %d, %v", n, err)
	}
	broken := errors.New("broken")
	for name, err := range map[string]error{
		"reader": second(flow(t.Context(), io.MultiReader(bytes.NewReader(in), failing{broken}), nil, io.Discard)),
		"direct": second(flow(t.Context(), bytes.NewReader(in), failing{broken}, io.Discard)),
		"aside":  second(flow(t.Context(), bytes.NewReader(in), nil, failing{broken})),
		"cut":    second(flow(t.Context(), failing{io.ErrUnexpectedEOF}, nil, io.Discard)),
	} {
		want := broken
		if name == "cut" {
			want = io.ErrUnexpectedEOF
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// slowReader gives a few bytes at a time.
type slowReader struct{ r io.Reader }

func (s slowReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 1000)]) }

// failing fails to read and to write.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func second(_ int64, err error) error { return err }
