package peers_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestScannersAreThoseOfHallmark keeps the comparison fair: the peers must run the library code hallmark runs.
func TestScannersAreThoseOfHallmark(t *testing.T) {
	for _, module := range []string{
		"github.com/anchore/syft",
		"github.com/anchore/grype",
		"github.com/anchore/stereoscope",
		"github.com/google/go-containerregistry",
	} {
		ours, theirs := version(t, "../..", module), version(t, "scanners", module)
		if ours != theirs {
			t.Errorf("%s is %s in go.mod and %s in test/peers/scanners/go.mod", module, ours, theirs)
		}
	}
}

func version(t *testing.T, dir, module string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", module)
	cmd.Dir = dir
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("asking for the version of %s in %s: %v\n%s", module, dir, err, complaint.String())
	}
	return strings.TrimSpace(string(out))
}
