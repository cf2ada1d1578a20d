//go:build actions

package actions_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// commit stands for the commit of this repository that a caller names.
const commit = "5f0c5a1be5b2a1d7a1a4b4ba6f2a4c0f8d6f3e21"

// jobToken is GitHub's token of a job.
const jobToken = "job-token-a41c"

// workflow is as much of a workflow file as the harness reads.
type workflow struct {
	Permissions map[string]string `yaml:"permissions"`
	Jobs        map[string]struct {
		Permissions map[string]string `yaml:"permissions"`
	} `yaml:"jobs"`
}

// grantTokens does for a workflow file what GitHub does when it starts a job:
// only a job that has the permission id-token: write gets the address and the
// secret to ask for identity tokens. The runner knows nothing of permissions.
// It gives the jobs that got them.
func grantTokens(t *testing.T, path, url, secret string) (granted []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	var tree yaml.Node
	for _, into := range []any{&w, &tree} {
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	jobs := member(tree.Content[0], "jobs")
	for name, job := range w.Jobs {
		permissions := job.Permissions
		if permissions == nil {
			permissions = w.Permissions
		}
		if permissions["id-token"] != "write" {
			continue
		}
		granted = append(granted, name)
		var env yaml.Node
		if err := env.Encode(map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": secret}); err != nil {
			t.Fatal(err)
		}
		node := member(jobs, name)
		if own := member(node, "env"); own.Kind == yaml.MappingNode {
			own.Content = append(own.Content, env.Content...)
			continue
		}
		node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "env"}, &env)
	}
	var out bytes.Buffer
	if err := yaml.NewEncoder(&out).Encode(&tree); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return granted
}

func member(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return &yaml.Node{}
}

// remotes are the actions and workflows of other repositories that the
// workflows use, each with the folder that stands for it.
func remotes(t *testing.T, product string) []string {
	t.Helper()
	stubs, err := filepath.Abs("testdata/stubs")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	files, err := filepath.Glob(filepath.Join(product, ".github/workflows/*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, filepath.Join(product, "action.yml")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			_, uses, ok := strings.Cut(line, "uses: ")
			if !ok || strings.HasPrefix(uses, "./") {
				continue
			}
			uses, _, _ = strings.Cut(uses, " ")
			action, ref, _ := strings.Cut(uses, "@")
			parts := strings.SplitN(action, "/", 3)
			repository := parts[0] + "/" + parts[1]
			switch {
			case repository == "hallmark-sh/hallmark":
				found[repository+"@"+ref] = product
			case len(parts) == 3: // a folder of the repository
				found[repository+"@"+ref] = filepath.Dir(filepath.Join(stubs, parts[2], "x"))
				found[repository+"@"+ref] = subfolder(t, stubs, parts[2])
			default:
				found[repository+"@"+ref] = filepath.Join(stubs, parts[1])
			}
		}
	}
	found["hallmark-sh/hallmark@"+commit] = product
	var flags []string
	for name, dir := range found {
		flags = append(flags, "--local-repository", name+"="+dir)
	}
	return flags
}

// subfolder makes a repository that holds one stub in a folder of its name.
func subfolder(t *testing.T, stubs, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(stubs, name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// line is one line of what the runner says.
type line struct {
	Job        string `json:"job"`
	JobID      string `json:"jobID"`
	Message    string `json:"msg"`
	StepResult string `json:"stepResult"`
	JobResult  string `json:"jobResult"`
	Step       string `json:"step"`
}

// outcome is how a run of a workflow ended.
type outcome struct {
	passed bool
	lines  []line
	raw    string
}

// job gives what one job of the reusable workflow said, and its result: empty
// for a job that never ran.
func (o outcome) job(id string) (text, result string) {
	var b strings.Builder
	for _, l := range o.lines {
		if l.JobID != id && !strings.HasSuffix(l.Job, "/"+id) {
			continue
		}
		b.WriteString(strings.TrimRight(l.Message, "\n") + "\n")
		if l.JobResult != "" {
			result = l.JobResult
		}
	}
	return b.String(), result
}

func (o outcome) String() string {
	var b strings.Builder
	for _, l := range o.lines {
		fmt.Fprintf(&b, "[%s] %s\n", l.Job, strings.TrimRight(l.Message, "\n"))
	}
	return b.String()
}

// act runs the caller's workflow for an event, with an environment that holds
// nothing of this process's but what is named here: in host mode the runner
// hands its whole environment to every step.
func (s *scene) act(event string, flags ...string) outcome {
	s.t.Helper()
	file := map[string]string{"push": "ci.yml", "pull_request": "pr.yml"}[event]
	args := append([]string{event, "--json", "-W", ".github/workflows/" + file, "-P", "ubuntu-24.04=-self-hosted",
		"--defaultbranch", "main", "--no-cache-server", "--env", "HARNESS=" + s.harness, "-s", "GITHUB_TOKEN=" + jobToken}, flags...)
	cmd := exec.CommandContext(s.t.Context(), s.runner, append(args, remotes(s.t, s.product)...)...)
	cmd.Dir = s.app
	cmd.Env = s.environment()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	o := outcome{passed: err == nil, raw: out.String()}
	for _, text := range strings.Split(o.raw, "\n") {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil {
			o.lines = append(o.lines, l)
		} else if strings.TrimSpace(text) != "" {
			o.lines = append(o.lines, line{Message: text})
		}
	}
	return o
}
