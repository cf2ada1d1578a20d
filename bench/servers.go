package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hallmark-sh/hallmark/bench/distance"
)

// servers are the trust services and a registry for one run, in a process of their own: `hallmark local serve`.
type servers struct {
	*input
	dir                               string
	trustedRoot, signingConfig, token string
	accessLog                         string
	distance                          *distance.Line
	cmd                               *exec.Cmd
	exited                            chan error
	log                               bytes.Buffer
}

// startServers starts them with an empty registry, roundTrip away from the address the policies name, and has them make an
// identity token for a run of the release workflow on commit.
func startServers(ctx context.Context, in *input, commit string, roundTrip time.Duration) (*servers, error) {
	dir, err := os.MkdirTemp(in.dir, "run-")
	if err != nil {
		return nil, err
	}
	s := &servers{
		input: in, dir: dir,
		trustedRoot:   filepath.Join(in.state, "trusted-root.json"),
		signingConfig: filepath.Join(in.dir, "signing-config.json"),
		token:         filepath.Join(dir, "token"),
		accessLog:     filepath.Join(dir, "access.log"),
		exited:        make(chan error, 1),
	}
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.cmd = exec.Command(in.hallmark, "local", "serve", "--state", in.state, "--listen", listen,
		"--registry-dir", filepath.Join(dir, "registry"), "--access-log", s.accessLog)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.exited <- s.cmd.Wait() }()
	if err := s.ready(ctx, listen, commit, roundTrip); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// ready waits for the servers, puts the distance before them and makes the token.
func (s *servers) ready(ctx context.Context, listen, commit string, roundTrip time.Duration) (err error) {
	if err := s.await(ctx, listen); err != nil {
		return err
	}
	if s.distance, err = distance.Listen(s.address, "tcp", listen, roundTrip); err != nil {
		return err
	}
	config, err := os.ReadFile(filepath.Join(s.state, "signing-config.json"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.signingConfig, bytes.ReplaceAll(config, []byte(listen), []byte(s.address)), 0o644); err != nil {
		return err
	}
	_, _, err = measure(ctx, s.command("hallmark local token", s.dir, "local", "token", "--state", s.state,
		"--repository", repository, "--workflow", workflow, "--ref", branch, "--sha", commit, "--out", s.token))
	return err
}

func (s *servers) await(ctx context.Context, listen string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// Not a path of the registry: it would be counted.
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+"/", nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(req); err == nil {
			return answer.Body.Close()
		}
		select {
		case <-tick.C:
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("hallmark local serve ended: %w\n%s", err, &s.log)
		case <-ctx.Done():
			return fmt.Errorf("waiting for hallmark local serve: %w", ctx.Err())
		}
	}
}

// stop ends the servers and throws away what they kept.
func (s *servers) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping hallmark local serve: %w", err)
	}
	<-s.exited
	if s.distance != nil {
		if err := s.distance.Close(); err != nil {
			return err
		}
	}
	return os.RemoveAll(s.dir)
}

// requests counts what the registry has been asked so far.
func (s *servers) requests() (int, error) {
	log, err := os.ReadFile(s.accessLog)
	if err != nil {
		return 0, err
	}
	return bytes.Count(log, []byte("\n")), nil
}

func (s *servers) repository() string { return s.address + "/" + repository }
