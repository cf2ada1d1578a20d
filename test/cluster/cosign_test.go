//go:build cluster

package cluster_test

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/test/peers"
)

// cosignRows are of images whose evidence the cosign program made.
func cosignRows() []row {
	return []row{
		{name: "made by cosign", admitted: true, proven: true, image: func(w *world) string {
			ref, c := w.push(), ours()
			w.cosignAs(c, "sign", ref)
			w.cosignAs(c, "attest", ref, "--type", "cyclonedx", "--predicate", w.file("sbom.json", w.sbom(ref, 3).Predicate))
			w.cosignAs(c, "attest", ref, "--type", "slsaprovenance1", "--predicate", w.file("provenance.json", w.provenance(ref, c).Predicate))
			return ref.String()
		}},
		{name: "made by cosign, without a signature", image: func(w *world) string {
			ref, c := w.push(), ours()
			w.cosignAs(c, "attest", ref, "--type", "cyclonedx", "--predicate", w.file("sbom.json", w.sbom(ref, 3).Predicate))
			w.cosignAs(c, "attest", ref, "--type", "slsaprovenance1", "--predicate", w.file("provenance.json", w.provenance(ref, c).Predicate))
			return ref.String()
		}},
		{name: "signed with a key, the rest by the identity", image: func(w *world) string {
			ref := w.push()
			w.cosign("generate-key-pair")
			w.cosign("sign", w.cosignFlags("--key", filepath.Join(w.dir, "cosign.key"), ref.String())...)
			w.attach(ref, w.sign(ours(), w.full(ref, ours())[1:]...))
			return ref.String()
		}},
	}
}

// cosignAs runs cosign with an identity token that claims c.
func (w *world) cosignAs(c oidc.Claims, verb string, ref name.Digest, args ...string) {
	w.t.Helper()
	token, err := w.trust.As(c).Token(w.t.Context(), oidc.Audience)
	if err != nil {
		w.t.Fatal(err)
	}
	args = append(args, "--identity-token", w.file("token", []byte(token.Raw())), ref.String())
	w.cosign(verb, w.cosignFlags(args...)...)
}

func (w *world) cosignFlags(more ...string) []string {
	return append([]string{"--yes", "--allow-insecure-registry",
		"--signing-config", filepath.Join(w.trust.Dir(), localtrust.SigningConfigFile),
		"--trusted-root", filepath.Join(w.trust.Dir(), localtrust.TrustedRootFile)}, more...)
}

func (w *world) cosign(verb string, args ...string) {
	w.t.Helper()
	cmd, err := peers.Command(w.t.Context(), w.dir, "cosign", append([]string{verb}, args...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd.Dir = w.dir
	cmd.Env = append(cmd.Env, "COSIGN_PASSWORD=")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("cosign %s: %v\n%s", strings.Join(append([]string{verb}, args...), " "), err, out)
	}
}

// file writes a file of the world and gives its path.
func (w *world) file(name string, data []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}
