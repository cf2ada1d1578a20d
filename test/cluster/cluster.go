// Package cluster runs a small real cluster on loopback for tests: etcd, the Kubernetes API server and Kyverno, as
// processes of the programs that `make cluster-peers` builds. There is no node and no scheduler: what is tested is what
// the API server admits.
//
// Everything lives in one folder, listens on 127.0.0.1 at free ports, and ends with the process that started it.
package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"os"
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
}

// Cluster is a running cluster.
type Cluster struct {
	*API
	// Kubeconfig is a file that makes kubectl, Kyverno or hallmark its administrator.
	Kubeconfig string
	// KyvernoMetrics is the URL of Kyverno's metrics, http://127.0.0.1:PORT/metrics.
	KyvernoMetrics string

	dir     string
	opts    Options
	etcd    *process
	server  *process
	kyverno *process
	ports   kyvernoPorts
}

// Start starts a cluster with Kyverno in it, and returns when both answer.
func Start(ctx context.Context, opts Options) (c *Cluster, err error) {
	c = &Cluster{dir: opts.Dir, opts: opts}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if err := c.startEtcd(ctx); err != nil {
		return nil, err
	}
	if err := c.installKyverno(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Stop ends every process that is still there.
func (c *Cluster) Stop() {
	for _, p := range []*process{c.kyverno, c.server, c.etcd} {
		p.stop()
	}
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

// startServer starts the API server. Its certificate is its own; whoever trusts that file trusts nobody else.
func (c *Cluster) startServer(ctx context.Context, etcd, port string) error {
	program, err := peers.Path("kube-apiserver")
	if err != nil {
		return err
	}
	key := filepath.Join(c.dir, "service-account.key")
	if err := writeKey(key); err != nil {
		return err
	}
	token := rand.Text()
	tokens := filepath.Join(c.dir, "tokens")
	if err := os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\n"), 0o600); err != nil {
		return err
	}
	certs := filepath.Join(c.dir, "apiserver")
	c.server, err = start(filepath.Join(c.dir, "apiserver.log"), nil, program,
		"--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", certs, "--endpoint-reconciler-type", "none", "--authorization-mode", "RBAC",
		"--token-auth-file", tokens, "--service-cluster-ip-range", "10.0.0.0/24",
		"--service-account-issuer", "https://kubernetes.localhost", "--service-account-key-file", key, "--service-account-signing-key-file", key,
		// No controller makes the default service accounts that it asks for.
		"--disable-admission-plugins", "ServiceAccount")
	if err != nil {
		return err
	}
	url := "https://127.0.0.1:" + port
	if c.API, err = c.server.awaitServer(ctx, url, filepath.Join(certs, "apiserver.crt"), token); err != nil {
		return err
	}
	c.Kubeconfig = filepath.Join(c.dir, "kubeconfig")
	return os.WriteFile(c.Kubeconfig, fmt.Appendf(nil, kubeconfig, url, base64.StdEncoding.EncodeToString(c.authority), token), 0o600)
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %s, certificate-authority-data: %s}}]
users: [{name: admin, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
`

// writeKey makes the key that signs service accounts' tokens.
func writeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
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
