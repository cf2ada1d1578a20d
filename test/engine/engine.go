// Package engine starts a real Docker engine for tests and benchmarks.
//
// Each engine is a dockerd of its own, in mount, network and process namespaces of its own, listening on a unix socket
// in a folder of its own. It shares nothing with an engine that already runs on the machine, reaches no network, and
// leaves neither process nor mount behind, even when the process that started it is killed.
//
// It needs root, dockerd (Debian's docker.io) and unshare (util-linux), and therefore Linux.
package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

const (
	startLimit = 2 * time.Minute       // a cold dockerd on a busy two-core machine takes about three seconds
	stopLimit  = 30 * time.Second      // from the kill to the last process of the namespace being gone
	pollEvery  = 50 * time.Millisecond // between two questions whether the engine answers
	logLimit   = 64 << 10              // bytes of the daemon's log kept for an error message
	socketName = "docker.sock"
)

// Engine is a running dockerd.
type Engine struct {
	// Host is the engine's address in the form DOCKER_HOST takes, unix:///path/docker.sock.
	Host string

	dir    string
	cmd    *exec.Cmd
	log    *tail
	exited chan struct{}
	client *client.Client
}

// Start runs an engine until the test ends, or fails the test with the reason.
func Start(tb testing.TB) *Engine {
	tb.Helper()
	e, err := Open(tb.Context())
	if err != nil {
		tb.Fatalf("starting a Docker engine: %v", err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Errorf("stopping the Docker engine: %v", err)
		}
	})
	return e
}

// Open runs an engine and returns when it answers. The caller must Close it.
func Open(ctx context.Context) (*Engine, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("dockerd needs root: run as root")
	}
	for _, program := range []string{"dockerd", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w: run make install-docker", err)
		}
	}
	// Not the test's own folder: its name would push the socket past the 108 bytes a unix address may have.
	dir, err := os.MkdirTemp("", "hallmark-engine-")
	if err != nil {
		return nil, err
	}
	e := &Engine{Host: "unix://" + filepath.Join(dir, socketName), dir: dir, log: &tail{}, exited: make(chan struct{})}
	if err := e.launch(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := e.await(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *Engine) launch() error {
	config := filepath.Join(e.dir, "daemon.json") // an empty one, so that the machine's own is not read
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		return err
	}
	e.cmd = exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child",
		"dockerd",
		"--config-file", config,
		"--host", e.Host,
		"--data-root", filepath.Join(e.dir, "data"),
		"--exec-root", filepath.Join(e.dir, "exec"),
		"--pidfile", filepath.Join(e.dir, "pid"),
		"--iptables=false",
		"--ip-forward=false",
		"--log-level=warn",
	)
	// Wait returns only when every process that holds these two is gone: dockerd, its containerd and the shims.
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.WaitDelay = stopLimit
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		return fmt.Errorf("running dockerd: %w", err)
	}
	go func() {
		defer close(e.exited)
		_ = e.cmd.Wait() // it ends by being killed, or await reports its log
	}()
	return nil
}

// await returns nil once the engine answers, and what it logged when it does not.
func (e *Engine) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c, err := client.New(client.WithHost(e.Host))
	if err != nil {
		return err
	}
	e.client = c
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if _, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-e.exited:
			return fmt.Errorf("dockerd ended before it answered; its log:\n%s", e.log)
		case <-ctx.Done():
			return fmt.Errorf("waiting for dockerd: %w; its log:\n%s", ctx.Err(), e.log)
		}
	}
}

// Client returns a client of the engine, closed with it.
func (e *Engine) Client() *client.Client { return e.client }

// Log returns the last of what the daemon wrote, for a test to print when something failed.
func (e *Engine) Log() string { return e.log.String() }

// Close kills the engine with everything it runs and removes its folder.
func (e *Engine) Close() error {
	if e.client != nil {
		_ = e.client.Close()
	}
	if err := e.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing dockerd: %w", err)
	}
	<-e.exited
	return os.RemoveAll(e.dir)
}

// Import makes the file system in the tar rootfs an image of one layer, called name (as in base:bookworm).
func (e *Engine) Import(ctx context.Context, name string, rootfs io.Reader) error {
	source := client.ImageImportSource{Source: rootfs, SourceName: "-"}
	r, err := e.client.ImageImport(ctx, source, name, client.ImageImportOptions{})
	if err != nil {
		return fmt.Errorf("importing %s: %w", name, err)
	}
	defer r.Close()
	if err := streamError(r); err != nil {
		return fmt.Errorf("importing %s: %w", name, err)
	}
	return nil
}

// Build builds the Dockerfile in the tar folder, without BuildKit and without a network, and calls the image name.
func (e *Engine) Build(ctx context.Context, name string, folder io.Reader) error {
	options := client.ImageBuildOptions{Tags: []string{name}, NetworkMode: "none", Remove: true}
	answer, err := e.client.ImageBuild(ctx, folder, options)
	if err != nil {
		return fmt.Errorf("building %s: %w", name, err)
	}
	defer answer.Body.Close()
	if err := streamError(answer.Body); err != nil {
		return fmt.Errorf("building %s: %w", name, err)
	}
	return nil
}

// Save writes the image called name to w as a docker archive.
func (e *Engine) Save(ctx context.Context, name string, w io.Writer) error {
	r, err := e.client.ImageSave(ctx, []string{name})
	if err != nil {
		return fmt.Errorf("saving %s: %w", name, err)
	}
	defer r.Close()
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("saving %s: %w", name, err)
	}
	return nil
}

// streamError reads a stream of progress messages to its end and returns the error among them: the engine says 200 first
// and finds out later.
func streamError(r io.Reader) error {
	for d := json.NewDecoder(r); ; {
		var message struct {
			Error string `json:"error"`
		}
		switch err := d.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}

// tail keeps the last logLimit bytes written to it, for several writers and readers at once.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	if over := t.buf.Len() - logLimit; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
