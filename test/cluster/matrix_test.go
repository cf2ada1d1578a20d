//go:build cluster

package cluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/denial"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
	"github.com/hallmark-sh/hallmark/test/cluster"
)

// admission are the lines of the policy that the rows of places need.
const admission = `  registries:
  - {prefix: registry.k8s.io}
  exemptions:
  - {namespaces: [legacy], reason: moving next quarter, author: ops@acme.example, expires: 2099-01-01}
  - {namespaces: [forgotten], reason: was moving, author: ops@acme.example, expires: 2020-01-01}
`

// hallmark runs the program in the policy's folder and gives its exit code and what it said.
func (w *world) hallmark(stdin []byte, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	program, err := filepath.Abs("../../bin/hallmark")
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdin = w.dir, bytes.NewReader(stdin)
	cmd.Env = []string{"HOME=" + w.dir, "PATH=" + os.Getenv("PATH")}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	exit := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), said.String()
}

// render gives the policies that hallmark renders from the world's policy file.
func (w *world) render() []byte {
	w.t.Helper()
	code, stdout, stderr := w.hallmark(nil, "policy", "render")
	if code != 0 {
		w.t.Fatalf("hallmark policy render: exit %d: %s", code, stderr)
	}
	return []byte(stdout)
}

// says asks one of the three judges. Its words are kept for the report of a disagreement.
type says struct {
	yes   bool
	words string
}

func (s says) String() string {
	if s.yes {
		return "yes"
	}
	return "no"
}

// admits asks the API server, which asks Kyverno.
func admits(t testing.TB, c *cluster.Cluster, o cluster.Object) says {
	t.Helper()
	answer, err := c.Create(t.Context(), o, true)
	if err != nil {
		t.Fatal(err)
	}
	// Any other refusal is about the object and not about its images.
	if !answer.Allowed() && !strings.Contains(answer.Message(), "denied") {
		t.Fatalf("the API server answered %d: %s", answer.Status, answer.Message())
	}
	if answer.Allowed() {
		return says{true, ""}
	}
	return says{false, answer.Message()}
}

// tests asks `hallmark policy test`.
func (w *world) tests(o cluster.Object) says {
	w.t.Helper()
	manifest, err := json.Marshal(o)
	if err != nil {
		w.t.Fatal(err)
	}
	code, stdout, stderr := w.hallmark(manifest, "policy", "test", "-f", "-")
	if code != 0 && code != 3 {
		w.t.Fatalf("hallmark policy test: exit %d: %s", code, stderr)
	}
	return says{code == 0, stdout}
}

// verifies judges the image alone.
func (w *world) verifies(anchor trust.Anchor, image string) says {
	w.t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		w.t.Fatal(err)
	}
	if ref.Context().RegistryStr() != w.host {
		return says{false, "not an image of the policy"}
	}
	v, err := verify.Image(w.t.Context(), w.client, ref, verify.Options{Policy: w.policy, Anchor: anchor, Now: time.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	var words []string
	for _, check := range v.Failing() {
		words = append(words, check.Name+": "+check.Reason)
	}
	return says{v.Passed(), strings.Join(words, "; ")}
}

// TestMatrix asks all three judges about every row, and fails on any that is wrong.
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	w.policy = w.writePolicy("hallmark.yaml", admission)
	c := startCluster(t, w)
	anchor := w.anchor()
	var table strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "row\texpected\tKyverno\tpolicy test\tverify")
	wrong := 0
	for _, r := range slices.Concat(evidenceRows(), cosignRows(), placeRows()) {
		image := r.image(w)
		o := pod(image)
		if r.object != nil {
			o = r.object(image)
		}
		if r.namespace == "" {
			r.namespace = "shop"
		}
		o["metadata"].(map[string]any)["namespace"] = r.namespace
		judges := []struct {
			name string
			want bool
			said says
		}{
			{"Kyverno", r.admitted, admits(t, c, o)},
			{"policy test", r.admitted, w.tests(o)},
			{"verify", r.proven, w.verifies(anchor, image)},
		}
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\n", r.name, says{yes: r.admitted}, judges[0].said, judges[1].said, judges[2].said)
		for _, j := range judges {
			if j.said.yes != j.want {
				wrong++
				t.Errorf("%s: %s says %s: %s", r.name, j.name, j.said, j.said.words)
			}
		}
		if refused := judges[0].said; !refused.yes {
			t.Logf("%s: %s", r.name, refused.words)
			understood(t, refused.words, image)
		}
	}
	columns.Flush()
	t.Logf("\n%s%d wrong verdicts", table.String(), wrong)
}

// startCluster starts a cluster in which the world's rendered policies are enforced.
func startCluster(t testing.TB, w *world, args ...string) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir(), KyvernoArgs: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	for _, namespace := range []string{"shop", "legacy", "forgotten"} {
		if err := c.Must(t.Context(), fmt.Appendf(nil, "{apiVersion: v1, kind: Namespace, metadata: {name: %s}}", namespace)); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, c, w.render())
	enforced(t, c, w)
	return c
}

// apply applies policies one by one, and fails if the API server refuses or warns of any.
func apply(t testing.TB, c *cluster.Cluster, text []byte) {
	t.Helper()
	objects, err := cluster.Objects(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		answer, err := c.Apply(t.Context(), o, false)
		if err != nil {
			t.Fatal(err)
		}
		if !answer.Allowed() || len(answer.Warnings) > 0 {
			t.Fatalf("applying %v: %d, warnings %q: %s", o["metadata"], answer.Status, answer.Warnings, answer.Message())
		}
	}
	t.Logf("%d objects accepted, no warning", len(objects))
}

// enforced waits until the policies hold: those about registries, and those about evidence.
func enforced(t testing.TB, c *cluster.Cluster, w *world) {
	t.Helper()
	for _, image := range []string{"nginx:latest", w.push().String()} {
		o := pod(image)
		o["metadata"].(map[string]any)["namespace"] = "shop"
		if err := c.AwaitEnforced(t.Context(), o, func(a cluster.Answer) bool {
			return strings.Contains(a.Message(), "denied")
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// understood says that what the API server said can be read: which rule refused, and about which image.
func understood(t *testing.T, said, image string) {
	t.Helper()
	found := denial.Read(said)
	if len(found) != 1 || found[0].Kind != denial.Rule || !slices.Contains(found[0].Images, image) {
		t.Errorf("hallmark why-denied reads %q as %+v", said, found)
	}
}
