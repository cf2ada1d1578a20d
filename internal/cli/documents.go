package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/release"
)

// writeDocuments writes what a release made for others to read: SBOMs, scan
// report, SARIF, the gate's decision and a summary. It gives the paths.
func writeDocuments(dir string, r release.Result) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, d := range r.Documents {
		name := "sbom.cdx.json"
		if r.Built.IsIndex() && d.Platform != "" {
			name = "sbom-" + strings.ReplaceAll(d.Platform, "/", "-") + ".cdx.json"
		}
		files[name] = d.JSON
	}
	var err error
	if files["scan.json"], err = json.MarshalIndent(r.Report, "", "  "); err != nil {
		return nil, err
	}
	if files["gate.json"], err = json.MarshalIndent(r.Decision, "", "  "); err != nil {
		return nil, err
	}
	if files["scan.sarif"], err = finding.SARIF(r.Report); err != nil {
		return nil, err
	}
	files["summary.md"] = []byte(summaryOf(r))
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if err := replaceFile(path, files[name]); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// replaceFile writes a file so that a reader sees the old one or the new one,
// never a part.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Chmod(tmp.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// tellGitHub appends the summary to the step's page and sets the step's
// outputs, where GitHub Actions names the files for them.
func (a *app) tellGitHub(r release.Result, refused bool) error {
	if path := a.env.get("GITHUB_STEP_SUMMARY"); path != "" {
		if err := appendFile(path, summaryOf(r)); err != nil {
			return err
		}
	}
	path := a.env.get("GITHUB_OUTPUT")
	if path == "" || refused || r.Tag == "" {
		return nil
	}
	return appendFile(path, fmt.Sprintf("image=%s\ndigest=%s\ntag=%s\n", r.Image, r.Image.DigestStr(), r.Tag))
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// helmValues are the values of a chart that takes an image by digest only.
func helmValues(image name.Digest) []byte {
	return fmt.Appendf(nil, "image:\n  repository: %s\n  digest: %s\n", image.Context().Name(), image.DigestStr())
}

// summaryOf is the page a person reads in GitHub's interface.
func summaryOf(r release.Result) string {
	var head string
	if r.Tag != "" {
		head = fmt.Sprintf("### Released\n\n`%s`\n\ntag `%s`; all %d checks pass from the registry\n\n", r.Image, r.Tag, len(r.Verdict.Checks))
	}
	return head + r.Decision.Markdown() + "\n" + r.Report.Markdown()
}
