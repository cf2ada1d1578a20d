package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// hallmark is the other contender: two commands.
type hallmark struct{ *input }

func (hallmark) name() string { return "hallmark" }

func (h hallmark) release(ctx context.Context, s *servers, source string) (string, []step, error) {
	// Nothing of an earlier run may help this one.
	if err := os.RemoveAll(filepath.Join(h.repos[source], ".hallmark")); err != nil {
		return "", nil, err
	}
	out, released, err := measure(ctx, h.command("hallmark release", h.repos[source],
		"release", "--json", "--identity-token", s.token, "--advisories", h.advisories))
	if err != nil {
		return "", nil, err
	}
	var answer struct {
		Image string `json:"image"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return "", nil, fmt.Errorf("reading the answer of hallmark release: %w", err)
	}
	return answer.Image, []step{released}, nil
}

func (h hallmark) verify(ctx context.Context, _ *servers, reference string) ([]step, error) {
	_, verified, err := measure(ctx, h.command("hallmark verify", h.repos[fromLayout], "verify", reference))
	return []step{verified}, err
}

func (in *input) command(step, dir string, args ...string) command {
	return command{step: step, path: in.hallmark, args: args, dir: dir, env: []string{"HOME=" + in.home, "PATH=" + os.Getenv("PATH")}}
}

// startUp measures how long hallmark takes to say how it is called: what a shell's user feels before anything happens.
func startUp(ctx context.Context, in *input) ([]step, error) {
	const times = 20
	var all []step
	for range times {
		_, s, err := measure(ctx, in.command("hallmark verify --help", in.home, "verify", "--help"))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
