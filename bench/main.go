// Command bench measures hallmark against the chain of command lines it replaces: syft, grype, crane and cosign.
//
// Both do the same work on the same image of Debian and Python, with the same vulnerability database, trust services and
// registry, all on this machine: catalogue, scan, push, sign, attest SBOM, scan and provenance, tag; and then verify all
// four. They take turns, round by round, so that whatever else the machine does meets both. The registry is new for every
// run, since a registry that has the blobs already saves the push.
//
// A program is measured from outside: wall time by the clock, CPU time and peak memory by what the kernel says of it and its
// children when it ends. The servers' own time counts for nobody.
//
// It needs root, for the Docker engine that builds the image; `make bench` brings the rest.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	rounds := flag.Int("rounds", 7, "measured rounds; one more is run before them and not counted, unless it is the only one")
	roundTrip := flag.Duration("rtt", 20*time.Millisecond, "measure also with servers this round trip away; 0 for only beside")
	docs := flag.String("docs", "", "Markdown `file` whose figures to replace")
	out := flag.String("json", "bin/bench.json", "`file` for the figures of every round")
	hallmark := flag.String("hallmark", "bin/hallmark", "`program` to measure")
	profiler := flag.String("profile", "", "instead of measuring, profile a release with this `program`, the build of bench/profile")
	flag.Parse()

	dir, err := os.MkdirTemp("", "hallmark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := filepath.Abs(*hallmark)
	if err != nil {
		return err
	}
	in, err := prepare(ctx, dir, program)
	if err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	if *profiler != "" {
		path, err := filepath.Abs(*profiler)
		if err != nil {
			return err
		}
		return profile(ctx, in, path)
	}
	results, err := measureAll(ctx, in, *rounds, *roundTrip)
	if err != nil {
		return err
	}
	results.Machine, results.Image = describeMachine(ctx), in.about
	if results.Start, err = startUp(ctx, in); err != nil {
		return err
	}
	text := results.markdown()
	fmt.Println(text)
	if err := writeJSON(*out, results); err != nil {
		return err
	}
	if *docs == "" {
		return nil
	}
	return replaceFigures(*docs, text)
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// measureAll runs every contender on every source at both distances, round by round, and turns their order round each time.
func measureAll(ctx context.Context, in *input, rounds int, roundTrip time.Duration) (*results, error) {
	r := &results{Rounds: rounds, RoundTrips: []time.Duration{0}}
	if roundTrip > 0 {
		r.RoundTrips = append(r.RoundTrips, roundTrip)
	}
	warmUp := 0
	if rounds > 1 {
		warmUp = 1
	}
	for round := range rounds + warmUp {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds+warmUp)
		runs, err := measureRound(ctx, in, r.RoundTrips, round)
		if err != nil {
			return nil, err
		}
		if round >= warmUp {
			r.Runs = append(r.Runs, runs...)
		}
	}
	return r, nil
}

func measureRound(ctx context.Context, in *input, roundTrips []time.Duration, round int) ([]measured, error) {
	contenders := []contender{chain{in}, chain{in}.lean(), hallmark{in}}
	var runs []measured
	for _, source := range []string{fromLayout, fromArchive} {
		for _, roundTrip := range roundTrips {
			for i := range contenders {
				c := contenders[(i+round)%len(contenders)]
				got, err := measureOne(ctx, in, c, source, roundTrip)
				if err != nil {
					return nil, fmt.Errorf("measuring %s from %s: %w", c.name(), source, err)
				}
				runs = append(runs, got)
			}
		}
	}
	return runs, nil
}

// contender is a way to release an image and to verify it.
type contender interface {
	name() string
	// release publishes the image and returns its reference by digest.
	release(ctx context.Context, s *servers, source string) (reference string, steps []step, err error)
	verify(ctx context.Context, s *servers, reference string) ([]step, error)
}

// measureOne runs one contender against servers of its own.
func measureOne(ctx context.Context, in *input, c contender, source string, roundTrip time.Duration) (got measured, err error) {
	s, err := startServers(ctx, in, in.commits[source], roundTrip)
	if err != nil {
		return measured{}, err
	}
	defer func() {
		if stopErr := s.stop(); err == nil {
			err = stopErr
		}
	}()
	got = measured{setting: setting{source, roundTrip}, Contender: c.name()}
	reference, steps, err := c.release(ctx, s, source)
	if err != nil {
		return measured{}, err
	}
	got.Release = steps
	if got.ReleaseRequests, err = s.requests(); err != nil {
		return measured{}, err
	}
	if got.Verify, err = c.verify(ctx, s, reference); err != nil {
		return measured{}, err
	}
	all, err := s.requests()
	got.VerifyRequests = all - got.ReleaseRequests
	return got, err
}
