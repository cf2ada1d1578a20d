package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hallmark-sh/hallmark/test/peers"
)

// startControllers starts the controller manager, which makes Pods of what makes Pods, gives namespaces their service
// accounts and removes what has lost its owner. Each controller is a user of its own, as in a real cluster.
//
// The garbage collector looks for kinds when it starts and then every half minute, so this comes after Kyverno's kinds.
func (c *Cluster) startControllers(ctx context.Context) error {
	program, err := peers.Path("kube-controller-manager")
	if err != nil {
		return err
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	config, err := c.kubeconfig("kube-controller-manager")
	if err != nil {
		return err
	}
	c.controllers, err = start(c.file("controllers.log"), nil, program,
		"--kubeconfig", config, "--authentication-kubeconfig", config, "--authorization-kubeconfig", config,
		"--bind-address", "127.0.0.1", "--secure-port", ports[0], "--cert-dir", c.file("controllers"), "--leader-elect=false",
		"--use-service-account-credentials", "--service-account-private-key-file", c.file("service-account.key"), "--root-ca-file", c.authority(),
		// A test waits for each of them.
		"--kube-api-qps", "1000", "--kube-api-burst", "1000")
	if err != nil {
		return err
	}
	if err := c.controllers.await(ctx, "https://127.0.0.1:"+ports[0]+"/healthz", nil); err != nil {
		return err
	}
	return c.awaitServiceAccount(ctx, "default")
}

// Namespace makes a namespace, and returns when Pods can be created in it.
func (c *Cluster) Namespace(ctx context.Context, name string) error {
	if err := c.Must(ctx, fmt.Appendf(nil, "{apiVersion: v1, kind: Namespace, metadata: {name: %q}}", name)); err != nil {
		return err
	}
	if !c.opts.Controllers {
		return nil
	}
	return c.awaitServiceAccount(ctx, name)
}

// awaitServiceAccount waits until Pods of the namespace have a service account, and can be given the API server's
// certificate.
func (c *Cluster) awaitServiceAccount(ctx context.Context, namespace string) error {
	return c.Until(ctx, "the service account of namespace "+namespace, func() error {
		at, o := "/api/v1/namespaces/"+namespace, Object{}
		return errors.Join(c.Get(ctx, at+"/serviceaccounts/default", &o), c.Get(ctx, at+"/configmaps/kube-root-ca.crt", &o))
	})
}

// Until calls try until it succeeds, for what the controllers bring about in their own time. It gives up when they have
// ended, or after a minute.
func (c *Cluster) Until(ctx context.Context, what string, try func() error) error {
	return c.controllers.until(ctx, what, try)
}
