package image

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// files is where an image that was built elsewhere is read from: a folder or
// a tar. Names are slash-separated and relative. A name that is not there
// gives an error that is fs.ErrNotExist.
type files interface {
	open(ctx context.Context, name string) (blob, error)
}

// folder is an OCI layout as a folder.
type folder string

func (f folder) open(_ context.Context, name string) (blob, error) {
	full := filepath.Join(string(f), filepath.FromSlash(name))
	info, err := os.Stat(full)
	if err != nil {
		return blob{}, err
	}
	if !info.Mode().IsRegular() {
		return blob{}, fmt.Errorf("%s is not a regular file", full)
	}
	file, err := os.Open(full)
	if err != nil {
		return blob{}, err
	}
	return blob{ReadCloser: file, size: info.Size(), path: full}, nil
}

// archive is a tar whose members are read in place, in any order. Nothing is
// unpacked under a member's own name.
type archive struct {
	file    *os.File
	members map[string]member
}

// member is where a regular file lies in the tar, or the name it links to.
type member struct {
	offset, size int64
	link         string
}

// memberLimit bounds how many members a tar may have.
const memberLimit = 100_000

// linkLimit bounds how many links are followed to a member.
const linkLimit = 8

// openArchive reads the table of members of a tar, which may be compressed:
// then its plain form is first written to s.
func openArchive(ctx context.Context, s *store, name string) (*archive, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	raw := bufio.NewReaderSize(file, chunkSize)
	head, err := raw.Peek(sniffBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		file.Close()
		return nil, err
	}
	if c := sniff(head); c != plain {
		file, err = s.expand(ctx, file, raw, c)
		if err != nil {
			return nil, err
		}
	}
	members, err := scan(ctx, file)
	if err != nil {
		file.Close()
		return nil, hint.Add(fmt.Errorf("reading tar %s: %w", name, err),
			"the file must be a whole tar of an OCI layout or of docker save; make it again")
	}
	return &archive{file: file, members: members}, nil
}

// expand writes the plain form of a compressed tar to a scratch file, which
// has no name any more when it returns, and closes the compressed one.
func (s *store) expand(ctx context.Context, file *os.File, raw *bufio.Reader, c compression) (*os.File, error) {
	defer file.Close()
	z, closeZ, err := inflater(raw, c)
	if err != nil {
		return nil, fmt.Errorf("inflating %s: %w", file.Name(), err)
	}
	defer closeZ()
	p, err := s.create()
	if err != nil {
		return nil, err
	}
	if _, err = flow(ctx, z, nil, p); err == nil {
		err = os.Remove(p.path)
	}
	if err != nil {
		p.discard()
		return nil, hint.Add(fmt.Errorf("inflating %s: %w", file.Name(), err), "the file may be cut off; make it again")
	}
	return p.file, nil
}

// scan lists the members of a plain tar without reading their content.
func scan(ctx context.Context, file *os.File) (map[string]member, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	members := make(map[string]member)
	for t := tar.NewReader(file); ; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return members, nil
		}
		if err != nil {
			return nil, err
		}
		offset, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		m, err := readMember(h, offset)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		name := path.Clean(h.Name)
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("it has two members named %q", name)
		}
		if members[name] = *m; len(members) > memberLimit {
			return nil, fmt.Errorf("it has more than %d members", memberLimit)
		}
	}
}

// readMember judges one header. Folders are no members.
func readMember(h *tar.Header, offset int64) (*member, error) {
	name := path.Clean(h.Name)
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("member %q would lie outside the archive", h.Name)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return nil, fmt.Errorf("member %q is sparse", h.Name)
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return &member{offset: offset, size: h.Size}, nil
	case tar.TypeSymlink:
		return &member{link: path.Join(path.Dir(name), h.Linkname)}, nil
	case tar.TypeLink:
		return &member{link: path.Clean(h.Linkname)}, nil
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil, nil
	}
	return nil, fmt.Errorf("member %q is of type %q, which no image archive has", h.Name, h.Typeflag)
}

func (a *archive) open(_ context.Context, name string) (blob, error) {
	m, err := a.find(name)
	if err != nil {
		return blob{}, err
	}
	return blob{ReadCloser: io.NopCloser(io.NewSectionReader(a.file, m.offset, m.size)), size: m.size}, nil
}

// find follows the links that old docker versions write for equal layers.
func (a *archive) find(name string) (member, error) {
	at := name
	for range linkLimit {
		m, ok := a.members[at]
		if !ok {
			return member{}, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		if m.link == "" {
			return m, nil
		}
		at = m.link
	}
	return member{}, fmt.Errorf("%s: too many links", name)
}

func (a *archive) has(name string) bool {
	_, err := a.find(name)
	return err == nil
}

func (a *archive) close() error { return a.file.Close() }
