package cluster

import (
	"context"

	"github.com/hallmark-sh/hallmark/test/peers"
)

// startScheduler starts the scheduler, which gives Pods to nodes.
func (c *Cluster) startScheduler(ctx context.Context) error {
	program, err := peers.Path("kube-scheduler")
	if err != nil {
		return err
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	config, err := c.kubeconfig("kube-scheduler")
	if err != nil {
		return err
	}
	c.scheduler, err = start(c.file("scheduler.log"), nil, program,
		"--kubeconfig", config, "--authentication-kubeconfig", config, "--authorization-kubeconfig", config,
		"--bind-address", "127.0.0.1", "--secure-port", ports[0], "--cert-dir", c.file("scheduler"), "--leader-elect=false")
	if err != nil {
		return err
	}
	return c.scheduler.await(ctx, "https://127.0.0.1:"+ports[0]+"/healthz", nil)
}
