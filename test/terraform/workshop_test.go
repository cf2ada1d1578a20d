//go:build terraform

package terraform_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/hallmark-sh/hallmark/test/peers"
)

// What terraform takes for the host of a source that names none.
const defaultHost = "registry.terraform.io"

// workshop is a copy of the project's Terraform, with the stand-in for every provider.
type workshop struct {
	tree, config, facts string
}

func newWorkshop(t *testing.T, from string) *workshop {
	t.Helper()
	dir := t.TempDir()
	w := &workshop{tree: filepath.Join(dir, "tree"), config: filepath.Join(dir, "terraform.rc")}
	var err error
	if w.facts, err = filepath.Abs("facts/providers.json"); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(w.tree, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	// The example reads the charts that stand beside the tree.
	if err := os.CopyFS(filepath.Join(dir, "charts"), os.DirFS("../../charts")); err != nil {
		t.Fatal(err)
	}
	var providers map[string]struct {
		Version string `json:"version"`
	}
	read(t, w.facts, &providers)
	mirror := filepath.Join(dir, "mirror")
	for name, p := range providers {
		folder := filepath.Join(mirror, defaultHost, filepath.FromSlash(name), p.Version, runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(folder, "terraform-provider-"+path.Base(name)+"_v"+p.Version)
		if err := os.Link(peers.Need(t, "terraform-provider-standin"), program); err != nil {
			copyFile(t, peers.Need(t, "terraform-provider-standin"), program)
		}
	}
	write(t, w.config, fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror))
	return w
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	program, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, program, 0o755); err != nil {
		t.Fatal(err)
	}
}

// terraform runs the real terraform in a folder of the tree and returns its output and exit code.
func (w *workshop) terraform(t *testing.T, root string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peers.Need(t, "terraform"), args...)
	cmd.Dir = filepath.Join(w.tree, root)
	// Nothing of the user's: no account can be reached by accident.
	cmd.Env = []string{"HOME=" + w.tree, "PATH=" + os.Getenv("PATH"), "TF_CLI_CONFIG_FILE=" + w.config, "TF_IN_AUTOMATION=1",
		"TF_INPUT=0", "CHECKPOINT_DISABLE=1", "HALLMARK_STANDIN_FACTS=" + w.facts}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (w *workshop) must(t *testing.T, root string, args ...string) string {
	t.Helper()
	out, code := w.terraform(t, root, args...)
	if code != 0 {
		t.Fatalf("terraform %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// prepare gives the root a state of its own, and puts stubs where terraform looks for modules it has fetched already. A stub
// takes what the real module takes, by its variables with their types, and gives out what is known of it after apply.
func (w *workshop) prepare(t *testing.T, root string) {
	t.Helper()
	folder := filepath.Join(w.tree, root)
	if text, err := os.ReadFile(filepath.Join(folder, "main.tf")); err != nil {
		t.Fatal(err)
	} else if strings.Contains(string(text), "backend \"s3\"") {
		write(t, filepath.Join(folder, "state_override.tf"), "terraform {\n  backend \"local\" {}\n}\n")
	}
	records := []record{{Key: "", Dir: "."}}
	w.modules(t, folder, folder, "", &records)
	text, err := json.Marshal(map[string]any{"Modules": records})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, ".terraform", "modules", "modules.json"), string(text))
}

// record is an entry of .terraform/modules/modules.json.
type record struct {
	Key     string `json:"Key"`
	Source  string `json:"Source"`
	Version string `json:"Version,omitempty"`
	Dir     string `json:"Dir"`
}

func (w *workshop) modules(t *testing.T, root, folder, prefix string, records *[]record) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.tf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, diags := hclparse.NewParser().ParseHCLFile(name)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			if b.Type != "module" {
				continue
			}
			value, diags := b.Body.Attributes["source"].Expr.Value(nil)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			source, key := value.AsString(), prefix+b.Labels[0]
			if strings.HasPrefix(source, ".") {
				called := filepath.Join(folder, source)
				dir, err := filepath.Rel(root, called)
				if err != nil {
					t.Fatal(err)
				}
				*records = append(*records, record{Key: key, Source: source, Dir: dir})
				w.modules(t, root, called, key+".", records)
				continue
			}
			name, sub, _ := strings.Cut(source, "//")
			dir := path.Join(".terraform", "modules", key, sub)
			version := stub(t, filepath.Join(root, dir), name, sub)
			full := defaultHost + "/" + name
			if sub != "" {
				full += "//" + sub
			}
			*records = append(*records, record{Key: key, Source: full, Version: version, Dir: dir})
		}
	}
}

// given are the outputs of the real modules that the project's own read, as after an apply.
var given = map[string]map[string]any{
	"terraform-aws-modules/vpc/aws": {
		"vpc_id": "vpc-0123456789abcdef0", "private_subnets": []string{"subnet-a", "subnet-b", "subnet-c"},
		"intra_subnets":           []string{"subnet-d", "subnet-e", "subnet-f"},
		"private_route_table_ids": []string{"rtb-a"}, "intra_route_table_ids": []string{"rtb-b"},
	},
	"terraform-aws-modules/vpc/aws//modules/vpc-endpoints": {},
	"terraform-aws-modules/eks/aws": {
		"cluster_name": "hallmark", "cluster_arn": "arn:aws:eks:eu-central-1:111122223333:cluster/hallmark",
		"cluster_endpoint": "https://standin.invalid", "cluster_certificate_authority_data": "LS0tLS1CRUdJTg==",
		"kms_key_arn":             "arn:aws:kms:eu-central-1:111122223333:key/0",
		"eks_managed_node_groups": map[string]any{"system": map[string]string{"iam_role_name": "system"}},
	},
}

func stub(t *testing.T, dir, name, sub string) (version string) {
	t.Helper()
	var packages map[string]struct {
		Version string `json:"version"`
		Modules map[string]struct {
			Providers map[string]string `json:"required_providers"`
			Variables map[string]struct{ Type, Default, Nullable string }
		}
	}
	read(t, "facts/modules.json", &packages)
	face, ok := packages[name].Modules[sub]
	if !ok {
		t.Fatalf("no facts about module %s//%s", name, sub)
	}
	if sub != "" {
		name += "//" + sub
	}
	var b strings.Builder
	b.WriteString("terraform {\n  required_providers {\n")
	for _, source := range slices.Sorted(maps.Keys(face.Providers)) {
		fmt.Fprintf(&b, "    %s = { source = %q, version = %q }\n", path.Base(source), source, face.Providers[source])
	}
	b.WriteString("  }\n}\n")
	for _, v := range slices.Sorted(maps.Keys(face.Variables)) {
		fmt.Fprintf(&b, "variable %q {\n", v)
		for _, line := range [][2]string{{"type", face.Variables[v].Type}, {"default", face.Variables[v].Default}, {"nullable", face.Variables[v].Nullable}} {
			if line[1] != "" {
				fmt.Fprintf(&b, "  %s = %s\n", line[0], line[1])
			}
		}
		b.WriteString("}\n")
	}
	outputs, err := json.Marshal(given[name])
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "resource \"terraform_data\" \"stub\" {\n  input = jsondecode(%q)\n}\n", outputs)
	for _, o := range slices.Sorted(maps.Keys(given[name])) {
		fmt.Fprintf(&b, "output %q {\n  value = terraform_data.stub.output.%s\n}\n", o, o)
	}
	write(t, filepath.Join(dir, "stub.tf"), b.String())
	return packages[strings.Split(name, "//")[0]].Version
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("reading %s: %v", file, err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
