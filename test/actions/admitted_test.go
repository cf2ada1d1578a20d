//go:build actions && cluster

package actions_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/hallmark-sh/hallmark/test/cluster"
)

// TestAdmitted asks the real Kyverno about what the workflow released: by the
// policies that are made from the caller's own hallmark.yaml it is admitted, and
// by those of any other identity it is not.
func TestAdmitted(t *testing.T) {
	s := newScene(t)
	sha := s.begin(0)
	if o := s.act("push"); !o.passed {
		t.Fatal(o)
	}
	released := s.registry.Host + "/acme/app@" + s.tagged(sha)
	unsigned := s.registry.Host + "/acme/app@" + s.pushUnsigned()

	c, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	refused := func(a cluster.Answer) bool { return strings.Contains(a.Message(), "hallmark signature:") }

	s.enforce(c, "", "")
	if err := c.AwaitEnforced(t.Context(), pod("unsigned", unsigned), refused); err != nil {
		t.Fatal(err)
	}
	answer, err := c.Create(t.Context(), pod("released", released), false)
	if err != nil {
		t.Fatal(err)
	}
	if !answer.Allowed() {
		t.Fatalf("what the workflow released is refused: %s", answer.Message())
	}
	t.Logf("released by the reusable workflow: %d, admitted", answer.Status)

	for name, other := range map[string][2]string{
		"another commit of the workflow": {commit, strings.Repeat("1", 40)},
		"the caller's own workflow":      {workflowPath + "@" + commit, ".github/workflows/ci.yml"},
	} {
		s.enforce(c, other[0], other[1])
		if err := c.AwaitEnforced(t.Context(), pod("other", released), refused); err != nil {
			t.Errorf("by the identity of %s: %v", name, err)
			continue
		}
		answer, err := c.Create(t.Context(), pod("other", released), true)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("by the identity of %s: %d %s", name, answer.Status, answer.Message())
	}
}

// enforce brings into the cluster the policies that hallmark makes from the
// caller's hallmark.yaml, with one text replaced.
func (s *scene) enforce(c *cluster.Cluster, from, to string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.app, "hallmark.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(filepath.Join(s.app, "rendered.yaml"), strings.Replace(string(text), from, to, 1))
	out := s.t.TempDir()
	cmd := exec.Command(s.program, "policy", "render", "--config", "rendered.yaml", "-o", out)
	cmd.Dir = s.app
	s.must(cmd)
	files, err := filepath.Glob(filepath.Join(out, "*.yaml"))
	if err != nil || len(files) < 2 {
		s.t.Fatalf("policies: %q, %v", files, err)
	}
	for _, file := range files {
		policies, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := c.Must(s.t.Context(), policies); err != nil {
			s.t.Fatalf("applying %s: %v", filepath.Base(file), err)
		}
	}
}

// pushUnsigned pushes an image that nobody released, to the same repository.
func (s *scene) pushUnsigned() string {
	s.t.Helper()
	img, err := random.Image(100, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	ref, err := name.NewDigest(s.registry.Host + "/acme/app@" + digest.String())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		s.t.Fatal(err)
	}
	return digest.String()
}

func pod(called, image string) cluster.Object {
	return cluster.Object{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": called, "namespace": "default"},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "app", "image": image}}},
	}
}
