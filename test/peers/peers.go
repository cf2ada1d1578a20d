// Package peers finds and runs the command lines hallmark is measured against: cosign, syft, grype, crane and the
// distribution registry, at the versions this folder's modules pin. `make peers` builds them.
//
// Tests that use it carry the build tag peers.
package peers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Dir is the environment variable that names the folder of the peers' programs, bin/peers of the working tree when set
// by make.
const Dir = "HALLMARK_PEERS"

// Path returns the program of the peer called name, or an error that says how to get it.
func Path(name string) (string, error) {
	dir := os.Getenv(Dir)
	if dir == "" {
		top, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
		if err != nil {
			return "", fmt.Errorf("finding the module's folder: %w", err)
		}
		dir = filepath.Join(string(bytes.TrimSpace(top)), "bin", "peers")
	}
	program := filepath.Join(dir, name)
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("finding the peer %s: %w: run make peers", name, err)
	}
	return program, nil
}

// Need returns the program of the peer called name, or fails the test.
func Need(tb testing.TB, name string) string {
	tb.Helper()
	program, err := Path(name)
	if err != nil {
		tb.Fatal(err)
	}
	return program
}

// Command prepares a run of the peer called name, with nothing of the user's settings: no HOME, no proxy, no update
// check, no telemetry. Add to its Env what the run needs.
func Command(ctx context.Context, home, name string, args ...string) (*exec.Cmd, error) {
	program, err := Path(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{
		"HOME=" + home,
		"PATH=" + os.Getenv("PATH"),
		"DOCKER_CONFIG=" + filepath.Join(home, ".docker"),
		"SYFT_CHECK_FOR_APP_UPDATE=false",
		"GRYPE_CHECK_FOR_APP_UPDATE=false",
		"GRYPE_DB_AUTO_UPDATE=false",
	}
	return cmd, nil
}
