// Package intaketest releases images as hallmark release does, into a registry
// of its own on loopback and with signatures of a Sigstore of its own, for tests
// and measurements of what takes them in.
//
// The images are as small as one can be; what is attested about them is whole:
// signature, SBOM, scan and provenance.
package intaketest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/localregistry"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/provenance"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// What the provenance of every image says.
const (
	Commit   = "15bf79ea9c89fffbf5dd02c6b5b686b291bfcbd2"
	project  = "acme/app"
	workflow = ".github/workflows/release.yml"
	ref      = "refs/heads/main"
)

// Yard is a registry, a Sigstore and the policy that believes it.
type Yard struct {
	// Repository is the one that the policy is about.
	Repository name.Repository
	Client     *registry.Client

	server *httptest.Server
	local  *localtrust.Local
	anchor trust.Anchor
	signer *sign.Signer
	claims oidc.Claims
}

// Open opens a yard in a folder. pageSize is how many tags the registry lists
// at once; zero for its default.
func Open(ctx context.Context, dir string, pageSize int) (*Yard, error) {
	handler, err := localregistry.Open(filepath.Join(dir, "registry"), localregistry.Options{PageSize: pageSize})
	if err != nil {
		return nil, err
	}
	local, err := localtrust.Open(ctx, filepath.Join(dir, "trust"), localtrust.Options{})
	if err != nil {
		return nil, err
	}
	anchor, err := trust.Load(ctx, policy.Trust{Root: policy.RootLocal, State: local.Dir()}, trust.Options{})
	if err != nil {
		return nil, errors.Join(err, local.Close())
	}
	y := &Yard{local: local, anchor: anchor, server: httptest.NewServer(handler),
		claims: localtrust.GitHubClaims(project, workflow, ref, Commit)}
	y.signer = sign.New(sign.Config{Services: local.Services(), Tokens: local.As(y.claims)})
	if y.Client, err = registry.New(registry.Options{Retry: registry.Retry{Attempts: 2, Base: time.Millisecond, Longest: time.Millisecond}}); err == nil {
		y.Repository, err = name.NewRepository(strings.TrimPrefix(y.server.URL, "http://")+"/"+project, name.StrictValidation)
	}
	if err != nil {
		return nil, errors.Join(err, y.Close())
	}
	return y, nil
}

// Close ends the registry and the Sigstore.
func (y *Yard) Close() error {
	y.server.Close()
	return y.local.Close()
}

// Judge gives the options to judge the repository by, and no other.
func (y *Yard) Judge(_ context.Context, repository string) (verify.Options, error) {
	if repository != y.Repository.Name() {
		return verify.Options{}, fmt.Errorf("%s: %w", repository, intake.ErrNoPolicy)
	}
	return verify.Options{Anchor: y.anchor, Now: time.Now(), Policy: policy.Policy{
		Version: 1, Image: y.Repository.Name(), Evidence: policy.AllEvidence(), Digest: "sha256:" + strings.Repeat("c", 64),
		Identity: policy.Identity{Issuer: localtrust.Issuer, Repository: project, Workflow: workflow, Ref: ref},
	}}, nil
}

// Put writes a manifest under a tag. Images of different marks are different.
func (y *Yard) Put(ctx context.Context, tag, mark string) (name.Digest, error) {
	const kind = "application/vnd.oci.image.index.v1+json"
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"mark":%q}}`, kind, mark)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, y.server.URL+"/v2/"+project+"/manifests/"+tag, bytes.NewReader(manifest))
	if err != nil {
		return name.Digest{}, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := y.server.Client().Do(req)
	if err != nil {
		return name.Digest{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return name.Digest{}, fmt.Errorf("putting %s: %s: %s", tag, resp.Status, text)
	}
	sum := sha256.Sum256(manifest)
	return y.Repository.Digest("sha256:" + hex.EncodeToString(sum[:])), nil
}

// Document is a CycloneDX document about an image that lists packages by their
// package URLs.
func Document(about name.Digest, purls []string) ([]byte, error) {
	type component struct {
		Type    string `json:"type"`
		Ref     string `json:"bom-ref"`
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
		PURL    string `json:"purl,omitempty"`
	}
	components := []component{}
	for n, purl := range purls {
		path, _, _ := strings.Cut(purl, "?")
		title, version, _ := strings.Cut(path[strings.LastIndex(path, "/")+1:], "@")
		components = append(components, component{"library", fmt.Sprint("ref-", n), title, version, purl})
	}
	return json.Marshal(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components,
		"metadata": map[string]any{"component": component{Type: "container", Ref: "image", Name: "app", Version: about.DigestStr()}},
	})
}

// Attest attaches an SBOM and all else that a release attests. With more
// statements those are attached too.
func (y *Yard) Attest(ctx context.Context, image name.Digest, document []byte, more ...evidence.Statement) error {
	statements, err := y.statements(image, document)
	if err != nil {
		return err
	}
	signed, err := y.signer.Sign(ctx, append(statements, more...))
	if err != nil {
		return err
	}
	return y.Client.Attach(ctx, image, signed)
}

// Release puts an image under a tag and attests that it holds the packages.
func (y *Yard) Release(ctx context.Context, tag string, purls ...string) (name.Digest, error) {
	made, err := y.Put(ctx, tag, tag)
	if err != nil {
		return made, err
	}
	document, err := Document(made, purls)
	if err != nil {
		return made, err
	}
	return made, y.Attest(ctx, made, document)
}

// Statement is about an image of the repository.
func (y *Yard) Statement(about name.Digest, predicateType string, predicate []byte) (evidence.Statement, error) {
	digest, err := v1.NewHash(about.DigestStr())
	if err != nil {
		return evidence.Statement{}, err
	}
	return evidence.About(y.Repository.Name(), predicateType, predicate, digest)
}

func (y *Yard) statements(about name.Digest, document []byte) ([]evidence.Statement, error) {
	digest, err := v1.NewHash(about.DigestStr())
	if err != nil {
		return nil, err
	}
	scan, err := json.Marshal(finding.Report{
		Subject: digest, Image: y.Repository.Name(), Scanner: "grype", ScannerVersion: "0.120.1",
		Database: finding.Database{Schema: "v6.1.10", Built: time.Now().Add(-time.Hour).UTC().Truncate(time.Second), Source: "test"},
		Coverage: []finding.Coverage{{Ecosystem: "pypi", Packages: 1, Covered: true}}, Findings: []finding.Finding{},
	})
	if err != nil {
		return nil, err
	}
	src := source.Source{Commit: Commit, Remote: "https://github.com/" + project, Ref: ref}
	made, err := provenance.Predicate(src, image.Built{Digest: digest, Builder: "go"}, y.claims)
	if err != nil {
		return nil, err
	}
	var out []evidence.Statement
	for _, s := range []struct {
		kind string
		body []byte
	}{{evidence.Signature, []byte(`{}`)}, {evidence.CycloneDX, document}, {evidence.Scan, scan}, {evidence.Provenance, made}} {
		statement, err := y.Statement(about, s.kind, s.body)
		if err != nil {
			return nil, err
		}
		out = append(out, statement)
	}
	return out, nil
}
