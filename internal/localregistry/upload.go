package localregistry

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// uploads orders the requests of each upload session.
type uploads struct{ locks sync.Map }

func (u *uploads) lock(id string) func() {
	v, _ := u.locks.LoadOrStore(id, &sync.Mutex{})
	mu := v.(*sync.Mutex)
	mu.Lock()
	return mu.Unlock
}

var uploadID = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// serveUpload answers below blobs/uploads/: distribution specification,
// sections "Pushing blobs" and "Pushing a blob in chunks".
func (r *Registry) serveUpload(w http.ResponseWriter, req *http.Request, repo, id string) error {
	if id == "" {
		if req.Method != http.MethodPost {
			return notAllowed(w, "POST")
		}
		return r.startUpload(w, req, repo)
	}
	if !uploadID.MatchString(id) {
		return unknownUpload()
	}
	defer r.uploads.lock(id)()
	f, err := os.OpenFile(r.store.uploadPath(id), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return unknownUpload()
	}
	if err != nil {
		return err
	}
	defer f.Close()
	switch req.Method {
	case http.MethodGet:
		return r.uploadStatus(w, repo, id, f)
	case http.MethodPatch:
		return r.appendChunk(w, req, repo, id, f)
	case http.MethodPut:
		return r.finishUpload(w, req, repo, id, f)
	case http.MethodDelete:
		defer r.uploads.locks.Delete(id)
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return notAllowed(w, "GET, PATCH, PUT, DELETE")
}

func unknownUpload() error {
	return refusal{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "no such upload"}
}

// startUpload begins a session, or mounts a blob of another repository, or
// takes a whole blob at once when the digest is in the query.
func (r *Registry) startUpload(w http.ResponseWriter, req *http.Request, repo string) error {
	query := req.URL.Query()
	if mount, from := query.Get("mount"), query.Get("from"); mount != "" && from != "" {
		h, err := parseDigest(mount)
		if err != nil {
			return err
		}
		if repositoryName.MatchString(from) && r.store.has(from, linkBlob, h) {
			if err := r.store.write(r.store.linkPath(repo, linkBlob, h.Hex), nil); err != nil {
				return err
			}
			return created(w, repo, "blobs", h.String())
		}
	}
	id := rand.Text()
	f, err := os.OpenFile(r.store.uploadPath(id), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if query.Get("digest") != "" {
		return r.finishUpload(w, req, repo, id, f)
	}
	sessionHeaders(w, repo, id, 0)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (r *Registry) uploadStatus(w http.ResponseWriter, repo, id string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sessionHeaders(w, repo, id, info.Size())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (r *Registry) appendChunk(w http.ResponseWriter, req *http.Request, repo, id string, f *os.File) error {
	if err := inOrder(w, req, repo, id, f); err != nil {
		return err
	}
	size, err := fill(f, req.Body)
	if err != nil {
		return refusal{http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "chunk broke off"}
	}
	sessionHeaders(w, repo, id, size)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// inOrder refuses a chunk that does not begin where the last one ended.
func inOrder(w http.ResponseWriter, req *http.Request, repo, id string, f *os.File) error {
	header := req.Header.Get("Content-Range")
	if header == "" {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	from, _, _ := strings.Cut(header, "-")
	start, err := strconv.ParseInt(from, 10, 64)
	if err != nil || start != info.Size() {
		sessionHeaders(w, repo, id, info.Size())
		return refusal{http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", "chunk is out of order"}
	}
	return nil
}

func (r *Registry) finishUpload(w http.ResponseWriter, req *http.Request, repo, id string, f *os.File) error {
	h, err := parseDigest(req.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	if err := inOrder(w, req, repo, id, f); err != nil {
		return err
	}
	if _, err := fill(f, req.Body); err != nil {
		return refusal{http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "upload broke off"}
	}
	if err := r.store.commit(repo, f.Name(), h); err != nil {
		os.Remove(f.Name())
		return err
	}
	r.uploads.locks.Delete(id)
	return created(w, repo, "blobs", h.String())
}

// sessionHeaders tells where to go on and how much has arrived. With nothing
// received the range is 0-0, as the reference registry has it.
func sessionHeaders(w http.ResponseWriter, repo, id string, size int64) {
	w.Header().Set("Location", fmt.Sprintf("/v2/%s/blobs/uploads/%s", repo, id))
	w.Header().Set("Docker-Upload-UUID", id)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(size-1, 0)))
}

func created(w http.ResponseWriter, repo, kind, reference string) error {
	w.Header().Set("Location", fmt.Sprintf("/v2/%s/%s/%s", repo, kind, reference))
	if kind == "blobs" {
		w.Header().Set("Docker-Content-Digest", reference)
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// serveBlob answers blobs/DIGEST.
func (r *Registry) serveBlob(w http.ResponseWriter, req *http.Request, repo, digest string) error {
	h, err := parseDigest(digest)
	if err != nil {
		return err
	}
	if !r.store.has(repo, linkBlob, h) {
		return refusal{http.StatusNotFound, "BLOB_UNKNOWN", "blob is not known to the repository"}
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodDelete:
		if err := os.Remove(r.store.linkPath(repo, linkBlob, h.Hex)); err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	default:
		return notAllowed(w, "GET, HEAD, DELETE")
	}
	f, err := os.Open(r.store.blobPath(h))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", h.String())
	w.Header().Set("ETag", `"`+h.String()+`"`)
	http.ServeContent(w, req, "", info.ModTime(), io.NewSectionReader(f, 0, info.Size()))
	return nil
}
