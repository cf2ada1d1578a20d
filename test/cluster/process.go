package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a program that runs until it is stopped.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

// start runs a program with its output in a file. It gets nothing of this process's environment but what env says, and
// does not outlive this process.
func start(log string, env []string, program string, args ...string) (*process, error) {
	return startApart(log, &syscall.SysProcAttr{}, env, program, args...)
}

// startApart starts it in namespaces of its own.
func startApart(log string, apart *syscall.SysProcAttr, env []string, program string, args ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{name: filepath.Base(program), cmd: exec.Command(program, args...), log: log, ended: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(log)}, env...)
	p.cmd.Dir = filepath.Dir(log)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	apart.Pdeathsig = syscall.SIGKILL
	p.cmd.SysProcAttr = apart
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop asks the program to end and sees to it that it does.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// kill ends the program at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// insecure asks a server on loopback whose certificate nobody knows yet.
var insecure = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 5 * time.Second}

// await asks url again and again until it answers 200, the program ends or patience does.
func (p *process) await(ctx context.Context, url string, prepare func(*http.Request)) error {
	return p.until(ctx, url, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if prepare != nil {
			prepare(req)
		}
		res, err := insecure.Do(req)
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// until calls try until it succeeds.
func (p *process) until(ctx context.Context, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("waiting for %s: %s ended: %s\n%s", what, p.name, p.cmd.ProcessState, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s of %s: %w: %w\n%s", what, p.name, ctx.Err(), err, p.tail())
		}
	}
}

// tail is the end of what the program said.
func (p *process) tail() string {
	said, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(said[max(0, len(said)-4000):])
}

// Processes gives the ids of all processes of the cluster, those of the node's containers too.
func (c *Cluster) Processes() ([]int, error) {
	ours := map[int]bool{}
	for _, p := range c.programs() {
		if p != nil {
			ours[p.cmd.Process.Pid] = true
		}
	}
	if c.node != nil {
		ours[c.node.cmd.Process.Pid] = true
	}
	parents := map[int]int{}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		// ID (PROGRAM) STATE PARENT, and PROGRAM may hold anything (proc(5)).
		var id, parent int
		var state string
		after := stat[bytes.LastIndexByte(stat, ')')+1:]
		if _, err := fmt.Sscan(string(stat), &id); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if _, err := fmt.Sscan(string(after), &state, &parent); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		parents[id] = parent
	}
	var ids []int
	for id := range parents {
		for at := id; at > 0; at = parents[at] {
			if ours[at] {
				ids = append(ids, id)
				break
			}
		}
	}
	return ids, nil
}
