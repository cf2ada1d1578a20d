package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// cost is what one program took.
type cost struct {
	Wall time.Duration `json:"wall_ns"`
	// CPU is user and system time of the program and its children.
	CPU time.Duration `json:"cpu_ns"`
	// Peak is the largest resident set of the program or any of its children, in bytes. The kernel starts the count at what
	// the benchmark itself occupied when it started the program, which is less than any program here needs.
	Peak int64 `json:"peak_bytes"`
}

// step is one named program of a run.
type step struct {
	Name string `json:"name"`
	cost
}

// total is the cost of steps that follow each other: times add up, memory does not.
func total(steps []step) cost {
	var sum cost
	for _, s := range steps {
		sum.Wall += s.Wall
		sum.CPU += s.CPU
		sum.Peak = max(sum.Peak, s.Peak)
	}
	return sum
}

// command is a program to be measured.
type command struct {
	step string
	path string
	args []string
	dir  string
	env  []string
}

// measure runs c to its end and returns what it wrote to standard output and what it cost.
func measure(ctx context.Context, c command) ([]byte, step, error) {
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	if err != nil {
		written := append(stdout.Bytes(), stderr.Bytes()...)
		return nil, step{}, fmt.Errorf("running %s: %w\n%s", c.step, err, written[max(0, len(written)-4000):])
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return nil, step{}, fmt.Errorf("running %s: this system does not say what it used", c.step)
	}
	return stdout.Bytes(), step{c.step, cost{
		Wall: wall,
		CPU:  cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
		Peak: usage.Maxrss << 10, // Linux counts kilobytes
	}}, nil
}
