//go:build actions

package actions_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

func TestRelease(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sha := s.begin(0)
	o := s.act("push")
	t.Log(o)
	if !o.passed {
		t.Fatal("the workflow failed")
	}
	digest := s.tagged(sha)
	if deployed := strings.TrimSpace(s.left("deployed")); deployed != "deploying "+s.registry.Host+"/acme/app@"+digest+" "+digest+" "+sha {
		t.Errorf("the caller got %q", deployed)
	}
	t.Run("build has no identity", func(t *testing.T) { s.t = t; s.buildHasNothing(o) })
	t.Run("attest runs nothing of the repository", func(t *testing.T) { s.t = t; s.attestRanNothing() })
	t.Run("the identity is the reusable workflow's", func(t *testing.T) { s.t = t; s.identity(sha) })
	t.Run("documents", func(t *testing.T) {
		s.t = t
		if values := s.left("artifacts/hallmark-documents/values.yaml"); values != "image:\n  repository: "+s.registry.Host+"/acme/app\n  digest: "+digest+"\n" {
			t.Errorf("the Helm values are %q", values)
		}
		if !strings.Contains(s.left("code-scanning.sarif"), "sarif-schema-2.1.0") {
			t.Error("code scanning got no SARIF")
		}
		if said, _ := o.job("attest"); !strings.Contains(said, "### Released") {
			t.Error("the page of the run does not say what was released")
		}
	})
	t.Run("again", func(t *testing.T) {
		s.t = t
		s.begin(0)
		if o := s.act("push"); !o.passed || !strings.Contains(o.String(), "ALREADY RELEASED") || s.tagged(sha) != digest {
			t.Errorf("the second run: %s", o)
		}
	})
}

// buildHasNothing looks at what the repository's own code found in the build job.
func (s *scene) buildHasNothing(o outcome) {
	if !s.exists("ran-in-build") {
		s.t.Fatal("the caller's command did not run in the build job")
	}
	for _, line := range strings.Split(s.left("environment-of-build"), "\n") {
		name, value, _ := strings.Cut(line, "=")
		if strings.HasPrefix(name, "ACTIONS_ID_TOKEN") || value != "" && (name == "GITHUB_TOKEN" || strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "REGISTRY")) {
			s.t.Errorf("the repository's code sees %s", name)
		}
	}
	if strings.Contains(s.left("environment-of-build"), s.tokens.secret) {
		s.t.Error("the repository's code sees the secret that tokens are asked for with")
	}
	if strings.Contains(s.left("environment-of-attest"), s.tokens.secret) == false {
		s.t.Error("the attest job does not see it either: this test shows nothing")
	}
	// Other tests' jobs run beside this one; theirs are not meant.
	if strings.Contains(s.left("tokens-in-build"), s.tokens.secret) {
		s.t.Error("the repository's code finds the secret in another process")
	}
	if said, _ := o.job("build"); strings.Contains(said, s.tokens.secret) {
		s.t.Error("the build job's log shows the secret")
	}
}

func (s *scene) attestRanNothing() {
	if left := s.left("workspace-of-attest"); left != "" {
		s.t.Errorf("the attest job begins with files: %s", left)
	}
	for _, trap := range []string{"ran-makefile", "ran-action", "ran-install", "ran-program", "ran-in-attest"} {
		if s.exists(trap) {
			s.t.Errorf("%s: the repository's code was run", trap)
		}
	}
}

func (s *scene) identity(sha string) {
	image := s.registry.Host + "/acme/app:" + sha
	out, err := s.verify(image)
	if err != nil || !strings.Contains(out, "https://github.com/"+workflowPath+"@"+commit) {
		s.t.Errorf("verify by the policy says: %s", out)
	}
	s.t.Log(out)
	text, err := os.ReadFile(filepath.Join(s.app, "hallmark.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, other := range map[string]string{
		"another commit of the workflow": strings.Replace(string(text), commit, strings.Repeat("1", 40), 1),
		"the caller's own workflow":      strings.Replace(string(text), workflowPath+"@"+commit, ".github/workflows/ci.yml", 1),
		"another repository":             strings.Replace(string(text), "repository: acme/app", "repository: acme/other", 1),
		"another branch":                 strings.Replace(string(text), "refs/heads/main", "refs/heads/other", 1),
	} {
		path := filepath.Join(s.app, ".git", "other.yaml")
		s.write(path, strings.NewReplacer("trust/root.json", "../trust/root.json", "trust/signing.json", "../trust/signing.json", "trust/tuf-root.json", "../trust/tuf-root.json").Replace(other))
		if out, err := s.verify(image, "--config", path); err == nil || !strings.Contains(out, "NOT PROVEN") {
			s.t.Errorf("a policy of %s says: %s", name, out)
		}
	}
}

// An artifact that is not what the build job made is refused before anything
// leaves the machine.
func TestSwappedArtifact(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if o := s.act("push"); !o.passed {
		t.Fatal(o)
	}
	artifact := filepath.Join(s.harness, "artifacts/hallmark-layout")
	for name, swap := range map[string]func(dir string){
		"another image, whole": func(string) {},
		"one blob changed": func(dir string) {
			s.write(filepath.Join(dir, "index.json"), s.left("new/index.json"))
			if err := os.CopyFS(filepath.Join(dir, "blobs"), os.DirFS(filepath.Join(s.harness, "new/blobs"))); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
			s.appendToLargest(filepath.Join(dir, "blobs/sha256"))
		},
		"emptied": func(dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			s.write(filepath.Join(dir, "nothing"), "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			old := filepath.Join(t.TempDir(), "swap")
			if err := os.CopyFS(old, os.DirFS(artifact)); err != nil {
				t.Fatal(err)
			}
			s.write(filepath.Join(s.app, "main.go"), "package main\n\nfunc main() { println(\""+name+"\") }\n")
			sha := s.commit()
			if name == "one blob changed" {
				s.layoutOf(filepath.Join(s.harness, "new"))
				if err := os.RemoveAll(filepath.Join(old, "blobs")); err != nil {
					t.Fatal(err)
				}
			}
			swap(old)
			if err := os.Rename(old, filepath.Join(s.harness, "swap")); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(filepath.Join(s.harness, "swap"))
			before := s.writes()
			o := s.act("push")
			said, result := o.job("attest")
			if o.passed || result != "failure" {
				t.Fatalf("the swapped artifact went through: %s", o)
			}
			if s.tagged(sha) != "" || s.writes() != before || s.tokens.requests() != 0 {
				t.Errorf("tag %q, %d writes, %d tokens asked for", s.tagged(sha), s.writes()-before, s.tokens.requests())
			}
			if _, deployed := o.job("deploy"); deployed != "" {
				t.Error("the caller's deployment ran")
			}
			t.Log(refusal(said))
		})
	}
}

// refusal finds what hallmark said last in a job.
func refusal(said string) string {
	if at := strings.LastIndex(said, "hallmark:"); at >= 0 {
		lines := strings.SplitN(said[at:], "\n", 3)
		return strings.Join(lines[:min(2, len(lines))], "\n")
	}
	return said
}

// An identity token that is about to expire when it comes is not used: another
// one is fetched.
func TestExpiringToken(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sha := s.begin(1)
	o := s.act("push")
	if !o.passed || s.tagged(sha) == "" {
		t.Fatalf("the release failed: %s", o)
	}
	if n := s.tokens.requests(); n != 2 {
		t.Errorf("%d tokens were asked for, wanted 2: one that is about to expire and one that is used", n)
	}
	if out, err := s.verify(s.registry.Host + "/acme/app:" + sha); err != nil {
		t.Error(out)
	}
}

// The registry fails at steps of the attest job. What passes is retried; what
// stays ends the job without a tag, and running it again completes the release.
func TestRegistryFaults(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	oops := registrytest.Status(http.StatusInternalServerError, "UNKNOWN", "oops")
	for name, faults := range map[string][]registrytest.Fault{
		"429 at the first upload, 500 at a manifest, reset at the tag": {
			{Method: "POST", Path: `/blobs/uploads/`, Times: 1, Do: registrytest.TooMany("0")},
			{Method: "PUT", Path: `/manifests/sha256:`, Times: 1, Do: oops},
			{Method: "PUT", Path: `/manifests/[0-9a-f]{40}$`, Times: 1, Do: registrytest.Reset()},
		},
		"500 at reading evidence, reset at a blob, 429 at looking for the tag": {
			{Method: "GET", Path: `/referrers/`, Times: 1, Do: oops},
			{Method: "(PUT|PATCH)", Path: `/blobs/uploads/`, Times: 1, Do: registrytest.Reset()},
			{Path: `/manifests/[0-9a-f]{40}$`, Times: 1, Do: registrytest.TooMany("1")},
		},
		"500 at every attachment": {{Method: "PUT", Path: `/manifests/sha256:`, From: 2, Do: oops}},
		"500 at every tagging":    {{Method: "PUT", Path: `/manifests/[0-9a-f]{40}$`, Do: oops}},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.write(filepath.Join(s.app, "main.go"), "package main\n\nfunc main() { println(\""+name+"\") }\n")
			sha := s.commit()
			for _, fault := range faults {
				s.registry.Disturb(fault)
			}
			o := s.act("push")
			s.registry.Calm()
			if passes := faults[0].Times == 1; o.passed != passes {
				t.Fatalf("the run passed: %v, wanted %v: %s", o.passed, passes, o)
			}
			if !o.passed {
				if s.tagged(sha) != "" {
					t.Error("there is a tag after a failed release")
				}
				said, _ := o.job("attest")
				t.Log(refusal(said))
				s.begin(0)
				if o = s.act("push"); !o.passed {
					t.Fatalf("the second run: %s", o)
				}
			}
			if out, err := s.verify(s.registry.Host + "/acme/app:" + sha); err != nil {
				t.Error(out)
			}
		})
	}
}

// A Sigstore service that is down ends the attest job after a bounded wait, with
// its name and no tag; running it again completes the release.
func TestSigstoreDown(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for name, path := range map[string]string{
		"certificate authority": "/api/v2/signingCert", "transparency log": "/api/v2/log/entries", "timestamp authority": "/api/v1/timestamp",
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.write(filepath.Join(s.app, "main.go"), "package main\n\nfunc main() { println(\""+name+"\") }\n")
			sha := s.commit()
			s.down.Store(&path)
			o := s.act("push")
			s.down.Store(nil)
			said, result := o.job("attest")
			if o.passed || result != "failure" || s.tagged(sha) != "" {
				t.Fatalf("a release without the %s: %s", name, o)
			}
			if got := refusal(said); !strings.Contains(got, "the "+name+" "+s.signing) || !strings.Contains(got, "503") || !strings.Contains(got, "hint:") {
				t.Errorf("the job says: %s", got)
			}
			t.Log(refusal(said))
			s.begin(0)
			if o := s.act("push"); !o.passed || s.tagged(sha) == "" {
				t.Fatalf("the second run: %s", o)
			}
		})
	}
}

// Names that anybody who can push a branch chooses are never read as code.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	text, err := os.ReadFile(filepath.Join(s.app, "hallmark.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(filepath.Join(s.app, "hallmark.yaml"), strings.Replace(string(text), "  ref: refs/heads/main\n", "", 1))
	s.commit()
	for _, branch := range []string{
		"$(touch${IFS}$HARNESS/pwned)`touch${IFS}$HARNESS/pwned`", `a";touch${IFS}"$HARNESS/pwned";"`, `a';touch${IFS}$HARNESS/pwned;'&&touch${IFS}$HARNESS/pwned|tee${IFS}$HARNESS/pwned`,
		`--upload-pack=touch$HARNESS/pwned`,
	} {
		t.Run(branch, func(t *testing.T) {
			s.t = t
			s.git("symbolic-ref", "HEAD", "refs/heads/"+branch)
			sha := s.commit()
			o := s.act("push")
			if s.exists("pwned") {
				t.Fatalf("the name was run: %s", o)
			}
			if !o.passed || s.tagged(sha) == "" {
				t.Fatalf("the release of a branch with a strange name failed: %s", o)
			}
		})
	}
}

// A gate that refuses leaves its reasons and no request.
func TestRefusedByGate(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	text, err := os.ReadFile(filepath.Join(s.app, "hallmark.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(filepath.Join(s.app, "hallmark.yaml"), string(text)+"gate: {max-database-age: 1ms}\n")
	sha := s.commit()
	o := s.act("push")
	said, result := o.job("attest")
	if o.passed || result != "failure" || !strings.Contains(said, "REFUSED") || !strings.Contains(said, "The gate refuses") {
		t.Fatalf("the refusal: %s", o)
	}
	if n := len(s.registry.Log()); n != 0 || s.tokens.requests() != 0 || s.tagged(sha) != "" {
		t.Errorf("the registry saw %d requests and the endpoint gave %d tokens", n, s.tokens.requests())
	}
	if s.left("artifacts/hallmark-documents/gate.json") == "" || s.exists("artifacts/hallmark-documents/values.yaml") || s.left("code-scanning.sarif") == "" {
		t.Error("a refusal must leave its documents and SARIF, and no Helm values")
	}
}

// The action runs nothing that is not what it pins.
func TestPin(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	pinned, err := os.ReadFile(filepath.Join(s.product, "action/pin"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ from, to, says string }{
		"no release yet":           {"version v0.0.1", "version none", "pins no hallmark"},
		"a version that is a path": {"version v0.0.1", "version v0.0.1/../v0.0.1", "pins no hallmark"},
		"another version":          {"refs/tags/v0.0.1", "refs/tags/v0.0.2", "its provenance does not verify"},
		"another digest":           {"linux_", "linux_", "is pinned"},
		"another identity":         {"publish.yml", "other.yml", "its provenance does not verify"},
		"another issuer":           {s.trust.Issuer(), "https://token.actions.githubusercontent.com", "its provenance does not verify"},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			changed := strings.Replace(string(pinned), test.from, test.to, 1)
			if name == "another digest" {
				lines := strings.Split(string(pinned), "\n")
				for i, line := range lines {
					if key, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(key, "linux_") {
						lines[i] = key + " " + strings.Repeat("0", 64)
					}
				}
				changed = strings.Join(lines, "\n")
			}
			if changed == string(pinned) {
				t.Fatal("nothing was changed")
			}
			s.write(filepath.Join(s.product, "action/pin"), changed)
			s.begin(0)
			o := s.act("push")
			said, result := o.job("build")
			if o.passed || result != "failure" || !strings.Contains(said, test.says) {
				t.Errorf("the build job says: %s", said)
			}
			if strings.Contains(said, "BUILT") || s.exists("ran-in-build") {
				t.Error("it was run all the same")
			}
		})
	}
}
