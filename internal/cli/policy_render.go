package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/kyverno"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// maxTUFRoot bounds the first root of a TUF repository, in bytes.
const maxTUFRoot = 1 << 20

func (a *app) policyRenderCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write the admission policies for Kyverno that hallmark.yaml means",
		Long: `render writes policies of policies.kyverno.io/v1 for Kyverno 1.19: which images
may run where, what must be proven about the policy's own image, the same for
containers of kubectl debug, and the exemptions. Without -o they go to standard
output as one stream; with -o each becomes a file, and none is written unless
all could be made.

Nothing is applied. Look first at what would be refused:
  hallmark policy test -f deploy/`,
		Example: "  hallmark policy render | kubectl apply --dry-run=server -f -\n  hallmark policy render -o policies/",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.policyRender(out) },
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "`folder` to write the files to, made if it isn't there")
	return cmd
}

func (a *app) policyRender(out string) error {
	p, err := a.policy(".")
	if err != nil {
		return err
	}
	files, err := a.renderPolicies(p)
	if err != nil {
		return err
	}
	if len(p.Admission.Registries) == 0 {
		a.screen.note("hallmark: only %s may run: add-ons, and Kyverno itself, would be refused at their next start; admission.registries lists what else may", p.Image)
	}
	if out != "" {
		return a.writePolicies(out, files)
	}
	if a.flags.json {
		type file struct {
			Name string `json:"name"`
			Data string `json:"data"`
		}
		var list []file
		for _, f := range files {
			list = append(list, file{f.Name, string(f.Data)})
		}
		return a.screen.json(map[string]any{"files": list})
	}
	for i, f := range files {
		if i > 0 {
			a.screen.printf("---\n")
		}
		a.screen.printf("%s", f.Data)
	}
	return nil
}

func (a *app) renderPolicies(p policy.Policy) ([]kyverno.File, error) {
	in := kyverno.Input{Policy: p, Now: time.Now()}
	if path := kyverno.TUFRootFile(p); path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(p.Path), path)
		}
		var err error
		if in.TUFRoot, err = readBounded(path, maxTUFRoot); err != nil {
			return nil, hint.Add(fmt.Errorf("reading the first root of the TUF repository: %w", err), "admission.tuf-root, or trust.tuf-root, names it relative to %s", p.Path)
		}
	}
	return kyverno.Render(in)
}

// writePolicies puts the files into the folder. They are all written beside
// their places first, so that an error leaves what was there.
func (a *app) writePolicies(folder string, files []kyverno.File) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", folder, err)
	}
	stage, err := os.MkdirTemp(folder, ".render-*")
	if err != nil {
		return fmt.Errorf("writing policies: %w", err)
	}
	defer os.RemoveAll(stage)
	names := map[string]bool{}
	for _, f := range files {
		names[f.Name] = true
		if err := os.WriteFile(filepath.Join(stage, f.Name), f.Data, 0o644); err != nil {
			return fmt.Errorf("writing policies: %w", err)
		}
	}
	for _, f := range files {
		path := filepath.Join(folder, f.Name)
		if err := os.Rename(filepath.Join(stage, f.Name), path); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		a.screen.printf("%s\n", path)
	}
	return removeStale(filepath.Join(folder, "exemptions.yaml"), names["exemptions.yaml"])
}

// removeStale removes a file of an earlier rendering that this one doesn't
// have: an exemption that is gone must not stay in the folder.
func removeStale(path string, wanted bool) error {
	if wanted {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), "Rendered by hallmark policy render") {
		return nil
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}
