package advisory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/cenkalti/backoff/v5"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// partial is a download that may be broken off and gone on with. Beside the
// bytes lies the ETag they belong to: the rest is asked for only of the same
// entity, or when a digest is known that the whole must have.
type partial struct {
	downloader
	at   remote
	file string
	want string
}

func (p *partial) tagFile() string { return p.file + ".etag" }

// size and tag tell what is there already.
func (p *partial) size() (n int64, tag string) {
	info, err := os.Stat(p.file)
	if err != nil {
		return 0, ""
	}
	data, _ := readSmall(p.tagFile())
	return info.Size(), string(data)
}

func (p *partial) discard() {
	os.Remove(p.file)
	os.Remove(p.tagFile())
}

// attempt asks for the rest, or for all, and checks the whole.
func (p *partial) attempt(ctx context.Context) (fetched, error) {
	have, tag := p.size()
	header := http.Header{}
	switch {
	case have > 0 && (tag != "" || p.want != ""):
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		if tag != "" {
			header.Set("If-Range", tag)
		}
	default:
		p.discard()
		have = 0
		if p.known.Digest != "" {
			setConditions(header, p.known)
		}
	}
	res, cancel, err := p.do(ctx, p.at, header)
	if err != nil {
		return fetched{}, err
	}
	defer cancel()
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusNotModified:
		return fetched{state: p.known}, nil
	case http.StatusOK:
		p.discard()
		have = 0
	case http.StatusPartialContent:
		if !strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)) {
			p.discard()
			return fetched{}, errors.New("the server sent another part than was asked for")
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if p.want == "" {
			p.discard()
			return fetched{}, errors.New("the server has no rest to send")
		}
		return p.whole(ctx, res)
	default:
		return fetched{}, refuse(res)
	}
	if err := p.save(res, have); err != nil {
		return fetched{}, err
	}
	return p.whole(ctx, res)
}

func setConditions(h http.Header, s state) {
	if s.ETag != "" {
		h.Set("If-None-Match", s.ETag)
	} else if s.Modified != "" {
		h.Set("If-Modified-Since", s.Modified)
	}
}

// save appends the body to the bytes that are there.
func (p *partial) save(res *http.Response, have int64) (err error) {
	// A weak ETag does not vouch for bytes (RFC 9110, section 8.8.1).
	if tag := res.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		if err := writeWhole(p.tagFile(), []byte(tag)); err != nil {
			return backoff.Permanent(err)
		}
	}
	f, err := os.OpenFile(p.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return backoff.Permanent(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, io.LimitReader(res.Body, maxArchive-have+1))
	var own *fs.PathError
	if errors.As(err, &own) {
		return backoff.Permanent(err)
	}
	if err != nil {
		return err
	}
	if have+n > maxArchive {
		p.discard()
		return backoff.Permanent(fmt.Errorf("the archive is larger than %d bytes", int64(maxArchive)))
	}
	return nil
}

// whole checks the finished file and moves it to its name.
func (p *partial) whole(ctx context.Context, res *http.Response) (fetched, error) {
	sums, err := hashFile(ctx, p.file)
	if err != nil {
		return fetched{}, backoff.Permanent(err)
	}
	if p.want != "" && sums.sha256 != p.want {
		p.discard()
		err := &Error{Code: Corrupt, Path: p.at.name, Err: fmt.Errorf("its digest is %s where %s tells %s", sums.sha256, latestName, p.want)}
		return fetched{}, backoff.Permanent(hint.Add(err, "tell who runs the mirror, and use another until it is mended"))
	}
	done := p.file + ".done"
	if err := os.Rename(p.file, done); err != nil {
		return fetched{}, backoff.Permanent(err)
	}
	os.Remove(p.tagFile())
	s := state{Archive: p.at.name, Digest: sums.sha256, ETag: res.Header.Get("ETag"), Modified: res.Header.Get("Last-Modified")}
	return fetched{file: done, state: s}, nil
}
