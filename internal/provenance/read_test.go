package provenance_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/provenance"
)

const repository = "https://github.com/acme/app"

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestRead(t *testing.T) {
	tests := []struct {
		file, predicateType string
		want                provenance.Claim
	}{
		{"github.json", evidence.Provenance, provenance.Claim{
			Version: "v1", BuildType: provenance.GitHubWorkflow,
			BuilderID:  "https://github.com/acme/build/.github/workflows/image.yml@refs/tags/v3",
			Repository: repository, Ref: "refs/tags/app@1.2.0", Commit: commit,
			WorkflowPath: ".github/workflows/release.yml", WorkflowRef: "refs/heads/release@next",
			RunURI: repository + "/actions/runs/2436960022/attempts/2",
			Event:  "push", RepositoryID: "1296269", OwnerID: "583231", Runner: "github-hosted",
			Dependencies: []provenance.Dependency{{
				URI: "git+" + repository + "@refs/tags/app@1.2.0", Digest: map[string]string{"gitCommit": commit},
			}},
		}},
		{"local-dirty.json", evidence.Provenance, provenance.Claim{
			Version: "v1", BuildType: provenance.Local, BuilderID: provenance.LocalBuilder,
			Repository: repository, Ref: "refs/heads/main", Commit: commit, Dirty: true,
			Dependencies: []provenance.Dependency{
				{URI: "git+" + repository + "@refs/heads/main", Digest: map[string]string{"gitCommit": commit}},
				{URI: "docker://index.docker.io/library/debian:12", Digest: map[string]string{"sha256": digest("b").Hex}},
			},
		}},
		{"local-bare.json", evidence.Provenance, provenance.Claim{
			Version: "v1", BuildType: provenance.Local, BuilderID: provenance.LocalBuilder, Commit: commit,
			Dependencies: []provenance.Dependency{{Digest: map[string]string{"gitCommit": commit}}},
		}},
		{"generator-container-v02.json", evidence.ProvenanceV02, provenance.Claim{
			Version: "v0.2", BuildType: provenance.GeneratorContainer,
			BuilderID:  "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.1.0",
			Repository: repository, Ref: "refs/heads/main", Commit: commit,
			WorkflowPath: ".github/workflows/release.yml", WorkflowRef: "refs/heads/main",
			RunURI: repository + "/actions/runs/2387611653/attempts/1",
			Event:  "workflow_dispatch", RepositoryID: "1296269", OwnerID: "583231",
			Dependencies: []provenance.Dependency{{
				URI: "git+" + repository + "@refs/heads/main", Digest: map[string]string{"sha1": commit},
			}},
		}},
		{"other-v1.json", evidence.Provenance, provenance.Claim{
			Version: "v1", BuildType: "https://mobyproject.org/buildkit@v1", BuilderID: "https://builder.test",
			Repository: repository, Ref: "refs/heads/main", Commit: commit, Unknown: []string{"args", "frontend"},
			Dependencies: []provenance.Dependency{
				{URI: "pkg:docker/debian@12", Digest: map[string]string{"sha256": digest("b").Hex}},
				{URI: "git+" + repository + "@refs/heads/main", Digest: map[string]string{"gitCommit": commit}},
			},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got, err := provenance.Read(tt.predicateType, []byte(read(t, tt.file)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadChanged changes one thing of a good predicate at a time.
func TestReadChanged(t *testing.T) {
	const github, local, v02, other = "github.json", "local.json", "generator-container-v02.json", "other-v1.json"
	tests := []struct {
		name, file, from, to string
		err                  string
		unknown              []string
	}{
		{name: "inputs", file: github, from: `"workflow": {`, to: `"inputs": {"debug": "1"}, "workflow": {`, unknown: []string{"inputs"}},
		{name: "empty inputs and vars", file: github, from: `"workflow": {`, to: `"inputs": {}, "vars": null, "workflow": {`},
		{name: "first name of the build type", file: github, from: provenance.GitHubWorkflow, to: provenance.FirstWorkflow},
		{name: "inputs under the first name", file: github, from: `"buildType": "https://actions.github.io/buildtypes/workflow/v1",
    "externalParameters": {`, to: `"buildType": "` + provenance.FirstWorkflow + `", "externalParameters": {"inputs": 1,`, unknown: []string{"inputs"}},
		{name: "more in the workflow", file: github, from: `"workflow": {`, to: `"workflow": {"shell": "sh",`, unknown: []string{"workflow.shell"}},
		{name: "several", file: github, from: `"workflow": {`, to: `"z": 1, "a": 1, "workflow": {"m": 1,`, unknown: []string{"a", "workflow.m", "z"}},
		{name: "more in a local source", file: local, from: `"source": {`, to: `"source": {"patch": "p",`, unknown: []string{"source.patch"}},
		{name: "more in a local build", file: local, from: `"kind"`, to: `"script": "s", "kind"`, unknown: []string{"build.script"}},
		{name: "more in local parameters is the build kind's", file: local, from: `"file"`, to: `"target": "t", "file"`},
		{name: "parameters of v0.2", file: v02, from: `"parameters": {}`, to: `"parameters": {"inputs": 1}`, unknown: []string{"inputs"}},
		{name: "inputs of v0.2 without content", file: v02, from: `"parameters": {}`, to: `"parameters": {"inputs": {}}`},
		{name: "no workflow", file: github, from: `"workflow"`, to: `"flow"`, err: "no external parameter workflow"},
		{name: "workflow no object", file: github, from: `"workflow": {`, to: `"workflow": "w", "flow": {`, err: "external parameter workflow: json"},
		{name: "workflow null", file: github, from: `"workflow": {`, to: `"workflow": null, "flow": {`, unknown: []string{"flow"}},
		{name: "no source", file: local, from: `"source"`, to: `"src"`, err: "no external parameter source"},
		{name: "no build", file: local, from: `"build": {`, to: `"b": {`, err: "no external parameter build"},
		{name: "internal parameters no object", file: github, from: `"internalParameters": {`, to: `"internalParameters": 1, "i": {`, err: "internal parameters:"},
		{name: "internal parameters left out", file: github, from: `"internalParameters"`, to: `"i"`},
		{name: "another ref in the dependency", file: local, from: `app@refs/heads/main`, to: `app@refs/heads/dev`, err: `"refs/heads/main" in one place and "refs/heads/dev" in another`},
		{name: "the source twice", file: github, from: `"resolvedDependencies": [`, to: `"resolvedDependencies": [{"uri": "git+https://github.com/acme/app@x", "digest": {"gitCommit": "0"}},`, err: "2 dependencies are the source's repository"},
		{name: "two sources that could be", file: other, from: `"resolvedDependencies": [`, to: `"resolvedDependencies": [{"digest": {"gitCommit": "0"}},`, unknown: []string{"args", "frontend"}},
		{name: "no build type", file: github, from: `"buildType"`, to: `"type"`, err: "no build type"},
		{name: "no builder", file: github, from: `"id"`, to: `"ID2"`, err: "no builder id"},
		{name: "wrong kind of value", file: github, from: `"id": "`, to: `"id": 1, "x": "`, err: "cannot unmarshal"},
		{name: "wrong kind of value in v0.2", file: v02, from: `"parameters": {}`, to: `"parameters": [1]`, err: "parameters:"},
		{name: "wrong kind of builder in v0.2", file: v02, from: `"builder": {`, to: `"builder": 1, "b": {`, err: "cannot unmarshal"},
		{name: "material at another commit", file: v02, from: `"materials": [`, to: `"materials": [{"uri": "git+https://github.com/acme/app", "digest": {"sha1": "0"}},`, err: "the source's commit is"},
		{name: "environment at another commit", file: v02, from: `"github_sha1": "15`, to: `"github_sha1": "00`, err: "the source's commit is"},
		{name: "environment on another ref", file: v02, from: `"github_ref": "refs/heads/main"`, to: `"github_ref": "refs/heads/dev"`, err: "the source's ref is"},
		{name: "key twice", file: github, from: `"buildType"`, to: `"buildtype": "x", "buildType"`, err: "twice"},
		{name: "line break", file: github, from: `"push"`, to: `"push\n"`, err: "cannot be shown"},
		{name: "terminal escape", file: github, from: `"push"`, to: `"\u001b[2Jpush"`, err: "cannot be shown"},
		{name: "text turned round", file: github, from: `"push"`, to: `"\u202epush"`, err: "cannot be shown"},
		{name: "long text", file: github, from: `"push"`, to: `"` + strings.Repeat("p", 2049) + `"`, err: "longer than 2048"},
		{name: "long unknown key", file: github, from: `"workflow": {`, to: `"` + strings.Repeat("p", 2049) + `": 1, "workflow": {`, err: "longer than 2048"},
		{name: "many dependencies", file: github, from: `"resolvedDependencies": [`, to: `"resolvedDependencies": [` + strings.Repeat("{},", 4096), err: "4097 dependencies"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := read(t, tt.file)
			if strings.Count(text, tt.from) == 0 {
				t.Fatalf("%q is not in %s", tt.from, tt.file)
			}
			predicateType := evidence.Provenance
			if tt.file == v02 {
				predicateType = evidence.ProvenanceV02
			}
			got, err := provenance.Read(predicateType, []byte(strings.Replace(text, tt.from, tt.to, 1)))
			matches(t, err, tt.err)
			if diff := cmp.Diff(tt.unknown, got.Unknown); diff != "" {
				t.Errorf("unknown parameters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct{ name, predicateType, json, want string }{
		{"hello", evidence.Provenance, `{"hello":1}`, "no build type"},
		{"hello in v0.2", evidence.ProvenanceV02, `{"hello":1}`, "no build type"},
		{"empty", evidence.Provenance, ``, "the text is empty"},
		{"null", evidence.Provenance, `null`, "no build type"},
		{"array", evidence.Provenance, `[]`, "cannot unmarshal"},
		{"other predicate", evidence.CycloneDX, `{}`, "is not SLSA provenance"},
		{"too large", evidence.Provenance, strings.Repeat(" ", provenance.MaxSize+1), "more than the"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := provenance.Read(tt.predicateType, []byte(tt.json))
			matches(t, err, tt.want)
		})
	}
}

// FuzzRead checks that whatever is read can be shown and names a build.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"github.json", "local.json", "local-bare.json", "other-v1.json", "generator-container-v02.json"} {
		raw, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, strings.Contains(name, "v02"))
	}
	f.Fuzz(func(t *testing.T, raw []byte, old bool) {
		predicateType := evidence.Provenance
		if old {
			predicateType = evidence.ProvenanceV02
		}
		claim, err := provenance.Read(predicateType, raw)
		if err != nil {
			return
		}
		if claim.BuildType == "" || claim.BuilderID == "" {
			t.Fatalf("no build: %+v", claim)
		}
		shown := fmt.Sprint(claim.BuildType, claim.BuilderID, claim.Repository, claim.Ref, claim.Commit, claim.WorkflowPath, claim.RunURI, claim.Unknown)
		if strings.ContainsAny(shown, "\x00\x1b\n\r\t\u202e") {
			t.Fatalf("cannot be shown: %q", shown)
		}
	})
}
