package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/provenance"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/source"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

const (
	repo     = "acme/app"
	workflow = ".github/workflows/release.yml"
	ref      = "refs/heads/main"
	commit   = "15bf79ea9c89fffbf5dd02c6b5b686b291bfcbd2"
	other    = "ffffffffffffffffffffffffffffffffffffffff"
)

var (
	subject  = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	stranger = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("e", 64)}
)

// world is a Sigstore of its own, in which images are released.
type world struct {
	*localtrust.Local
	anchor trust.Anchor
	now    func() time.Time
}

func newWorld(t testing.TB, now func() time.Time) *world {
	t.Helper()
	local, err := localtrust.Open(t.Context(), filepath.Join(t.TempDir(), "trust"), localtrust.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { local.Close() })
	material, err := root.NewTrustedRootFromJSON(local.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	return &world{local, trust.Anchor{Material: material, JSON: local.TrustedRoot(), Source: "test"}, now}
}

func ourPolicy() policy.Policy {
	return policy.Policy{
		Version: 1,
		Image:   "registry.test/acme/app",
		Identity: policy.Identity{
			Issuer: localtrust.Issuer, Repository: repo, Workflow: workflow, Ref: ref,
		},
		Evidence: policy.AllEvidence(),
		Digest:   "sha256:" + strings.Repeat("c", 64),
	}
}

func (w *world) options() verify.Options {
	return verify.Options{Policy: ourPolicy(), Anchor: w.anchor, Now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// claims are those of our release workflow.
func claims() oidc.Claims { return localtrust.GitHubClaims(repo, workflow, ref, commit) }

func person() oidc.Claims { return oidc.Claims{Email: localtrust.Identity} }

// sign signs statements as whoever the claims say.
func (w *world) sign(t testing.TB, c oidc.Claims, statements ...evidence.Statement) []evidence.Signed {
	t.Helper()
	return w.signVia(t, c, w.Services(), statements...)
}

func (w *world) signVia(t testing.TB, c oidc.Claims, services trust.Services, statements ...evidence.Statement) []evidence.Signed {
	t.Helper()
	signer := sign.New(sign.Config{Services: services, Tokens: w.As(c), Now: w.now})
	signed, err := signer.Sign(context.Background(), statements)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func statement(t testing.TB, predicateType, predicate string, about ...v1.Hash) evidence.Statement {
	t.Helper()
	if len(about) == 0 {
		about = []v1.Hash{subject}
	}
	s, err := evidence.About("registry.test/acme/app", predicateType, []byte(predicate), about...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bom(about v1.Hash, components int) string {
	var list []string
	for i := range components {
		list = append(list, fmt.Sprintf(`{"type":"library","bom-ref":"%d","name":"lib%d","version":"1.%d","purl":"pkg:deb/debian/lib%d@1.%d"}`, i, i, i, i, i))
	}
	return fmt.Sprintf(`{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"metadata":{"component":{"type":"container","name":"app","version":%q}},"components":[%s]}`,
		about.String(), strings.Join(list, ","))
}

func scanned(t testing.TB, change func(*finding.Report)) string {
	t.Helper()
	r := finding.Report{
		Subject: subject, Image: "registry.test/acme/app", Scanner: "grype", ScannerVersion: "0.120.1",
		Database: finding.Database{Schema: "v6.1.10", Built: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Source: "test"},
		Coverage: []finding.Coverage{{Ecosystem: "deb (debian 12)", Packages: 3, Covered: true}, {Ecosystem: "hex", Packages: 1}},
		Findings: []finding.Finding{
			{ID: "CVE-2026-1", Severity: finding.High, Package: finding.Package{Name: "lib0"}},
			{ID: "CVE-2026-2", Severity: finding.High, Package: finding.Package{Name: "lib1"}},
			{ID: "CVE-2026-3", Package: finding.Package{Name: "lib2"}},
		},
	}
	if change != nil {
		change(&r)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// prov is the provenance of the claims, with changes made to its text.
func prov(t testing.TB, c oidc.Claims, src func(*source.Source), changes ...string) string {
	t.Helper()
	s := source.Source{Commit: commit, Remote: "https://github.com/" + repo, Ref: ref}
	if c.IsWorkflow() {
		s.Commit, s.Remote, s.Ref = c.SHA, "https://github.com/"+c.Repository, c.Ref
	}
	if src != nil {
		src(&s)
	}
	raw, err := provenance.Predicate(s, image.Built{Digest: subject, Builder: "go"}, c)
	if err != nil {
		t.Fatal(err)
	}
	return swap(t, string(raw), changes...)
}

// swap replaces pairs of text, each of which must be there.
func swap(t testing.TB, text string, changes ...string) string {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("%q is not in %s", changes[i], text)
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	return text
}

// release gives the statements of a whole release, in the order signature,
// SBOM, scan, provenance.
func release(t testing.TB, c oidc.Claims) []evidence.Statement {
	t.Helper()
	return []evidence.Statement{
		statement(t, evidence.Signature, `{}`),
		statement(t, evidence.CycloneDX, bom(subject, 3)),
		statement(t, evidence.Scan, scanned(t, nil)),
		statement(t, evidence.Provenance, prov(t, c, nil)),
	}
}

// edit changes the JSON of a bundle.
func edit(t testing.TB, s evidence.Signed, change func(bundle map[string]any)) evidence.Signed {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(s.Bundle, &b); err != nil {
		t.Fatal(err)
	}
	change(b)
	raw, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	s.Bundle = raw
	return s
}

// at walks into nested objects and arrays.
func at(v any, path ...any) any {
	for _, step := range path {
		switch key := step.(type) {
		case string:
			v = v.(map[string]any)[key]
		case int:
			v = v.([]any)[key]
		}
	}
	return v
}
