//go:build node && cluster

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/test/cluster"
)

// TestNode follows images from their release to the containers that run them.
func TestNode(t *testing.T) {
	s := newShop(t, "")
	c := s.startNode(t)

	t.Run("what was released runs", func(t *testing.T) {
		index, platform := s.release("hello from a Pod")
		must(t, c, named("released", pod(index.String())))
		runs := awaitRunning(t, c, "released", "app")
		t.Logf("image   %s\nimageID %s\nplatform's manifest %s", runs.Image, runs.ImageID, platform)
		if runs.ImageID != index.String() {
			t.Errorf("what was released is %s, and what runs %s", index, runs.ImageID)
		}
		hears(t, c, runs, "hello from a Pod")
		if _, pulled := s.pulled.Load("/v2/acme/app/manifests/" + platform.DigestStr()); !pulled {
			t.Errorf("the node did not pull %s", platform)
		}
	})

	t.Run("what one platform's digest names runs", func(t *testing.T) {
		// The policies want the evidence on what is deployed, and hallmark hangs it on both.
		_, platform := s.release("hello from a platform")
		must(t, c, named("platform", pod(platform.String())))
		if runs := awaitRunning(t, c, "platform", "app"); runs.ImageID != platform.String() {
			t.Errorf("what was released is %s, and what runs %s", platform, runs.ImageID)
		}
	})

	t.Run("a Deployment runs what was released", func(t *testing.T) {
		index, _ := s.release("hello from a Deployment")
		must(t, c, deployment(index.String()))
		runs := awaitOf(t, c, index)
		if runs.ImageID != index.String() {
			t.Errorf("what was released is %s, and what runs %s", index, runs.ImageID)
		}
		hears(t, c, runs, "hello from a Deployment")
	})

	t.Run("what is refused never reaches the node", func(t *testing.T) {
		unsigned := s.unsigned("hello from nobody")
		for _, image := range []string{unsigned.String(), "nginx:latest"} {
			for _, o := range []cluster.Object{named("refused", pod(image)), named("refused", deployment(image))} {
				answer, err := c.Create(t.Context(), in("shop", o), false)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %d %.200s", o.Name(), answer.Status, answer.Message())
				if answer.Allowed() || !strings.Contains(answer.Message(), "denied") {
					t.Errorf("%s of %s: %d %s", o.Name(), image, answer.Status, answer.Message())
				}
			}
		}
		// What comes after it has run, so what came before it would have been pulled.
		index, _ := s.release("hello after the refusals")
		must(t, c, named("after", pod(index.String())))
		awaitRunning(t, c, "after", "app")
		images, err := c.NodeImages(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(images, index.String()) {
			t.Errorf("the node says that it has %q, without %s which it runs", images, index)
		}
		for _, image := range images {
			if strings.Contains(image, unsigned.DigestStr()) || strings.Contains(image, "nginx") {
				t.Errorf("the node has %s", image)
			}
		}
		s.pulled.Range(func(path, _ any) bool {
			if strings.Contains(path.(string), unsigned.DigestStr()) {
				t.Errorf("the node asked for %s", path)
			}
			return true
		})
	})

	t.Run("a Pod outlives a bad container added to it", func(t *testing.T) {
		index, _ := s.release("hello beside a debugger")
		must(t, c, named("debugged", pod(index.String())))
		before := awaitRunning(t, c, "debugged", "app")
		for _, image := range []string{s.unsigned("hello from nobody").String(), "nginx:latest"} {
			answer := debug(t, c, "debugged", image)
			t.Logf("kubectl debug --image=%s: %d %.200s", image, answer.Status, answer.Message())
			if answer.Allowed() || !strings.Contains(answer.Message(), "hallmark ") {
				t.Errorf("adding %s: %d %s", image, answer.Status, answer.Message())
			}
		}
		tool, _ := s.release("hello from a debugger")
		if answer := debug(t, c, "debugged", tool.String()); !answer.Allowed() {
			t.Fatalf("adding %s: %s", tool, answer.Message())
		}
		added := awaitRunning(t, c, "debugged", "debugger")
		if added.ImageID != tool.String() {
			t.Errorf("what was added is %s, and what runs %s", tool, added.ImageID)
		}
		hears(t, c, added, "hello from a debugger")
		if after := awaitRunning(t, c, "debugged", "app"); after != before {
			t.Errorf("the Pod's own container was %+v and is %+v", before, after)
		}
	})
}

// TestMovedTagRuns moves a tag, by which a Deployment was made, to an unsigned image that would run. What runs stays the
// digest that was admitted, also in the Pod that takes the place of a deleted one.
func TestMovedTagRuns(t *testing.T) {
	s := newShop(t, "  allow-tags: true\n")
	c := s.startNode(t)
	good, _ := s.release("hello from the tag")
	if err := s.client.MoveTag(t.Context(), good, "v1"); err != nil {
		t.Fatal(err)
	}
	tag := good.Context().Tag("v1").String()
	must(t, c, deployment(tag))
	before := awaitOf(t, c, good)
	t.Logf("deployed as %s, runs %s", tag, before.ImageID)

	if err := s.client.MoveTag(t.Context(), s.unsigned("hello from nobody"), "v1"); err != nil {
		t.Fatal(err)
	}
	answer, err := c.Create(t.Context(), in("shop", pod(tag)), true)
	if err != nil || answer.Allowed() {
		t.Fatalf("after the tag was moved it is still admitted: %v %d", err, answer.Status)
	}
	t.Logf("%d %.200s", answer.Status, answer.Message())
	if now := awaitOf(t, c, good); now != before {
		t.Errorf("what ran was %+v and is %+v", before, now)
	}
	if answer, err := c.Delete(t.Context(), in("shop", named(before.Pod, pod("")))); err != nil || !answer.Allowed() {
		t.Fatalf("%v: %s", err, answer.Message())
	}
	var again cluster.Container
	if err := c.Until(t.Context(), "another Pod", func() error {
		if again = awaitOf(t, c, good); again.Pod == before.Pod {
			return errors.New("it is the same one")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if again.ImageID != good.String() {
		t.Errorf("after a restart runs %s, not %s", again.ImageID, good)
	}
	hears(t, c, again, "hello from the tag")
}

// TestNodeLeavesNothing stops a cluster while a Pod runs on its node, and looks for what is left of it. Before that, a
// test that has such a cluster is killed.
//
// There are no policies here, and the Pod's image is one that the other tests see refused: so it would have run.
func TestNodeLeavesNothing(t *testing.T) {
	s := newShop(t, "")
	killed := killedTest(t)
	mounts := read(t, "/proc/self/mountinfo")
	c := startBare(t, cluster.Options{Node: true})
	noCgroups(t, killed)
	must(t, c, pod(s.unsigned("hello before the end").String()))
	runs := awaitRunning(t, c, "app", "app")
	hears(t, c, runs, "hello before the end")
	network := runs.Address[:strings.LastIndex(runs.Address, ".")+1]
	if !hasAddress(t, network) {
		t.Errorf("no interface leads to the Pod at %s", runs.Address)
	}
	ids, err := c.Processes()
	if err != nil {
		t.Fatal(err)
	}
	programs := programs(t, ids)
	t.Logf("%d processes: %q", len(ids), programs)
	for _, want := range []string{"etcd", "kube-apiserver", "kyverno", "containerd", "kubelet", "containerd-shim", "pause", "app"} {
		if !slices.Contains(programs, want) {
			t.Errorf("there is no %s", want)
		}
	}

	c.Stop()
	for _, id := range ids {
		if alive(id) {
			t.Errorf("process %d is left", id)
		}
	}
	noCgroups(t, os.Getpid())
	if after := read(t, "/proc/self/mountinfo"); after != mounts {
		t.Errorf("the mounts were\n%s\nand are\n%s", mounts, after)
	}
	// The kernel removes a network some time after its last process.
	await(t, "the Pod's network to go", func() bool { return !hasAddress(t, network) })
}

// holding makes TestHolding hold a cluster until it is killed.
const holding = "HALLMARK_HOLD_CLUSTER"

// TestHolding is the test that TestNodeLeavesNothing kills; by itself it does nothing.
func TestHolding(t *testing.T) {
	if os.Getenv(holding) == "" {
		return
	}
	c := startBare(t, cluster.Options{Node: true})
	must(t, c, pod("hallmark.test/pause:1"))
	awaitRunning(t, c, "app", "app")
	ids, err := c.Processes()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(text))
	select {}
}

// killedTest kills a test that holds a cluster with a Pod running on its node, and gives its process id when all of the
// cluster has ended.
func killedTest(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHolding$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), holding+"=yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []int
	decoding := json.NewDecoder(out).Decode(&ids)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if decoding != nil || len(ids) == 0 {
		t.Fatalf("the test to be killed did not come so far: %v", decoding)
	}
	await(t, "a killed test's processes to end", func() bool { return !slices.ContainsFunc(ids, alive) })
	t.Logf("killed, and %d processes with it", len(ids))
	return cmd.Process.Pid
}

// await waits for what the kernel does in its own time.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.Tick(20 * time.Millisecond); !done(); {
		select {
		case <-tick:
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, ctx.Err())
		}
	}
}

func alive(id int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", id))
	return err == nil
}

func programs(t *testing.T, ids []int) (names []string) {
	t.Helper()
	for _, id := range ids {
		names = append(names, strings.TrimSpace(read(t, fmt.Sprintf("/proc/%d/comm", id))))
	}
	return names
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// noCgroups sees to it that nothing is left in which a process ran its node.
func noCgroups(t *testing.T, owner int) {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/hallmark-node-%d-*", "/sys/fs/cgroup/*/hallmark-node-%d-*"} {
		left, err := filepath.Glob(fmt.Sprintf(pattern, owner))
		if err != nil || len(left) > 0 {
			t.Errorf("control groups are left: %q %v", left, err)
		}
	}
}

// hasAddress says whether this machine has an address that begins so.
func hasAddress(t *testing.T, prefix string) bool {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(addresses, func(a net.Addr) bool { return strings.HasPrefix(a.String(), prefix) })
}

func named(name string, o cluster.Object) cluster.Object {
	o["metadata"].(map[string]any)["name"] = name
	return o
}

func awaitRunning(t *testing.T, c *cluster.Cluster, pod, container string) cluster.Container {
	t.Helper()
	runs, err := c.AwaitRunning(t.Context(), "shop", pod, container)
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

// awaitOf waits until a container runs an image.
func awaitOf(t *testing.T, c *cluster.Cluster, image name.Digest) (runs cluster.Container) {
	t.Helper()
	if err := c.Until(t.Context(), "a container of "+image.String(), func() error {
		all, err := c.Containers(t.Context(), "shop")
		if err != nil {
			return err
		}
		for _, runs = range all {
			if strings.HasSuffix(runs.Image, image.DigestStr()) && runs.Running {
				return nil
			}
		}
		return fmt.Errorf("what is there: %+v", all)
	}); err != nil {
		t.Fatal(err)
	}
	return runs
}

// hears waits for the words of a container.
func hears(t *testing.T, c *cluster.Cluster, runs cluster.Container, words string) {
	t.Helper()
	if err := c.Until(t.Context(), "words of "+runs.Pod, func() error {
		said, err := c.Log(t.Context(), "shop", runs)
		if err == nil && strings.TrimSpace(said) != words {
			err = fmt.Errorf("it says %q", said)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// debug adds a container to a Pod that runs, by the request that kubectl debug makes.
func debug(t *testing.T, c *cluster.Cluster, pod, image string) cluster.Answer {
	t.Helper()
	path := "/api/v1/namespaces/shop/pods/" + pod
	var now cluster.Object
	if err := c.Get(t.Context(), path, &now); err != nil {
		t.Fatal(err)
	}
	now["spec"].(map[string]any)["ephemeralContainers"] = []any{
		map[string]any{"name": "debugger", "image": image, "stdin": true, "tty": true, "terminationMessagePolicy": "File"},
	}
	answer, err := c.Replace(t.Context(), path+"/ephemeralcontainers", now)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
