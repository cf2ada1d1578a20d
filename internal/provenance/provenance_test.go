package provenance_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/provenance"
	"github.com/hallmark-sh/hallmark/internal/source"
)

var update = flag.Bool("update", false, "write the golden files")

const commit = "15bf79ea9c89fffbf5dd02c6b5b686b291bfcbd2"

func digest(c string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(c, 64)}
}

func checkedOut() source.Source {
	return source.Source{Commit: commit, Remote: "https://github.com/acme/app", Ref: "refs/heads/main"}
}

func built() image.Built {
	return image.Built{
		Digest:     digest("a"),
		Builder:    "docker",
		Parameters: map[string]any{"file": "Dockerfile", "args": map[string]any{"VERSION": "1"}},
		Materials:  []image.Material{{URI: "docker://index.docker.io/library/debian:12", Digest: digest("b")}},
	}
}

// run is what GitHub's token says of a job in a reusable workflow, for a tag
// whose name holds an @, under a workflow taken from another ref.
func run() oidc.Claims {
	return oidc.Claims{
		Issuer:            oidc.GitHubIssuer,
		Subject:           "repo:acme/app:ref:refs/tags/app@1.2.0",
		Repository:        "acme/app",
		RepositoryID:      "1296269",
		RepositoryOwner:   "acme",
		RepositoryOwnerID: "583231",
		Ref:               "refs/tags/app@1.2.0",
		SHA:               commit,
		WorkflowRef:       "acme/app/.github/workflows/release.yml@refs/heads/release@next",
		JobWorkflowRef:    "acme/build/.github/workflows/image.yml@refs/tags/v3",
		EventName:         "push",
		RunID:             "2436960022",
		RunAttempt:        "2",
		RunnerEnvironment: "github-hosted",
	}
}

func TestPredicate(t *testing.T) {
	tests := []struct {
		name   string
		golden string
		src    func(*source.Source)
		built  func(*image.Built)
		claims oidc.Claims
	}{
		{name: "GitHub", golden: "github.json", claims: run()},
		{name: "local", golden: "local.json", claims: oidc.Claims{Email: "ada@acme.test"}},
		{
			name: "local and dirty", golden: "local-dirty.json",
			src: func(s *source.Source) { s.Dirty = true },
		},
		{
			name: "local without origin, ref, parameters or materials", golden: "local-bare.json",
			src: func(s *source.Source) { s.Remote, s.Ref = "", "" },
			built: func(b *image.Built) {
				b.Builder, b.Parameters, b.Materials = "go", nil, nil
			},
		},
		{
			name: "local with detached head", golden: "local-detached.json",
			src: func(s *source.Source) { s.Ref = "" },
		},
	}
	schema := localSchema(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src, b := checkedOut(), built()
			if tt.src != nil {
				tt.src(&src)
			}
			if tt.built != nil {
				tt.built(&b)
			}
			raw, err := provenance.Predicate(src, b, tt.claims)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.golden, raw)
			claim, err := provenance.Read(evidence.Provenance, raw)
			if err != nil {
				t.Fatalf("reading what was made: %v", err)
			}
			if claim.Commit != commit || claim.Repository != src.Remote || claim.Dirty != src.Dirty || len(claim.Unknown) > 0 {
				t.Errorf("what was made reads as %+v", claim)
			}
			if tt.claims.IsWorkflow() {
				return
			}
			if claim.Ref != src.Ref || claim.BuilderID != provenance.LocalBuilder || claim.BuildType != provenance.Local {
				t.Errorf("what was made reads as %+v", claim)
			}
			document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(document); err != nil {
				t.Errorf("the published schema refuses it: %v", err)
			}
		})
	}
}

func localSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schemas/provenance-local-v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchemaRefuses shows that the published schema has teeth.
func TestSchemaRefuses(t *testing.T) {
	schema := localSchema(t)
	good, err := os.ReadFile("testdata/local.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{provenance.Local, "https://hallmark.sh/buildtypes/local/v2"},
		{provenance.LocalBuilder, "https://hallmark.sh/builders/other"},
		{`"kind": "docker"`, `"kind": "magic"`},
		{`"source": {`, `"more": 1, "source": {`},
		{commit, "15bf"},
		{`"gitCommit"`, `"sha1"`},
		{"https://github.com/acme/app", "git@github.com:acme/app"},
	} {
		text := strings.Replace(string(good), change[0], change[1], 1)
		if text == string(good) {
			t.Fatalf("%q is not in the predicate", change[0])
		}
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(document) == nil {
			t.Errorf("the schema lets %q pass for %q", change[1], change[0])
		}
	}
}

func TestPredicateRefuses(t *testing.T) {
	tests := []struct {
		name   string
		src    func(*source.Source)
		claims func(*oidc.Claims)
		want   string
		hint   string
	}{
		{
			name: "another commit",
			src:  func(s *source.Source) { s.Commit = strings.Repeat("0", 40) },
			want: "the run is for commit 15bf79ea9c89fffbf5dd02c6b5b686b291bfcbd2, the source is at 0000",
			hint: "check out the commit of the run",
		},
		{
			name: "another repository",
			src:  func(s *source.Source) { s.Remote = "https://github.com/acme/other" },
			want: "the run is for https://github.com/acme/app, the source's origin is \"https://github.com/acme/other\"",
			hint: "release a repository from a workflow of its own",
		},
		{name: "another server", src: func(s *source.Source) { s.Remote = "https://git.acme.test/acme/app" }, want: "the source's origin is"},
		{name: "look-alike repository", src: func(s *source.Source) { s.Remote = "https://github.com/acme/app-evil" }, want: "the source's origin is"},
		{name: "no origin", src: func(s *source.Source) { s.Remote = "" }, want: `the source's origin is ""`},
		{
			name: "dirty tree",
			src:  func(s *source.Source) { s.Dirty, s.DirtyPaths = true, []string{"a.go", "b.go"} },
			want: "is not exactly commit",
			hint: "a.go, b.go",
		},
		{name: "no path in the workflow", claims: func(c *oidc.Claims) { c.WorkflowRef = "acme/app/@x" }, want: "is not owner/name/path@ref"},
		{name: "no ref in the workflow", claims: func(c *oidc.Claims) { c.WorkflowRef = "acme/app/a.yml@" }, want: "is not owner/name/path@ref"},
		{name: "no @ in the workflow", claims: func(c *oidc.Claims) { c.WorkflowRef = "acme/app/a.yml" }, want: "is not owner/name/path@ref"},
		{name: "no repository", claims: func(c *oidc.Claims) { c.Repository = "" }, want: "no repository claim"},
		{name: "no ref", claims: func(c *oidc.Claims) { c.Ref = "" }, want: "no ref claim"},
		{name: "no commit", claims: func(c *oidc.Claims) { c.SHA = "" }, want: "no sha claim"},
		{name: "no workflow", claims: func(c *oidc.Claims) { c.WorkflowRef = "" }, want: "no workflow_ref claim"},
		{name: "no run", claims: func(c *oidc.Claims) { c.RunID = "" }, want: "no run_id claim"},
		{name: "no attempt", claims: func(c *oidc.Claims) { c.RunAttempt = "" }, want: "no run_attempt claim"},
		{name: "no event", claims: func(c *oidc.Claims) { c.EventName = "" }, want: "no event_name claim"},
		{name: "no repository id", claims: func(c *oidc.Claims) { c.RepositoryID = "" }, want: "no repository_id claim"},
		{name: "no owner id", claims: func(c *oidc.Claims) { c.RepositoryOwnerID = "" }, want: "no repository_owner_id claim"},
		{name: "no runner", claims: func(c *oidc.Claims) { c.RunnerEnvironment = "" }, want: "no runner_environment claim"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src, claims := checkedOut(), run()
			if tt.src != nil {
				tt.src(&src)
			}
			if tt.claims != nil {
				tt.claims(&claims)
			}
			_, err := provenance.Predicate(src, built(), claims)
			matches(t, err, tt.want)
			if err != nil && !strings.Contains(hint.Of(err), tt.hint) {
				t.Errorf("hint %q does not contain %q", hint.Of(err), tt.hint)
			}
		})
	}
	t.Run("repository in another case", func(t *testing.T) {
		src := checkedOut()
		src.Remote = "https://github.com/Acme/App"
		_, err := provenance.Predicate(src, built(), run())
		matches(t, err, "")
	})
	t.Run("parameters that are no JSON", func(t *testing.T) {
		b := built()
		b.Parameters = map[string]any{"f": func() {}}
		_, err := provenance.Predicate(checkedOut(), b, oidc.Claims{})
		matches(t, err, "unsupported type")
	})
}

func golden(t *testing.T, name string, raw []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), indented.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func matches(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v does not contain %q", err, want)
	}
}
