package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/test/peers"
)

// user is somebody the API server knows by a token.
type user struct {
	name, group, token string
}

// Who speaks to the API server. What each may do stands in the roles that the API server makes for itself.
func users() map[string]user {
	return map[string]user{
		"admin":                   {"admin", "system:masters", rand.Text()},
		"kube-controller-manager": {"system:kube-controller-manager", "", rand.Text()},
		"kube-scheduler":          {"system:kube-scheduler", "", rand.Text()},
		"kubelet":                 {"system:node:" + nodeName, "system:nodes", rand.Text()},
		// Somebody with no right but those that are given to reader.
		"reader": {"reader", "", rand.Text()},
	}
}

// startServer starts the API server. Its certificate is its own; whoever trusts that file trusts nobody else.
func (c *Cluster) startServer(ctx context.Context, etcd, port string) error {
	program, err := peers.Path("kube-apiserver")
	if err != nil {
		return err
	}
	if err := writeKey(c.file("service-account.key")); err != nil {
		return err
	}
	c.users = users()
	var tokens strings.Builder
	for _, u := range c.users {
		fmt.Fprintf(&tokens, "%s,%s,%s,%s\n", u.token, u.name, u.name, u.group)
	}
	if err := os.WriteFile(c.file("tokens"), []byte(tokens.String()), 0o600); err != nil {
		return err
	}
	args := []string{
		"--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", c.file("apiserver"), "--endpoint-reconciler-type", "none", "--authorization-mode", "Node,RBAC",
		"--token-auth-file", c.file("tokens"), "--service-cluster-ip-range", "10.0.0.0/24",
		"--service-account-issuer", "https://kubernetes.localhost",
		"--service-account-key-file", c.file("service-account.key"), "--service-account-signing-key-file", c.file("service-account.key"),
	}
	if !c.opts.Controllers {
		// No controller makes the default service accounts that it asks for.
		args = append(args, "--disable-admission-plugins", "ServiceAccount")
	}
	if c.opts.Node {
		if err := writeCertificate(c.file(kubeletClient)); err != nil {
			return err
		}
		args = append(args, "--enable-admission-plugins", "NodeRestriction", "--kubelet-preferred-address-types", "Hostname",
			"--kubelet-client-certificate", c.file(kubeletClient+".crt"), "--kubelet-client-key", c.file(kubeletClient+".key"))
	}
	if c.server, err = start(c.file("apiserver.log"), nil, program, args...); err != nil {
		return err
	}
	url := "https://127.0.0.1:" + port
	if c.API, err = c.server.awaitServer(ctx, url, c.authority(), c.users["admin"].token); err != nil {
		return err
	}
	c.Kubeconfig, err = c.kubeconfig("admin")
	return err
}

// authority is the file of the certificate that the API server made for itself.
func (c *Cluster) authority() string { return c.file("apiserver", "apiserver.crt") }

// file is a file of the cluster's folder.
func (c *Cluster) file(path ...string) string {
	return filepath.Join(append([]string{c.dir}, path...)...)
}

// ReaderKubeconfig is a file that makes hallmark a user named reader, who has no rights of its own.
func (c *Cluster) ReaderKubeconfig() (path string, err error) { return c.kubeconfig("reader") }

// Credentials are the file of the API server's certificate and the token of its administrator, for whoever reads no
// kubeconfig.
func (c *Cluster) Credentials() (certificate, token string) {
	return c.authority(), c.users["admin"].token
}

// kubeconfig writes the file by which a user reaches the API server.
func (c *Cluster) kubeconfig(user string) (path string, err error) {
	path = c.file(user + ".kubeconfig")
	return path, os.WriteFile(path, fmt.Appendf(nil, kubeconfig, c.URL, base64.StdEncoding.EncodeToString(c.API.authority), c.users[user].token), 0o600)
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %s, certificate-authority-data: %s}}]
users: [{name: user, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: user}}]
current-context: test
`

// kubeletClient is who the API server is to the kubelet.
const kubeletClient = "kubelet-client"

// writeKey makes the key that signs service accounts' tokens.
func writeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writePEM(path, key)
}

// writeCertificate makes the key path.key and its certificate path.crt, which is its own authority.
func writeCertificate(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver", Organization: []string{"system:masters"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	return writePEM(path+".key", key)
}

func writePEM(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
