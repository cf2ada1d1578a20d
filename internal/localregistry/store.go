package localregistry

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// store is the folder:
//
//	blobs/HEX                      content, shared by all repositories
//	uploads/ID                     bytes received so far
//	repos/NAME/_blobs/HEX          the repository has this blob
//	repos/NAME/_manifests/HEX      the repository has this manifest; holds its media type
//	repos/NAME/_tags/TAG           holds the manifest's digest
//	repos/NAME/_referrers/HEX/HEX  subject/referrer; holds the referrer's descriptor
//
// Segments of a repository's name never begin with an underscore, so names may
// nest. Every file but an upload is written whole, beside its place, and then
// renamed into it.
type store struct{ dir string }

const (
	linkBlob     = "_blobs"
	linkManifest = "_manifests"
	linkTag      = "_tags"
	linkReferrer = "_referrers"
)

func openStore(dir string) (store, error) {
	for _, sub := range []string{"blobs", "uploads", "repos"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return store{}, err
		}
	}
	return store{dir}, nil
}

var hex64 = regexp.MustCompile(`^[a-f0-9]{64}$`)

// parseDigest accepts SHA-256 digests and nothing else.
func parseDigest(s string) (v1.Hash, error) {
	algorithm, hex, _ := strings.Cut(s, ":")
	if algorithm != "sha256" || !hex64.MatchString(hex) {
		return v1.Hash{}, refusal{400, "DIGEST_INVALID", "digest is not sha256:HEX"}
	}
	return v1.Hash{Algorithm: algorithm, Hex: hex}, nil
}

func (s store) blobPath(h v1.Hash) string   { return filepath.Join(s.dir, "blobs", h.Hex) }
func (s store) uploadPath(id string) string { return filepath.Join(s.dir, "uploads", id) }

func (s store) linkPath(repo, kind string, parts ...string) string {
	return filepath.Join(append([]string{s.dir, "repos", filepath.FromSlash(repo), kind}, parts...)...)
}

// has says whether the repository holds the blob or manifest.
func (s store) has(repo, kind string, h v1.Hash) bool {
	if h.Algorithm != "sha256" || !hex64.MatchString(h.Hex) {
		return false
	}
	_, err := os.Stat(s.linkPath(repo, kind, h.Hex))
	return err == nil
}

func (s store) write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// The temporary name begins with a dot, which no listing gives out.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Close()); err != nil {
		os.Remove(tmp.Name())
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// commit moves a finished upload to its place and links it to the repository,
// after checking that it is what its digest says.
func (s store) commit(repo, path string, h v1.Hash) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	got, _, err := v1.SHA256(f)
	f.Close()
	if err != nil {
		return err
	}
	if got != h {
		return refusal{400, "DIGEST_INVALID", "content has digest " + got.String()}
	}
	if err := os.Rename(path, s.blobPath(h)); err != nil {
		return err
	}
	return s.write(s.linkPath(repo, linkBlob, h.Hex), nil)
}

func (s store) tag(repo, tag string) (v1.Hash, error) {
	content, err := os.ReadFile(s.linkPath(repo, linkTag, tag))
	if err != nil {
		return v1.Hash{}, err
	}
	return parseDigest(string(content))
}

func (s store) tags(repo string) ([]string, error) { return names(s.linkPath(repo, linkTag)) }

// referrer is the stored descriptor of one referrer, under its own hex.
type referrer struct {
	hex        string
	descriptor v1.Descriptor
}

// referrers lists the descriptors of what refers to h, ordered by digest.
func (s store) referrers(repo string, h v1.Hash) ([]referrer, error) {
	dir := s.linkPath(repo, linkReferrer, h.Hex)
	hexes, err := names(dir)
	if err != nil {
		return nil, err
	}
	list := make([]referrer, 0, len(hexes))
	for _, hex := range hexes {
		content, err := os.ReadFile(filepath.Join(dir, hex))
		if err != nil {
			return nil, err
		}
		r := referrer{hex: hex}
		if err := json.Unmarshal(content, &r.descriptor); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// names lists the files of a folder, sorted; none when it does not exist.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// repositories lists every name that holds a manifest or a blob.
func (s store) repositories() ([]string, error) {
	root := filepath.Join(s.dir, "repos")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !strings.HasPrefix(d.Name(), "_") {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		seen[filepath.ToSlash(rel)] = true
		return fs.SkipDir
	})
	repos := make([]string, 0, len(seen))
	for name := range seen {
		repos = append(repos, name)
	}
	sort.Strings(repos)
	return repos, err
}

// fill appends from r to the file, never past limit, and gives how many bytes
// the file then has. What arrived before an error stays, to be resumed.
func fill(f *os.File, r io.Reader) (int64, error) {
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	_, copyErr := io.Copy(f, r)
	size, err := f.Seek(0, io.SeekEnd)
	return size, errors.Join(copyErr, err)
}
