//go:build charts

// Package charts holds the Helm charts to what they promise: what they render, what values they refuse and in which words,
// and that a real API server takes all of it under the Pod Security standard restricted.
package charts

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/test/cluster"
	"github.com/hallmark-sh/hallmark/test/peers"
)

// podLimit is how long a controller may take to make a Pod.
const podLimit = time.Minute

var update = flag.Bool("update", false, "write the golden files")

// helm runs helm with no settings of the user's, and gives its standard output, or its complaint.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd, err := peers.Command(t.Context(), t.TempDir(), "helm", args...)
	if err != nil {
		t.Fatal(err)
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s%s", strings.Join(args, " "), err, complaint.String(), out.String())
	}
	return out.String(), nil
}

// render gives what the chart makes of values, as the release hallmark in the namespace hallmark.
func render(t *testing.T, chart string, args ...string) (string, error) {
	t.Helper()
	return helm(t, append([]string{"template", "hallmark", chart, "--namespace", "hallmark", "--kube-version", "1.37.2"}, args...)...)
}

func chart(name string) string { return filepath.Join("..", "..", "charts", name) }

// renderings are the value sets of testdata/values and the chart each is for.
var renderings = map[string]string{
	"sqlite":   chart("hallmark"),
	"postgres": chart("hallmark"),
	"replicas": chart("hallmark"),
	"app":      filepath.Join("..", "..", "examples", "app", "chart"),
}

func values(name string) string { return filepath.Join("testdata", "values", name+".yaml") }

func TestRenderings(t *testing.T) {
	for name, dir := range renderings {
		t.Run(name, func(t *testing.T) {
			if _, err := helm(t, "lint", "--strict", dir, "--values", values(name)); err != nil {
				t.Fatal(err)
			}
			got, err := render(t, dir, "--values", values(name))
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "rendered", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got); -update writes it anew:\n%s", golden, diff)
			}
		})
	}
}

// TestAppTakesOnlyADigest holds the example's chart to refuse what is not a digest.
func TestAppTakesOnlyADigest(t *testing.T) {
	refusals := map[string]refusal{}
	for set, want := range map[string]string{
		"image.tag=v1":                             "additional properties 'tag' not allowed",
		"image.digest=v1":                          "at '/image/digest': 'v1' does not match pattern",
		"image.repository=ghcr.io/acme/app:v1":     "at '/image/repository': 'ghcr.io/acme/app:v1' does not match pattern",
		"image.repository=ghcr.io/acme/app@sha256": "at '/image/repository': 'ghcr.io/acme/app@sha256' does not match pattern",
		"tag=v1": "at '': additional properties 'tag' not allowed",
	} {
		refusals[set] = refusal{[]string{"--values", values("app"), "--set", set}, want}
	}
	refused(t, renderings["app"], refusals)
}

// refusal is what a chart is given, and the words in which it must refuse that.
type refusal struct {
	args []string
	want string
}

func refused(t *testing.T, chart string, refusals map[string]refusal) {
	t.Helper()
	for name, r := range refusals {
		t.Run(name, func(t *testing.T) {
			out, err := render(t, chart, r.args...)
			if err == nil {
				t.Fatalf("accepted:\n%s", out)
			}
			if !strings.Contains(err.Error(), r.want) {
				t.Errorf("refused with\n%v\nand not with %q", err, r.want)
			}
		})
	}
}

func TestRefusedValues(t *testing.T) {
	sqlite, postgres := []string{"--values", values("sqlite")}, []string{"--values", values("postgres")}
	with := func(base []string, sets ...string) []string {
		args := append([]string(nil), base...)
		for _, s := range sets {
			args = append(args, "--set-string", s)
		}
		return args
	}
	json := func(base []string, set string) []string {
		return append(append([]string(nil), base...), "--set-json", set)
	}
	refused(t, chart("hallmark"), map[string]refusal{
		"nothing given":          {nil, "at '/image/digest': '' does not match pattern"},
		"a tag":                  {with(sqlite, "image.tag=v1.2.3"), "at '/image': additional properties 'tag' not allowed"},
		"latest as the digest":   {with(sqlite, "image.digest=latest"), "at '/image/digest': 'latest' does not match pattern"},
		"a tag in the name":      {with(sqlite, "image.repository=ghcr.io/acme/hallmark:latest"), "at '/image/repository': 'ghcr.io/acme/hallmark:latest' does not match pattern"},
		"a short digest":         {with(sqlite, "image.digest=sha256:abc"), "at '/image/digest': 'sha256:abc' does not match pattern"},
		"an unknown key":         {json(sqlite, "replicaCount=2"), "additional properties 'replicaCount' not allowed"},
		"an unknown inner key":   {json(sqlite, "resources.limit={}"), "at '/resources': additional properties 'limit' not allowed"},
		"another database":       {with(sqlite, "database.kind=mysql"), "at '/database/kind': value must be one of 'sqlite', 'postgres'"},
		"two writers of SQLite":  {json(sqlite, "replicas=2"), "replicas: 2 with database.kind sqlite: a SQLite file has one writer"},
		"SQLite that scales":     {json(sqlite, "autoscaling.enabled=true"), "autoscaling.enabled with database.kind sqlite: a SQLite file has one writer"},
		"a scale upside down":    {json(postgres, "autoscaling.maxReplicas=1"), "autoscaling.maxReplicas is below autoscaling.minReplicas"},
		"PostgreSQL without URL": {with(postgres, "database.postgres.secretName="), "database.postgres.secretName: the Secret that holds the URL"},
		"open to everybody":      {with(sqlite, "access.secretName="), "access.secretName: the Secret with the rules of access is missing"},
		"no TLS unsaid":          {with(sqlite, "tls.secretName="), "tls.INSECUREPlainHTTP serves without"},
		"TLS and plain":          {json(sqlite, "tls.INSECUREPlainHTTP=true"), "exclude each other"},
		"no policy":              {json(sqlite, "policies=null"), "at '': missing property 'policies'"},
		"a policy by other name": {with(nil, "image.digest=sha256:"+strings.Repeat("a", 64), "access.secretName=a", "tls.secretName=t", "policies.note=a"), "policies: no hallmark.yaml is given"},
		"a path as a policy":     {json(sqlite, `policies={"../x.yaml":"a"}`), "invalid propertyName '../x.yaml'"},
		"a secret for no one":    {with(sqlite, "webhook.secretName=x"), "webhook.secretName without webhook.url"},
	})
}

// TestAccepted gives every rendering to a real API server: each object by a strict dry run, and then for good in a namespace
// that enforces the Pod Security standard restricted, where the controllers make the Pods.
func TestAccepted(t *testing.T) {
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir(), Controllers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	for name, dir := range renderings {
		t.Run(name, func(t *testing.T) {
			namespace := "chart-" + name
			restricted(t, c, namespace)
			text, err := helm(t, "template", "hallmark", dir, "--namespace", namespace, "--kube-version", "1.37.2", "--values", values(name))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, "serviceAccountName: made-elsewhere") {
				text += "\n---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: made-elsewhere, namespace: " + namespace + "}}\n"
			}
			for _, dry := range []bool{true, false} {
				accepted(t, c, text, dry)
			}
			if !t.Failed() {
				awaitPod(t, c, namespace)
			}
		})
	}
	t.Run("policies", func(t *testing.T) { policiesAccepted(t, c) })
	t.Run("monitoring", func(t *testing.T) { monitoringAccepted(t, c) })
	t.Run("a Pod that is not restricted", func(t *testing.T) {
		restricted(t, c, "chart-loose")
		answer, err := c.Create(t.Context(), cluster.Object{
			"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "loose", "namespace": "chart-loose"},
			"spec": map[string]any{"containers": []any{map[string]any{"name": "a", "image": "a"}}},
		}, false)
		if err != nil || answer.Allowed() || !strings.Contains(answer.Message(), `violates PodSecurity "restricted:latest"`) {
			t.Errorf("the namespaces of this test restrict nothing: %v %s", err, answer.Message())
		}
	})
}

// accepted gives every object of a rendering to the API server, which must take it without a warning.
func accepted(t *testing.T, c *cluster.Cluster, text string, dry bool) {
	t.Helper()
	objects, err := cluster.Objects([]byte(text))
	if err != nil || len(objects) == 0 {
		t.Fatalf("%d objects: %v", len(objects), err)
	}
	for _, o := range objects {
		answer, err := c.Strict(t.Context(), o, dry)
		if err != nil || !answer.Allowed() || len(answer.Warnings) > 0 {
			t.Errorf("%s (dry %t): %v %d %s %q", o.Name(), dry, err, answer.Status, answer.Message(), answer.Warnings)
		}
	}
}

// restricted makes a namespace that refuses Pods that are not restricted, and warns of what would make them.
func restricted(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	if err := c.Namespace(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := c.Must(t.Context(), fmt.Appendf(nil, `{apiVersion: v1, kind: Namespace, metadata: {name: %q, labels: {
		pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}}}`, name)); err != nil {
		t.Fatal(err)
	}
}

// awaitPod waits for a Pod that a controller made of the chart.
func awaitPod(t *testing.T, c *cluster.Cluster, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), podLimit)
	defer cancel()
	if err := c.Until(ctx, "a Pod in "+namespace, func() error {
		var pods struct{ Items []cluster.Object }
		if err := c.Get(ctx, "/api/v1/namespaces/"+namespace+"/pods", &pods); err != nil {
			return err
		}
		if len(pods.Items) == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestServeTakesTheArguments gives what a rendering tells the container to the real program, which must know every flag.
func TestServeTakesTheArguments(t *testing.T) {
	program, err := filepath.Abs(filepath.Join("..", "..", "bin", "hallmark"))
	if err != nil {
		t.Fatal(err)
	}
	for name, dir := range renderings {
		if dir != chart("hallmark") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, err := render(t, dir, "--values", values(name))
			if err != nil {
				t.Fatal(err)
			}
			args := containerArgs(t, text)
			if len(args) == 0 || args[0] != "serve" {
				t.Fatalf("args: %q", args)
			}
			// The files are not here, so serve ends at the first that it reads, which is after it has read its flags.
			out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "/etc/hallmark/access/access.yaml: no such file") {
				t.Errorf("%q: %v\n%s", args, err, out)
			}
		})
	}
}

func containerArgs(t *testing.T, text string) []string {
	t.Helper()
	objects, err := cluster.Objects([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	at := func(v any, key string) any {
		switch m := v.(type) {
		case cluster.Object:
			return m[key]
		case map[string]any:
			return m[key]
		}
		return nil
	}
	var args []string
	for _, o := range objects {
		containers, ok := at(at(at(at(o, "spec"), "template"), "spec"), "containers").([]any)
		if !ok {
			continue
		}
		for _, arg := range at(containers[0], "args").([]any) {
			args = append(args, arg.(string))
		}
	}
	return args
}
