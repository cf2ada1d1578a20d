package scan

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

// digest is the SHA-256 of a file that is being computed.
type digest struct {
	cancel context.CancelFunc
	done   chan struct{}
	// text and err are set before done is closed.
	text string
	err  error
}

// startDigest hashes the file beside everything else, unless its digest is
// known: a full database has more than a gigabyte.
func startDigest(file, known string) *digest {
	ctx, cancel := context.WithCancel(context.Background())
	d := &digest{cancel: cancel, done: make(chan struct{}), text: known}
	if known != "" {
		close(d.done)
		return d
	}
	go func() {
		defer close(d.done)
		d.text, d.err = fileDigest(ctx, file)
	}()
	return d
}

func (d *digest) wait(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-d.done:
		return d.text, d.err
	}
}

// stop ends the work if it still goes on, and returns once it has.
func (d *digest) stop() {
	d.cancel()
	<-d.done
}

func fileDigest(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	for ctx.Err() == nil {
		switch _, err := io.CopyN(h, f, 8<<20); {
		case errors.Is(err, io.EOF):
			return fmt.Sprintf("sha256:%x", h.Sum(nil)), nil
		case err != nil:
			return "", err
		}
	}
	return "", ctx.Err()
}
