package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// blob is content to store.
type blob struct {
	digest v1.Hash
	size   int64
	open   func() (io.ReadSeekCloser, error)
}

func bytesBlob(b []byte) blob {
	h, size, _ := v1.SHA256(bytes.NewReader(b))
	return blob{digest: h, size: size, open: func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(b)}, nil }}
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// blob fetches a blob of at most limit bytes and checks its digest.
func (s *session) blob(ctx context.Context, h v1.Hash, limit int64) ([]byte, error) {
	address := s.at("blobs/%s", h)
	a, err := s.do(ctx, call{method: http.MethodGet, url: address, limit: limit, want: []int{http.StatusOK}})
	if err != nil {
		return nil, err
	}
	got, _, err := v1.SHA256(bytes.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	if got != h {
		return nil, &DigestError{What: "reading " + address, Want: h, Got: got}
	}
	return a.body, nil
}

func (s *session) hasBlob(ctx context.Context, h v1.Hash) (bool, error) {
	a, err := s.do(ctx, call{
		method: http.MethodHead, url: s.at("blobs/%s", h),
		want: []int{http.StatusOK, http.StatusNotFound},
	})
	return err == nil && a.status == http.StatusOK, err
}
