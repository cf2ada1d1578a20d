package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hallmark-sh/hallmark/test/peers"
)

type kyvernoPorts struct{ webhook, metrics string }

// groundwork is what Kyverno expects to find beside its own kinds: its settings as its chart writes them, and rights
// for the service accounts whose rights it looks at.
const groundwork = `
apiVersion: v1
kind: Namespace
metadata: {name: kyverno}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kyverno, namespace: kyverno}
data:
  enableDefaultRegistryMutation: "false"
  webhooks: '{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["kube-system"]}]}}'
  excludeGroups: system:nodes
  generateSuccessEvents: "false"
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kyverno-metrics, namespace: kyverno}
data:
  namespaces: '{"exclude":[],"include":[]}'
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kyverno}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
- {kind: ServiceAccount, name: kyverno-reports-controller, namespace: kyverno}
- {kind: ServiceAccount, name: kyverno-background-controller, namespace: kyverno}
- {kind: ServiceAccount, name: kyverno-admission-controller, namespace: kyverno}
`

// installKyverno brings Kyverno's kinds and what it expects beside them into the cluster.
func (c *Cluster) installKyverno(ctx context.Context) error {
	crds, err := peers.Path("kyverno-crds")
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(crds, "*", "*.yaml"))
	if err != nil || len(files) == 0 {
		return errors.Join(err, fmt.Errorf("no CustomResourceDefinitions in %s", crds))
	}
	slices.Sort(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := c.Must(ctx, text); err != nil {
			return fmt.Errorf("applying %s: %w", filepath.Base(file), err)
		}
	}
	if err := c.Must(ctx, []byte(groundwork)); err != nil {
		return err
	}
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	c.ports = kyvernoPorts{ports[0], ports[1]}
	c.KyvernoMetrics = "http://127.0.0.1:" + ports[1] + "/metrics"
	return nil
}

// StartKyverno starts Kyverno, or starts it again after KillKyverno.
func (c *Cluster) StartKyverno(ctx context.Context) error {
	program, err := peers.Path("kyverno")
	if err != nil {
		return err
	}
	webhook := "127.0.0.1:" + c.ports.webhook
	args := append([]string{
		// With a host for the webhook every webhook becomes a URL, which needs no service and no node.
		"--kubeconfig", c.Kubeconfig, "--serverIP", webhook, "--webhookServerHost", "127.0.0.1", "--webhookServerPort", c.ports.webhook,
		"--caSecretName", "kyverno-svc.kyverno.svc.kyverno-tls-ca", "--tlsSecretName", "kyverno-svc.kyverno.svc.kyverno-tls-pair",
		"--allowInsecureRegistry=true", "--metricsHost", "127.0.0.1", "--metricsPort", c.ports.metrics,
		"--controllerRuntimeMetricsAddress", "0", "--enablePolicyException=true", "--exceptionNamespace=*", "--crdWatcher=true",
		"--reportsServiceAccountName", "system:serviceaccount:kyverno:kyverno-reports-controller",
		"--backgroundServiceAccountName", "system:serviceaccount:kyverno:kyverno-background-controller",
	}, c.opts.KyvernoArgs...)
	c.kyverno, err = start(filepath.Join(c.dir, "kyverno.log"), []string{
		"KYVERNO_NAMESPACE=kyverno", "KYVERNO_DEPLOYMENT=kyverno-admission-controller", "KYVERNO_SVC=kyverno-svc",
		"KYVERNO_POD_NAME=kyverno-0", "KYVERNO_SERVICEACCOUNT_NAME=kyverno-admission-controller",
		"INIT_CONFIG=kyverno", "METRICS_CONFIG=kyverno-metrics", "TUF_ROOT=" + filepath.Join(c.dir, "tuf"),
	}, program, args...)
	if err != nil {
		return err
	}
	return c.kyverno.await(ctx, "https://"+webhook+"/health/readiness", nil)
}

// KillKyverno ends Kyverno at once, with nothing put away.
func (c *Cluster) KillKyverno() { c.kyverno.kill() }

// AwaitEnforced waits until the object, which a policy must refuse, is refused: policies come into force some time after
// they are applied.
func (c *Cluster) AwaitEnforced(ctx context.Context, o Object, refused func(Answer) bool) error {
	return c.kyverno.until(ctx, "a policy to be enforced", func() error {
		answer, err := c.Create(ctx, o, true)
		if err != nil {
			return err
		}
		if answer.Allowed() || !refused(answer) {
			return fmt.Errorf("%d: %s", answer.Status, answer.Message())
		}
		return nil
	})
}

// AwaitAdmitted waits until the object is admitted.
func (c *Cluster) AwaitAdmitted(ctx context.Context, o Object) error {
	return c.kyverno.until(ctx, "an object to be admitted", func() error {
		answer, err := c.Create(ctx, o, true)
		if err == nil && !answer.Allowed() {
			err = fmt.Errorf("%d: %s", answer.Status, answer.Message())
		}
		return err
	})
}
