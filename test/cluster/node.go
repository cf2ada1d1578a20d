package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/hallmark-sh/hallmark/test/peers"
)

// node is the one machine of the cluster.
type node struct {
	*process
	cgroups cgroups
}

// nodeName is a name that the API server finds the kubelet by.
const nodeName = "localhost"

//go:embed node.sh
var nodeScript []byte

// containerdConfig has it keep all in memory and pull from loopback over plain HTTP, as it does by itself. It must not
// lower the likelihood that containers are killed when memory runs out: not even root may on some machines.
const containerdConfig = `version = 2
root = "/run/containerd-root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "/run/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "` + pauseImage + `"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = %q
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
`

// network gives every Pod an address that this machine reaches, and nothing else. The addresses are of the range for
// tests of networks (RFC 2544).
const network = `{"cniVersion": "0.4.0", "name": "test", "plugins": [{"type": "ptp", "ipMasq": false,
 "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "198.18.%d.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`

// kubeletConfig keeps the kubelet's hands off the rest of the machine: its firewall, its disk and its memory.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: %s
healthzPort: 0
readOnlyPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix:///run/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /%s
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
resolvConf: ""
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%", imagefs.inodesFree: "0%%"}
`

// startNode starts the scheduler and the one node, and returns when Pods run on it.
func (c *Cluster) startNode(ctx context.Context) error {
	if err := c.startScheduler(ctx); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("starting a node: only root can")
	}
	containerd, err := exec.LookPath("containerd")
	if err != nil {
		return fmt.Errorf("starting a node: %w: run make install-containerd", err)
	}
	kubelet, err := peers.Path("kubelet")
	if err != nil {
		return err
	}
	dir := c.file("node")
	if err := c.writeNode(dir); err != nil {
		return err
	}
	c.node = &node{cgroups: newCgroups()}
	if err := c.node.cgroups.make(); err != nil {
		return fmt.Errorf("making the node's cgroup: %w", err)
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	config := fmt.Sprintf(kubeletConfig, ports[0], c.file(kubeletClient+".crt"), string(c.node.cgroups))
	if err := os.WriteFile(filepath.Join(dir, "kubelet.yaml"), []byte(config), 0o600); err != nil {
		return err
	}
	apart := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	c.node.process, err = startApart(c.file("node.log"), apart, []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}, "bash", filepath.Join(dir, "node.sh"), dir, containerd, kubelet)
	if err != nil {
		return err
	}
	return c.node.until(ctx, "the node to be ready", func() error { return c.nodeReady(ctx) })
}

// writeNode writes what the node's programs read.
func (c *Cluster) writeNode(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "cni"), 0o755); err != nil {
		return err
	}
	config, err := c.kubeconfig("kubelet")
	if err != nil {
		return err
	}
	if err := os.Rename(config, filepath.Join(dir, "kubelet.kubeconfig")); err != nil {
		return err
	}
	for file, text := range map[string]string{
		"node.sh":           string(nodeScript),
		"containerd.toml":   fmt.Sprintf(containerdConfig, filepath.Join(dir, "cni")),
		"cni/test.conflist": fmt.Sprintf(network, rand.Text()[0]),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return writePause(filepath.Join(dir, "pause.tar"))
}

// pauseImage is the image that every Pod has beside its own.
const pauseImage = "hallmark.test/pause:1"

// writePause writes it as an archive for containerd to load: no registry is asked for it.
func writePause(archive string) error {
	path, err := peers.Path("pause")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	files := tar.NewWriter(&layer)
	if err := files.WriteHeader(&tar.Header{Name: "pause", Mode: 0o555, Size: int64(len(program))}); err != nil {
		return err
	}
	if _, err := files.Write(program); err != nil {
		return err
	}
	if err := files.Close(); err != nil {
		return err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	about, err := img.ConfigFile()
	if err != nil {
		return err
	}
	about = about.DeepCopy()
	about.OS, about.Architecture, about.Config = "linux", "amd64", v1.Config{Entrypoint: []string{"/pause"}}
	if img, err = mutate.ConfigFile(img, about); err != nil {
		return err
	}
	tag, err := name.NewTag(pauseImage)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(archive, tag, img)
}

// nodeReady says why Pods would not run yet.
func (c *Cluster) nodeReady(ctx context.Context) error {
	var n struct {
		Spec   struct{ Taints []struct{ Key string } }
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := c.Get(ctx, "/api/v1/nodes/"+nodeName, &n); err != nil {
		return err
	}
	if len(n.Spec.Taints) > 0 {
		return fmt.Errorf("the node is tainted: %+v", n.Spec.Taints)
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == "Ready" {
			if condition.Status == "True" {
				return nil
			}
			return errors.New(condition.Message)
		}
	}
	return errors.New("the node says nothing of itself")
}

// stop ends the node with all that runs on it, and leaves nothing of it on the machine.
func (n *node) stop() {
	if n == nil {
		return
	}
	if n.process != nil {
		// The first process of a PID namespace takes all others of it along, and the kernel waits for them.
		n.kill()
	}
	if err := n.cgroups.remove(); err != nil {
		fmt.Fprintf(os.Stderr, "removing the node's cgroups: %v\n", err)
	}
}

// NodeImages gives the names and digests under which the node has images.
func (c *Cluster) NodeImages(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, "nsenter", "--mount=/proc/"+strconv.Itoa(c.node.cmd.Process.Pid)+"/ns/mnt",
		"ctr", "--address", "/run/containerd.sock", "--namespace", "k8s.io", "images", "list", "--quiet")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("asking containerd for its images: %w", err)
	}
	return strings.Fields(string(out)), nil
}
