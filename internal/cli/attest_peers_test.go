//go:build peers

package cli_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/cli"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/test/peers"
)

// Stock cosign verifies the provenance of a file that hallmark attests, and
// refuses it for another file.
func TestCosignVerifiesAttestedFile(t *testing.T) {
	dir := t.TempDir()
	app, archive := filepath.Join(dir, "app"), filepath.Join(dir, "app.tar.gz")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(archive, "an archive")
	write(filepath.Join(app, "hallmark.yaml"), "version: 1\nimage: ghcr.io/acme/app\nidentity: {repository: acme/app, workflow: .github/workflows/publish.yml}\n"+
		"trust: {root: local, state: "+filepath.Join(dir, "trust")+"}\n")
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"}, {"remote", "add", "origin", "https://github.com/acme/app"}, {"add", "--all"},
		{"-c", "user.name=T", "-c", "user.email=t@example.test", "commit", "--quiet", "--message", "work"},
	} {
		if out, err := exec.Command("git", append([]string{"-C", app}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	t.Chdir(app)
	if code := cli.Main(context.Background(), []string{"attest", archive}, cli.Standard(), os.Environ()); code != 0 {
		t.Fatalf("attest exits with %d", code)
	}
	verify := func(file string) error {
		cmd, err := peers.Command(t.Context(), t.TempDir(), "cosign", "verify-blob-attestation", "--bundle", archive+".sigstore.json", "--type", "slsaprovenance1",
			"--trusted-root", filepath.Join(dir, "trust", localtrust.TrustedRootFile), "--certificate-oidc-issuer", localtrust.Issuer,
			"--certificate-identity", "https://github.com/acme/app/.github/workflows/publish.yml@refs/heads/main", file)
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		return err
	}
	if err := verify(archive); err != nil {
		t.Error(err)
	}
	write(archive+".other", "another archive")
	if err := verify(archive + ".other"); err == nil {
		t.Error("cosign verifies another file")
	}
}
