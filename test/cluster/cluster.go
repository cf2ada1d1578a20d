// Package cluster runs a small real cluster on loopback for tests: etcd, the Kubernetes API server and Kyverno, as
// processes of the programs that `make cluster-peers` builds. What is tested is what the API server admits; with
// Options.Controllers also what controllers make of it, and with Options.Node what then runs.
//
// Everything lives in one folder, listens on 127.0.0.1 at free ports, and ends with the process that started it.
package cluster

import (
	"context"
	"net"
	"path/filepath"
	"time"

	"github.com/hallmark-sh/hallmark/test/peers"
)

// Options say what the cluster is like.
type Options struct {
	// Dir is an empty folder for all state and logs.
	Dir string
	// KyvernoArgs are added to Kyverno's own.
	KyvernoArgs []string
	// Controllers adds the controller manager: Deployments make Pods, namespaces get service accounts, and what has lost
	// its owner is removed. Create namespaces by Cluster.Namespace then.
	Controllers bool
	// Node adds the scheduler and one node (a kubelet of `make node-peers`, with containerd and runc from the machine), and
	// implies Controllers. It needs root and control groups. The node pulls from registries on loopback over plain HTTP.
	Node bool
}

// Cluster is a running cluster.
type Cluster struct {
	*API
	// Kubeconfig is a file that makes kubectl, Kyverno or hallmark its administrator.
	Kubeconfig string
	// KyvernoMetrics is the URL of Kyverno's metrics, http://127.0.0.1:PORT/metrics.
	KyvernoMetrics string

	dir         string
	opts        Options
	users       map[string]user
	etcd        *process
	server      *process
	controllers *process
	scheduler   *process
	node        *node
	kyverno     *process
	ports       kyvernoPorts
}

// Start starts a cluster with Kyverno in it, and returns when both answer.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	opts.Controllers = opts.Controllers || opts.Node
	c := &Cluster{dir: opts.Dir, opts: opts}
	if err := c.start(ctx); err != nil {
		c.Stop() // what was started before
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	if err := c.installKyverno(ctx); err != nil {
		return err
	}
	if c.opts.Controllers {
		if err := c.startControllers(ctx); err != nil {
			return err
		}
	}
	if err := c.StartKyverno(ctx); err != nil {
		return err
	}
	if c.opts.Node {
		return c.startNode(ctx)
	}
	return nil
}

// Stop ends every process that is still there.
func (c *Cluster) Stop() {
	c.node.stop()
	for _, p := range c.programs() {
		p.stop()
	}
}

// programs are those that were started, but for the node's.
func (c *Cluster) programs() []*process {
	return []*process{c.kyverno, c.scheduler, c.controllers, c.server, c.etcd}
}

func (c *Cluster) startEtcd(ctx context.Context) error {
	program, err := peers.Path("etcd")
	if err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	clients, raft := "http://127.0.0.1:"+ports[0], "http://127.0.0.1:"+ports[1]
	c.etcd, err = start(filepath.Join(c.dir, "etcd.log"), nil, program,
		"--name", "one", "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", raft, "--initial-advertise-peer-urls", raft, "--initial-cluster", "one="+raft)
	if err != nil {
		return err
	}
	if err := c.etcd.await(ctx, clients+"/health", nil); err != nil {
		return err
	}
	return c.startServer(ctx, clients, ports[2])
}

// freePorts finds ports of loopback that nobody has.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// patience is how long a program may take to start, on a machine that is busy.
const patience = time.Minute
