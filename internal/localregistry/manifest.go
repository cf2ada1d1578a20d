package localregistry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// manifestLimit is the largest manifest taken, in bytes: the size the
// specification asks every registry to take.
const manifestLimit = 4 << 20

var tagName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// serveManifest answers manifests/REFERENCE, where the reference is a tag or a
// digest.
func (r *Registry) serveManifest(w http.ResponseWriter, req *http.Request, repo, reference string) error {
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return r.getManifest(w, req, repo, reference)
	case http.MethodPut:
		return r.putManifest(w, req, repo, reference)
	case http.MethodDelete:
		return r.deleteManifest(w, repo, reference)
	}
	return notAllowed(w, "GET, HEAD, PUT, DELETE")
}

func unknownManifest() error {
	return refusal{http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest is not known to the repository"}
}

// resolve gives the digest that a tag or digest stands for.
func (r *Registry) resolve(repo, reference string) (v1.Hash, error) {
	if !tagName.MatchString(reference) {
		h, err := parseDigest(reference)
		if err == nil && !r.store.has(repo, linkManifest, h) {
			return v1.Hash{}, unknownManifest()
		}
		return h, err
	}
	h, err := r.store.tag(repo, reference)
	if errors.Is(err, os.ErrNotExist) {
		return v1.Hash{}, unknownManifest()
	}
	return h, err
}

func (r *Registry) getManifest(w http.ResponseWriter, req *http.Request, repo, reference string) error {
	h, err := r.resolve(repo, reference)
	if err != nil {
		return err
	}
	mediaType, err := os.ReadFile(r.store.linkPath(repo, linkManifest, h.Hex))
	if err != nil {
		return err
	}
	content, err := os.ReadFile(r.store.blobPath(h))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", string(mediaType))
	w.Header().Set("Docker-Content-Digest", h.String())
	w.Header().Set("ETag", `"`+h.String()+`"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	if req.Method == http.MethodGet {
		_, err = w.Write(content)
	}
	return err
}

func (r *Registry) putManifest(w http.ResponseWriter, req *http.Request, repo, reference string) error {
	content, err := io.ReadAll(io.LimitReader(req.Body, manifestLimit+1))
	if err != nil {
		return refusal{http.StatusBadRequest, "MANIFEST_INVALID", "manifest broke off"}
	}
	if len(content) > manifestLimit {
		return refusal{http.StatusRequestEntityTooLarge, "MANIFEST_INVALID", "manifest is larger than 4 MiB"}
	}
	h, _, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		return err
	}
	tag := reference
	if !tagName.MatchString(reference) {
		want, err := parseDigest(reference)
		if err != nil {
			return err
		}
		if want != h {
			return refusal{http.StatusBadRequest, "DIGEST_INVALID", "content has digest " + h.String()}
		}
		tag = ""
	}
	m, err := r.check(repo, req.Header.Get("Content-Type"), content)
	if err != nil {
		return err
	}

	r.writing.Lock()
	defer r.writing.Unlock()
	if err := r.mayWriteTag(req, repo, tag); err != nil {
		return err
	}
	if err := r.keep(repo, tag, h, content, m); err != nil {
		return err
	}
	if m.Subject != nil && !r.opts.NoReferrers {
		w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
	w.Header().Set("Docker-Content-Digest", h.String())
	return created(w, repo, "manifests", h.String())
}

// document is what image manifests and indexes have that the registry reads.
type document struct {
	MediaType    types.MediaType   `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       []v1.Descriptor   `json:"layers"`
	Manifests    []v1.Descriptor   `json:"manifests"`
	Subject      *v1.Descriptor    `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// check refuses a manifest whose parts the repository does not have. A subject
// may be missing: the specification lets a referrer come first.
func (r *Registry) check(repo, contentType string, content []byte) (document, error) {
	var m document
	if err := json.Unmarshal(content, &m); err != nil {
		return m, refusal{http.StatusBadRequest, "MANIFEST_INVALID", "manifest is not valid JSON"}
	}
	if m.MediaType == "" {
		m.MediaType = types.MediaType(contentType)
	}
	if contentType != "" && contentType != string(m.MediaType) {
		return m, refusal{http.StatusBadRequest, "MANIFEST_INVALID", "content type and mediaType differ"}
	}
	blobs := m.Layers
	if m.Config != nil {
		blobs = append([]v1.Descriptor{*m.Config}, blobs...)
	}
	for _, d := range blobs {
		if d.MediaType.IsDistributable() && !r.store.has(repo, linkBlob, d.Digest) {
			return m, refusal{http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN", fmt.Sprintf("blob %s is not known to the repository", d.Digest)}
		}
	}
	for _, d := range m.Manifests {
		if !r.store.has(repo, linkManifest, d.Digest) {
			return m, refusal{http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN", fmt.Sprintf("manifest %s is not known to the repository", d.Digest)}
		}
	}
	return m, nil
}

// mayWriteTag holds the preconditions and the immutability against the tag as
// it is. The caller holds the lock.
func (r *Registry) mayWriteTag(req *http.Request, repo, tag string) error {
	if tag == "" {
		return nil
	}
	current, err := r.store.tag(repo, tag)
	exists := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if want := req.Header.Get("If-Match"); want != "" && (!exists || want != `"`+current.String()+`"`) {
		return refusal{http.StatusPreconditionFailed, "PRECONDITION_FAILED", "tag is not at the digest of If-Match"}
	}
	if req.Header.Get("If-None-Match") == "*" && exists {
		return refusal{http.StatusPreconditionFailed, "PRECONDITION_FAILED", "tag exists"}
	}
	if exists && r.opts.ImmutableTags {
		return refusal{http.StatusBadRequest, "TAG_INVALID", fmt.Sprintf("The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", tag, repo)}
	}
	return nil
}

func (r *Registry) keep(repo, tag string, h v1.Hash, content []byte, m document) error {
	if err := r.store.write(r.store.blobPath(h), content); err != nil {
		return err
	}
	if m.Subject != nil {
		d := v1.Descriptor{MediaType: m.MediaType, Size: int64(len(content)), Digest: h, Annotations: m.Annotations, ArtifactType: m.ArtifactType}
		if d.ArtifactType == "" && m.Config != nil {
			d.ArtifactType = string(m.Config.MediaType)
		}
		link, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if err := r.store.write(r.store.linkPath(repo, linkReferrer, m.Subject.Digest.Hex, h.Hex), link); err != nil {
			return err
		}
	}
	if err := r.store.write(r.store.linkPath(repo, linkManifest, h.Hex), []byte(m.MediaType)); err != nil {
		return err
	}
	if tag == "" {
		return nil
	}
	return r.store.write(r.store.linkPath(repo, linkTag, tag), []byte(h.String()))
}

func (r *Registry) deleteManifest(w http.ResponseWriter, repo, reference string) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	h, err := r.resolve(repo, reference)
	if err != nil {
		return err
	}
	if tagName.MatchString(reference) {
		if err := os.Remove(r.store.linkPath(repo, linkTag, reference)); err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	if err := r.forget(repo, h); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// forget takes a manifest out of the repository with the tags that point to it
// and its place among its subject's referrers.
func (r *Registry) forget(repo string, h v1.Hash) error {
	content, err := os.ReadFile(r.store.blobPath(h))
	if err != nil {
		return err
	}
	var m document
	if err := json.Unmarshal(content, &m); err == nil && m.Subject != nil {
		err := os.Remove(r.store.linkPath(repo, linkReferrer, m.Subject.Digest.Hex, h.Hex))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	tags, err := r.store.tags(repo)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if at, err := r.store.tag(repo, tag); err == nil && at == h {
			if err := os.Remove(r.store.linkPath(repo, linkTag, tag)); err != nil {
				return err
			}
		}
	}
	return os.Remove(r.store.linkPath(repo, linkManifest, h.Hex))
}
