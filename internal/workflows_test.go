package internal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// workflow is as much of a GitHub workflow, or of an action's metadata, as its
// rules are about.
type workflow struct {
	On          yaml.Node      `yaml:"on"`
	Permissions yaml.Node      `yaml:"permissions"`
	Jobs        map[string]job `yaml:"jobs"`
	Runs        struct {
		Using string `yaml:"using"`
		Steps []step `yaml:"steps"`
	} `yaml:"runs"`
}

type job struct {
	With        map[string]string `yaml:"with"`
	Permissions map[string]string `yaml:"permissions"`
	Uses        string            `yaml:"uses"`
	Timeout     int               `yaml:"timeout-minutes"`
	RunsOn      string            `yaml:"runs-on"`
	Steps       []step            `yaml:"steps"`
	text        string
}

type step struct {
	Uses  string            `yaml:"uses"`
	Run   string            `yaml:"run"`
	Shell string            `yaml:"shell"`
	With  map[string]string `yaml:"with"`
}

// pinned is an action or workflow of another repository, by a whole commit.
var pinned = regexp.MustCompile(`^[\w.-]+/[\w.-]+(/[\w./-]+)?@([0-9a-f]{40})$`)

func parseWorkflow(text string) (workflow, error) {
	var w workflow
	if err := yaml.Unmarshal([]byte(text), &w); err != nil {
		return w, err
	}
	var raw struct {
		Jobs map[string]yaml.Node `yaml:"jobs"`
	}
	if err := yaml.Unmarshal([]byte(text), &raw); err != nil {
		return w, err
	}
	for name, node := range raw.Jobs {
		written, err := yaml.Marshal(&node)
		if err != nil {
			return w, err
		}
		j := w.Jobs[name]
		j.text = string(written)
		w.Jobs[name] = j
	}
	return w, nil
}

// faults lists what is wrong with a workflow or an action.
func (w workflow) faults() (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if w.Runs.Using == "" && (w.Permissions.Kind != yaml.MappingNode || len(w.Permissions.Content) > 0) {
		say("the workflow does not begin without rights: permissions: {}")
	}
	for _, event := range []string{"pull_request_target", "workflow_run", "issue_comment"} {
		if written, err := yaml.Marshal(&w.On); err != nil || strings.Contains(string(written), event) {
			say("%s runs with rights on what strangers wrote", event)
		}
	}
	for _, s := range w.Runs.Steps {
		all = append(all, s.faults("the action")...)
		if s.Run != "" && s.Shell != "bash" {
			say("a step of the action has no shell: bash, and so no pipefail")
		}
	}
	for name, j := range w.Jobs {
		if j.Permissions == nil {
			say("job %s does not say its permissions", name)
		}
		if j.Uses == "" && j.Timeout == 0 {
			say("job %s has no timeout", name)
		}
		all = append(all, step{Uses: j.Uses}.faults("job "+name)...)
		for _, s := range j.Steps {
			all = append(all, s.faults("job "+name)...)
		}
		if j.privileged() {
			all = append(all, j.privilegedFaults(name)...)
		}
	}
	slices.Sort(all)
	return all
}

func (s step) faults(where string) (all []string) {
	if strings.Contains(s.Run, "${{") {
		all = append(all, fmt.Sprintf("%s writes an expression into a shell script: %q", where, s.Run))
	}
	if s.Uses == "" || strings.HasPrefix(s.Uses, "./") {
		return all
	}
	commit := pinned.FindStringSubmatch(s.Uses)
	switch {
	case commit == nil:
		all = append(all, fmt.Sprintf("%s uses %s, which is not pinned by a commit", where, s.Uses))
	case strings.Trim(commit[2], "0") == "":
		all = append(all, fmt.Sprintf("%s uses %s, which is no commit", where, s.Uses))
	}
	if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != "false" {
		all = append(all, fmt.Sprintf("%s leaves the token in the checkout", where))
	}
	if strings.HasPrefix(s.Uses, "actions/setup-go@") && s.With["cache"] != "false" || strings.HasPrefix(s.Uses, "actions/cache") {
		all = append(all, fmt.Sprintf("%s shares a cache", where))
	}
	return all
}

// privileged says that a job can sign or write.
func (j job) privileged() bool {
	for _, level := range j.Permissions {
		if level == "write" {
			return j.Uses == ""
		}
	}
	return false
}

// privilegedFaults are about a job with rights: it takes no source and runs no
// command, only pinned actions.
func (j job) privilegedFaults(name string) (all []string) {
	for _, s := range j.Steps {
		switch {
		case strings.HasPrefix(s.Uses, "actions/checkout@"):
			all = append(all, fmt.Sprintf("job %s has rights and checks a repository out", name))
		case strings.HasPrefix(s.Uses, "./"):
			all = append(all, fmt.Sprintf("job %s has rights and runs an action of the repository", name))
		}
		for _, line := range strings.Split(strings.TrimSpace(s.Run), "\n") {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word != "" && !slices.Contains([]string{"gh", "hallmark", "sha256sum", "echo"}, word) {
				all = append(all, fmt.Sprintf("job %s has rights and runs %q", name, line))
			}
		}
	}
	return all
}

// TestWorkflows holds every workflow and the action to the rules.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	callers, err := filepath.Glob(callerFiles)
	if err != nil || len(callers) == 0 {
		t.Fatalf("no workflows of callers: %v", err)
	}
	for _, file := range append(append(files, callers...), "../action.yml") {
		for _, fault := range workflowOf(t, file).faults() {
			t.Errorf("%s: %s", file, fault)
		}
	}
	if strange, _ := filepath.Glob("../.github/workflows/*.yaml"); len(strange) > 0 {
		t.Errorf("%s are looked at by nobody: name them .yml", strange)
	}
}

// callerFiles are the workflows that hallmark init writes.
const callerFiles = "scaffold/testdata/*/.github/workflows/*.yml"

// TestCallers: GitHub does not start a run whose caller grants less than a job
// of the called workflow asks for, or passes an input that it does not have.
func TestCallers(t *testing.T) {
	files, err := filepath.Glob(callerFiles)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, file := range append(files, "../.github/workflows/publish.yml") {
		for name, j := range workflowOf(t, file).Jobs {
			path, _, _ := strings.Cut(j.Uses, "@")
			if path == "" {
				continue
			}
			calls++
			called := filepath.Join("../.github/workflows", filepath.Base(path))
			text, err := os.ReadFile(called)
			if err != nil {
				t.Fatal(err)
			}
			var inputs struct {
				On struct {
					Call struct {
						Inputs map[string]any `yaml:"inputs"`
					} `yaml:"workflow_call"`
				} `yaml:"on"`
			}
			if err := yaml.Unmarshal(text, &inputs); err != nil {
				t.Fatal(err)
			}
			for input := range j.With {
				if _, has := inputs.On.Call.Inputs[input]; !has {
					t.Errorf("%s: job %s passes %s, which %s does not take", file, name, input, called)
				}
			}
			for of, inner := range workflowOf(t, called).Jobs {
				for right, level := range inner.Permissions {
					if granted := j.Permissions[right]; granted != level && granted != "write" {
						t.Errorf("%s: job %s grants %s: %q, and job %s of %s asks for %s", file, name, right, granted, of, called, level)
					}
				}
			}
		}
	}
	if calls < 3 {
		t.Errorf("%d calls were looked at", calls)
	}
}

func workflowOf(t *testing.T, file string) workflow {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w, err := parseWorkflow(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return w
}

// TestTwoJobs holds the two reusable workflows to what their jobs may have.
func TestTwoJobs(t *testing.T) {
	rights := map[string]map[string]string{
		"release.yml": {"contents": "read", "id-token": "write", "packages": "write", "security-events": "write"},
		"check.yml":   {"contents": "read", "packages": "read", "pull-requests": "write", "security-events": "write"},
	}
	pins := map[string]bool{}
	for file, second := range rights {
		w := workflowOf(t, filepath.Join("../.github/workflows", file))
		if len(w.Jobs) != 2 {
			t.Fatalf("%s has %d jobs", file, len(w.Jobs))
		}
		for name, j := range w.Jobs {
			want := second
			if name == "build" {
				want = map[string]string{"contents": "read"}
				for _, word := range []string{"secrets.", "secrets:", "github.token", "GITHUB_TOKEN", "aws-", "environment:"} {
					if strings.Contains(j.text, word) {
						t.Errorf("%s: the build job holds %s", file, word)
					}
				}
			}
			if fmt.Sprint(j.Permissions) != fmt.Sprint(want) {
				t.Errorf("%s: job %s has the permissions %v, wanted %v", file, name, j.Permissions, want)
			}
			for _, s := range j.Steps {
				if s.Run != "" {
					t.Errorf("%s: job %s has a script of its own: %q", file, name, s.Run)
				}
				if action, commit, _ := strings.Cut(s.Uses, "@"); action == "hallmark-sh/hallmark" {
					pins[commit] = true
				}
			}
		}
	}
	if len(pins) != 1 {
		t.Errorf("the two workflows use the action of several commits: %v", pins)
	}
}

// TestWorkflowRules shows each rule the thing that it is there to refuse.
func TestWorkflowRules(t *testing.T) {
	const commit = "3d3c42e5aac5ba805825da76410c181273ba90b1"
	good := `
on: push
permissions: {}
jobs:
  build:
    timeout-minutes: 5
    permissions: {contents: read}
    steps:
      - uses: actions/checkout@` + commit + `
        with: {persist-credentials: false}
      - run: make
`
	for name, test := range map[string]struct{ from, to, says string }{
		"as it is":             {"", "", ""},
		"rights at the top":    {"permissions: {}", "permissions: {contents: write}", "begin without rights"},
		"nothing at the top":   {"permissions: {}", "", "begin without rights"},
		"a word at the top":    {"permissions: {}", "permissions: read-all", "begin without rights"},
		"a job without":        {"permissions: {contents: read}", "", "does not say its permissions"},
		"no timeout":           {"timeout-minutes: 5", "", "no timeout"},
		"a tag":                {"@" + commit, "@v7", "not pinned"},
		"a short commit":       {"@" + commit, "@" + commit[:12], "not pinned"},
		"no commit":            {"@" + commit, "@" + strings.Repeat("0", 40), "is no commit"},
		"a container":          {"actions/checkout@" + commit, "docker://alpine:3", "not pinned"},
		"injection":            {"run: make", "run: echo ${{ github.head_ref }}", "expression into a shell script"},
		"token left":           {"persist-credentials: false", "fetch-depth: 0", "leaves the token"},
		"strangers":            {"on: push", "on: [pull_request_target]", "strangers"},
		"strangers as a map":   {"on: push", "on: {workflow_run: {workflows: [x]}}", "strangers"},
		"rights and checkout":  {"{contents: read}", "{id-token: write}", "checks a repository out"},
		"rights and a command": {"{contents: read}", "{packages: write}", "has rights and runs"},
		"a cache":              {"actions/checkout@" + commit, "actions/setup-go@" + commit, "shares a cache"},
		"a reusable by tag":    {"    timeout-minutes: 5", "    uses: a/b/.github/workflows/c.yml@v1", "not pinned"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := parseWorkflow(strings.Replace(good, test.from, test.to, 1))
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Join(w.faults(), "\n")
			if (said == "") != (test.says == "") || !strings.Contains(said, test.says) {
				t.Errorf("the rules say %q, wanted %q", said, test.says)
			}
		})
	}
}
