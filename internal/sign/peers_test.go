//go:build peers

package sign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore-go/pkg/bundle"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/test/peers"
)

// cosign runs the stock cosign in a home of its own, with a proxy that leads
// nowhere: it may use no network but loopback.
func cosign(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd, err := peers.Command(t.Context(), t.TempDir(), "cosign", args...)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "HTTPS_PROXY=http://127.0.0.1:1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// image pushes an image to a registry of the test and gives its digest.
func image(t *testing.T) name.Digest {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.WithReferrersSupport(true)))
	t.Cleanup(srv.Close)
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(strings.TrimPrefix(srv.URL, "http://") + "/app@" + digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return ref
}

// attach pushes a bundle as a referrer, as cosign 3 does.
func attach(t *testing.T, ref name.Digest, signed evidence.Signed) {
	t.Helper()
	subject, err := remote.Head(ref)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mutate.Append(empty.Image, mutate.Addendum{Layer: static.NewLayer(signed.Bundle, evidence.BundleMediaType)})
	if err != nil {
		t.Fatal(err)
	}
	m = mutate.MediaType(mutate.ConfigMediaType(m, evidence.BundleMediaType), types.OCIManifestSchema1)
	withSubject := mutate.Subject(m, v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest}).(v1.Image)
	d, err := withSubject.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref.Context().Digest(d.String()), withSubject); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func about(t *testing.T, ref name.Digest, predicateType, predicate string) evidence.Statement {
	t.Helper()
	h, err := v1.NewHash(ref.DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	s, err := evidence.About(ref.Context().Name(), predicateType, []byte(predicate), h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCosignVerifies has stock cosign verify what we sign, with no flag but the
// trusted root and the identity.
func TestCosignVerifies(t *testing.T) {
	workflow := localtrust.GitHubClaims("acme/app", ".github/workflows/release.yml", "refs/tags/v1", strings.Repeat("ab", 20))
	for _, tt := range []struct {
		name   string
		claims oidc.Claims
		flags  []string
	}{
		{"person", oidc.Claims{}, []string{"--certificate-identity", localtrust.Identity}},
		{"workflow", workflow, []string{
			"--certificate-identity", "https://github.com/" + workflow.JobWorkflowRef,
			"--certificate-github-workflow-sha", workflow.SHA,
			"--certificate-github-workflow-repository", workflow.Repository,
			"--certificate-github-workflow-ref", workflow.Ref,
			"--certificate-github-workflow-trigger", workflow.EventName,
			"--certificate-github-workflow-name", workflow.Workflow,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := local(t, localtrust.Options{})
			s := sign.New(sign.Config{Services: l.Services(), Tokens: l.As(tt.claims)})
			ref := image(t)
			signed, err := s.Sign(t.Context(), []evidence.Statement{
				about(t, ref, evidence.Signature, `{}`),
				about(t, ref, evidence.CycloneDX, `{"bomFormat":"CycloneDX","specVersion":"1.6"}`),
				about(t, ref, evidence.Provenance, `{"buildDefinition":{},"runDetails":{}}`),
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range signed {
				attach(t, ref, e)
			}
			who := append([]string{"--trusted-root", write(t, l.TrustedRoot()), "--certificate-oidc-issuer", localtrust.Issuer}, tt.flags...)
			for _, verb := range [][]string{
				{"verify"},
				{"verify-attestation", "--type", "cyclonedx"},
				{"verify-attestation", "--type", "slsaprovenance1"},
			} {
				if out, err := cosign(t, append(append(verb, who...), ref.String())...); err != nil {
					t.Errorf("cosign %v: %v\n%s", verb, err, out)
				}
			}
			other := local(t, localtrust.Options{})
			who[1] = write(t, other.TrustedRoot())
			if out, err := cosign(t, append(append([]string{"verify"}, who...), ref.String())...); err == nil {
				t.Errorf("cosign verify accepts another local trust:\n%s", out)
			}

			blob := []byte("blob")
			b, err := s.SignBlob(t.Context(), bytes.NewReader(blob))
			if err != nil {
				t.Fatal(err)
			}
			who[1] = write(t, l.TrustedRoot())
			verify := append([]string{"verify-blob", "--bundle", write(t, b)}, who...)
			if out, err := cosign(t, append(verify, write(t, blob))...); err != nil {
				t.Errorf("cosign verify-blob: %v\n%s", err, out)
			}
			if out, err := cosign(t, append(verify, write(t, []byte("glob")))...); err == nil {
				t.Errorf("cosign verify-blob accepts another blob:\n%s", out)
			}
		})
	}
}

// TestCosignSigns has stock cosign sign with the served local trust, and
// verifies that with the library and with cosign.
func TestCosignSigns(t *testing.T) {
	l := local(t, localtrust.Options{})
	srv := httptest.NewServer(l.Handler())
	defer srv.Close()
	if err := l.Serving(srv.URL); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(l.Dir(), localtrust.TrustedRootFile)
	token, err := l.Token(context.Background(), oidc.Audience)
	if err != nil {
		t.Fatal(err)
	}
	with := []string{"-y", "--signing-config", filepath.Join(l.Dir(), localtrust.SigningConfigFile), "--identity-token", write(t, []byte(token.Raw()))}
	ref := image(t)
	if out, err := cosign(t, append(append([]string{"sign", "--trusted-root", root}, with...), ref.String())...); err != nil {
		t.Fatalf("cosign sign: %v\n%s", err, out)
	}
	if out, err := cosign(t, "verify", "--trusted-root", root, "--certificate-identity", localtrust.Identity, "--certificate-oidc-issuer", localtrust.Issuer, ref.String()); err != nil {
		t.Errorf("cosign verify: %v\n%s", err, out)
	}
	index, err := remote.Referrers(ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%d referrers, error %v, want 1", len(manifest.Manifests), err)
	}

	blob, out := write(t, []byte("blob")), filepath.Join(t.TempDir(), "bundle")
	if text, err := cosign(t, append(append([]string{"sign-blob", "--bundle", out, "--trusted-root", root}, with...), blob)...); err != nil {
		t.Fatalf("cosign sign-blob: %v\n%s", err, text)
	}
	theirs, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := sign.New(sign.Config{Services: l.Services(), Tokens: l}).SignBlob(t.Context(), strings.NewReader("blob"))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := shape(t, theirs), shape(t, mine); a != b {
		t.Errorf("our bundle is of the shape\n%s\nand cosign's\n%s", b, a)
	}
}

// shape is a bundle's JSON with each text replaced by its kind.
func shape(t *testing.T, data []byte) string {
	t.Helper()
	var b bundle.Bundle
	if err := b.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(blank(v), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func blank(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if k == "hashes" { // as many as the tree is high
				delete(v, k)
				continue
			}
			v[k] = blank(e)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = blank(e)
		}
		return v
	default:
		return "…"
	}
}
