//go:build terraform

package terraform_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/scaffold"
	"github.com/hallmark-sh/hallmark/test/peers"
)

var update = flag.Bool("update", false, "write the golden files")

// One root after another: what terraform makes of each, with the number of resources it plans.
func TestTerraform(t *testing.T) {
	w := newWorkshop(t, roots)
	if out, code := w.terraform(t, ".", "fmt", "-check", "-recursive", "-diff"); code != 0 {
		t.Errorf("not formatted as terraform fmt does:\n%s", out)
	}
	for _, root := range []struct{ dir, variables, plan string }{
		{"modules/network", "tests/plan.tfvars", "2 to add"}, // the stubs of two modules
		{"modules/cluster", "tests/plan.tfvars", "1 to add"},
		{"modules/registry", "tests/plan.tfvars", "9 to add"},
		{"modules/identity", "tests/plan.tfvars", "10 to add"},
		{"examples/eks", "example.tfvars", "27 to add"},
	} {
		t.Run(root.dir, func(t *testing.T) {
			w.prepare(t, root.dir)
			w.must(t, root.dir, "init", "-no-color")
			w.must(t, root.dir, "validate", "-no-color")
			out := w.must(t, root.dir, "plan", "-no-color", "-var-file="+root.variables, "-out=plan")
			if !strings.Contains(out, "Plan: "+root.plan+", 0 to change, 0 to destroy.") {
				t.Errorf("plan of %s: want %s:\n%s", root.dir, root.plan, out)
			}
			if strings.Contains(out, "Warning:") {
				t.Errorf("a plan in the strong form warns:\n%s", out)
			}
			shown := w.must(t, root.dir, "show", "-json", "plan")
			golden(t, filepath.Base(root.dir)+".policies.json", policies(t, shown))
			w.must(t, root.dir, "apply", "-no-color", "plan")
			if out, code := w.terraform(t, root.dir, "plan", "-no-color", "-var-file="+root.variables, "-detailed-exitcode"); code != 0 {
				t.Errorf("the second plan is not empty (exit code %d):\n%s", code, out)
			}
			if root.dir == "examples/eks" {
				acceptedByHallmark(t, w.must(t, root.dir, "output", "-json", "hallmark_yaml"))
				noSecrets(t, filepath.Join(w.tree, root.dir, "terraform.tfstate"))
			}
			out = w.must(t, root.dir, "test", "-no-color")
			if !regexp.MustCompile(`Success! [1-9][0-9]* passed, 0 failed`).MatchString(out) {
				t.Errorf("terraform test:\n%s", out)
			}
			t.Log(last(out))
		})
	}
}

// What hallmark init writes is a root that terraform takes, and the role is called what the workflow calls it.
func TestTerraformOfInit(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	files, err := scaffold.Files(scaffold.Answers{Image: "111122223333.dkr.ecr.eu-central-1.amazonaws.com/acme/app", Repository: "acme/app",
		Ref: "refs/heads/main", Build: "docker", Hallmark: commit, OwnerID: 1001, RepositoryID: 2002})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorkshop(t, roots)
	for _, f := range files {
		if f.Path == "deploy/terraform/main.tf" {
			// The modules of that commit are those of this one.
			root := strings.ReplaceAll(string(f.Text), "git::https://github.com/hallmark-sh/hallmark.git//terraform/modules/", "../modules/")
			write(t, filepath.Join(w.tree, "init", "main.tf"), strings.ReplaceAll(root, "?ref="+commit, ""))
			write(t, filepath.Join(w.tree, "formatted", "main.tf"), string(f.Text))
		}
	}
	w.must(t, "formatted", "fmt", "-check", "-diff")
	w.prepare(t, "init")
	w.must(t, "init", "init", "-no-color")
	w.must(t, "init", "validate", "-no-color")
	if out := w.must(t, "init", "plan", "-no-color", "-out=plan"); !strings.Contains(out, "Plan: 7 to add, 0 to change, 0 to destroy.") || strings.Contains(out, "Warning:") {
		t.Errorf("plan:\n%s", out)
	}
	shown := w.must(t, "init", "show", "-json", "plan")
	if !strings.Contains(shown, `"name":"hallmark-release-app"`) {
		t.Error("the role is not called what the workflow calls it")
	}
	w.must(t, "init", "apply", "-no-color", "plan")
	if out, code := w.terraform(t, "init", "plan", "-no-color", "-detailed-exitcode"); code != 0 {
		t.Errorf("the second plan is not empty:\n%s", out)
	}
}

// The script for machines with a network does what it says, here on the roots that need no module from it.
func TestTerraformNetworkScript(t *testing.T) {
	w := newWorkshop(t, roots)
	cmd := exec.CommandContext(t.Context(), "./network.sh", "modules/registry", "modules/identity")
	cmd.Env = []string{"HOME=" + w.tree, "PATH=" + os.Getenv("PATH"), "TF_CLI_CONFIG_FILE=" + w.config,
		"HALLMARK_STANDIN_FACTS=" + w.facts, "TERRAFORM=" + peers.Need(t, "terraform")}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "Success!") != 4 {
		t.Errorf("%v\n%s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(roots, "*/*/.terraform*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func last(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

// policies are the IAM policies of a plan, as they would be sent.
func policies(t *testing.T, plan string) []byte {
	t.Helper()
	var p struct {
		Changes []struct {
			Address string `json:"address"`
			Change  struct {
				After map[string]any `json:"after"`
			} `json:"change"`
		} `json:"resource_changes"`
	}
	if err := json.Unmarshal([]byte(plan), &p); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for _, c := range p.Changes {
		for _, argument := range []string{"assume_role_policy", "policy"} {
			if text, ok := c.Change.After[argument].(string); ok {
				var policy any
				if err := json.Unmarshal([]byte(text), &policy); err != nil {
					t.Errorf("%s: %s is not JSON: %v", c.Address, argument, err)
				}
				all[c.Address+"."+argument] = policy
			}
		}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if string(got) == "{}\n" {
		return
	}
	file := filepath.Join("testdata", "plans", name)
	if *update {
		write(t, file, string(got))
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("policies of the plan (-want +got):\n%s", diff)
	}
}

// The output hallmark_yaml is what hallmark itself accepts, and says the same as the role's trust.
func acceptedByHallmark(t *testing.T, output string) {
	t.Helper()
	var files map[string]string
	if err := json.Unmarshal([]byte(output), &files); err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse("hallmark.yaml", []byte(files["app"]))
	if err != nil {
		t.Fatalf("hallmark refuses what Terraform put out: %v\n%s", err, files["app"])
	}
	if p.Image != "111122223333.dkr.ecr.eu-central-1.amazonaws.com/acme/app" || p.Identity.Ref != "refs/heads/main" {
		t.Errorf("hallmark.yaml says %s and %s", p.Image, p.Identity.Ref)
	}
}

// No value in the state is one that must not be seen.
func noSecrets(t *testing.T, file string) {
	t.Helper()
	var state struct {
		Resources []struct {
			Type      string `json:"type"`
			Instances []struct {
				Attributes map[string]any `json:"attributes"`
				Sensitive  [][]struct {
					Value any `json:"value"`
				} `json:"sensitive_attributes"`
			} `json:"instances"`
		} `json:"resources"`
	}
	read(t, file, &state)
	if len(state.Resources) < 15 {
		t.Fatalf("only %d resources in the state", len(state.Resources))
	}
	for _, r := range state.Resources {
		if slices.Contains([]string{"random_password", "kubernetes_secret_v1", "aws_iam_access_key", "tls_private_key"}, r.Type) {
			t.Errorf("the state holds a %s", r.Type)
		}
		for _, i := range r.Instances {
			for _, path := range i.Sensitive {
				name, _ := path[0].Value.(string)
				if i.Attributes[name] != nil {
					t.Errorf("the state holds %s of a %s", name, r.Type)
				}
			}
		}
	}
}
