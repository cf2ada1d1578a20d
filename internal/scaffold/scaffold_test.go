package scaffold_test

import (
	"errors"
	"flag"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/scaffold"
	"github.com/hallmark-sh/hallmark/test/terraform"
)

var update = flag.Bool("update", false, "write the golden files")

const commit = "0123456789abcdef0123456789abcdef01234567"

var (
	ghcr = scaffold.Answers{Image: "ghcr.io/acme/app", Repository: "acme/app", Ref: "refs/heads/main", Build: "go",
		Package: "./cmd/app", Hallmark: commit}
	ecr = scaffold.Answers{Image: "111122223333.dkr.ecr.eu-central-1.amazonaws.com/acme/app", Repository: "Acme/App.Server",
		Ref: "refs/heads/release/2.x", Build: "docker", Hallmark: commit, OwnerID: 1001, RepositoryID: 2002}
)

func TestGolden(t *testing.T) {
	for name, answers := range map[string]scaffold.Answers{"ghcr": ghcr, "ecr": ecr} {
		files, err := scaffold.Files(answers)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, f := range files {
			golden := filepath.Join("testdata", name, filepath.FromSlash(f.Path))
			found = append(found, golden)
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, f.Text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(f.Text)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
		}
		if want := map[string]int{"ghcr": 4, "ecr": 5}[name]; len(found) != want {
			t.Errorf("%s: %d files, wanted %d", name, len(found), want)
		}
	}
}

// hallmark's own reader accepts the policy, and it says what the answers said.
func TestPolicy(t *testing.T) {
	for _, a := range []scaffold.Answers{ghcr, ecr} {
		p, err := policy.Parse("hallmark.yaml", text(t, a, "hallmark.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if p.Image != a.Image || p.Identity.Ref != a.Ref || !strings.HasSuffix(p.Identity.Workflow, "@"+commit) {
			t.Errorf("the policy is about %s, %s and %s", p.Image, p.Identity.Ref, p.Identity.Workflow)
		}
	}
}

// The workflow and the role agree about who may push: the AWS role of the one is the role of the other.
func TestWorkflow(t *testing.T) {
	var w struct {
		Permissions map[string]string
		Jobs        map[string]struct {
			Uses string
			With map[string]string
		}
	}
	if err := yaml.Unmarshal(text(t, ecr, ".github/workflows/hallmark-release.yml"), &w); err != nil {
		t.Fatal(err)
	}
	job := w.Jobs["release"]
	if len(w.Permissions) != 0 || job.Uses != "hallmark-sh/hallmark/.github/workflows/release.yml@"+commit {
		t.Errorf("permissions %v, uses %s", w.Permissions, job.Uses)
	}
	want := map[string]string{"directory": ".", "aws-region": "eu-central-1", "aws-role": "arn:aws:iam::111122223333:role/hallmark-release-app-server"}
	if diff := cmp.Diff(want, job.With); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if root := string(text(t, ecr, "deploy/terraform/main.tf")); !strings.Contains(root, `"app-server" = {`) {
		t.Error("the role of the Terraform root has another name")
	}
}

// The inputs given are inputs that the reusable workflows have.
func TestInputsExist(t *testing.T) {
	for _, name := range []string{"release", "check"} {
		var called struct {
			On struct {
				Call struct{ Inputs map[string]any } `yaml:"workflow_call"`
			} `yaml:"on"`
		}
		raw, err := os.ReadFile(filepath.Join("../../.github/workflows", name+".yml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(raw, &called); err != nil {
			t.Fatal(err)
		}
		var caller struct {
			Jobs map[string]struct{ With map[string]string }
		}
		if err := yaml.Unmarshal(text(t, ecr, ".github/workflows/hallmark-"+name+".yml"), &caller); err != nil {
			t.Fatal(err)
		}
		for input := range caller.Jobs[name].With {
			if _, ok := called.On.Call.Inputs[input]; !ok {
				t.Errorf("%s.yml has no input %s", name, input)
			}
		}
	}
}

// The Terraform root passes the static test, with hallmark's modules as they are here.
func TestTerraform(t *testing.T) {
	modules, err := filepath.Abs("../../terraform/modules")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "modules"), os.DirFS(modules)); err != nil {
		t.Fatal(err)
	}
	root := string(text(t, ecr, "deploy/terraform/main.tf"))
	here := strings.ReplaceAll(root, "git::https://github.com/hallmark-sh/hallmark.git//terraform/modules/", "../modules/")
	here = strings.ReplaceAll(here, "?ref="+commit, "")
	if strings.Count(root, "?ref="+commit) != 2 {
		t.Error("not every module is pinned by commit")
	}
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "root", "main.tf"), []byte(here), 0o644); err != nil {
		t.Fatal(err)
	}
	findings, err := terraform.Check(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

func TestValuesNameNoTag(t *testing.T) {
	var values struct{ Image map[string]string }
	if err := yaml.Unmarshal(text(t, ghcr, "deploy/values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"repository": "ghcr.io/acme/app"}, values.Image); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func text(t *testing.T, a scaffold.Answers, name string) []byte {
	t.Helper()
	files, err := scaffold.Files(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Path == name {
			return f.Text
		}
	}
	t.Fatalf("no file %s", name)
	return nil
}

func TestRefusedAnswers(t *testing.T) {
	for name, spoil := range map[string]func(*scaffold.Answers){
		"no repository":           func(a *scaffold.Answers) { a.Repository = "" },
		"a URL":                   func(a *scaffold.Answers) { a.Repository = "https://github.com/acme/app" },
		"dots":                    func(a *scaffold.Answers) { a.Repository = "acme/.." },
		"a pattern":               func(a *scaffold.Answers) { a.Repository = "acme/*" },
		"a branch without refs":   func(a *scaffold.Answers) { a.Ref = "main" },
		"any branch":              func(a *scaffold.Answers) { a.Ref = "refs/heads/*" },
		"a tag":                   func(a *scaffold.Answers) { a.Ref = "refs/tags/v1" },
		"another builder":         func(a *scaffold.Answers) { a.Build = "make" },
		"a package elsewhere":     func(a *scaffold.Answers) { a.Package = "../cmd" },
		"a package with YAML":     func(a *scaffold.Answers) { a.Package = "./a\ntrust: {root: local}" },
		"a tag of hallmark":       func(a *scaffold.Answers) { a.Hallmark = "v1.0.0" },
		"a short commit":          func(a *scaffold.Answers) { a.Hallmark = commit[:12] },
		"an image with a tag":     func(a *scaffold.Answers) { a.Image += ":latest" },
		"an image with YAML":      func(a *scaffold.Answers) { a.Image += "\ntrust: {root: local}" },
		"no image":                func(a *scaffold.Answers) { a.Image = "" },
		"ECR without the numbers": func(a *scaffold.Answers) { a.Image = ecr.Image },
	} {
		t.Run(name, func(t *testing.T) {
			a := ghcr
			spoil(&a)
			if files, err := scaffold.Files(a); !errors.Is(err, scaffold.ErrAnswer) || files != nil {
				t.Errorf("answered %v", err)
			}
		})
	}
}

func TestPartitions(t *testing.T) {
	for image, want := range map[string]string{
		"111122223333.dkr.ecr.us-gov-west-1.amazonaws.com/app":    "arn:aws-us-gov:iam::111122223333:role/",
		"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/app":    "arn:aws-cn:iam::111122223333:role/",
		"111122223333.dkr.ecr.ap-southeast-2.amazonaws.com/a/b-c": "arn:aws:iam::111122223333:role/",
	} {
		a := ecr
		a.Image = image
		if got := string(text(t, a, ".github/workflows/hallmark-release.yml")); !strings.Contains(got, "aws-role: "+want) {
			t.Errorf("%s: no role %s in\n%s", image, want, got)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files, err := scaffold.Files(ecr)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hallmark.yaml"), []byte("version: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	changes, err := scaffold.Compare(root, files)
	if err != nil {
		t.Fatal(err)
	}
	if !changes[0].Exists || !strings.Contains(changes[0].Diff, "+image: "+ecr.Image) || changes[1].Exists {
		t.Errorf("compared as %+v", changes[:2])
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Error("comparing wrote something")
	}
	// What an init that was killed left behind stands in nobody's way.
	if err := os.WriteFile(filepath.Join(dir, "hallmark.yaml.hallmark-new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := scaffold.Write(root, changes); err != nil {
		t.Fatal(err)
	}
	again, err := scaffold.Compare(root, files)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range again {
		if !c.Exists || c.Diff != "" {
			t.Errorf("%s is still different:\n%s", c.Path, c.Diff)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.hallmark-new")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Nothing outside the folder is read or written, whatever stands in it.
func TestStaysInside(t *testing.T) {
	for name, lay := range map[string]func(dir, outside string) error{
		"a link as the file":   func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, "hallmark.yaml")) },
		"a link as the folder": func(dir, outside string) error { return os.Symlink(path.Dir(outside), filepath.Join(dir, "deploy")) },
		"a folder as the file": func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "hallmark.yaml"), 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(outside, []byte("mine\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := lay(dir, outside); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			files, err := scaffold.Files(ghcr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := scaffold.Compare(root, files); err == nil {
				t.Error("compared without complaint")
			}
			if got, err := os.ReadFile(outside); err != nil || string(got) != "mine\n" {
				t.Errorf("outside stands %q, %v", got, err)
			}
		})
	}
}
