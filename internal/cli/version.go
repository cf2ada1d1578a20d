package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker: -X github.com/hallmark-sh/hallmark/internal/cli.version=v1.2.3
var version = "devel"

// libraries are the modules whose versions decide answers.
var libraries = []string{
	"github.com/anchore/syft",
	"github.com/anchore/grype",
	"github.com/sigstore/sigstore-go",
	"github.com/google/go-containerregistry",
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print hallmark's version and those of the libraries that decide answers",
		Example: "  hallmark version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			used := map[string]string{}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, dep := range info.Deps {
					used[dep.Path] = dep.Version
				}
			}
			answer := versionAnswer{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			for _, path := range libraries {
				answer.Libraries = append(answer.Libraries, library{path, used[path]})
			}
			if a.flags.json {
				return a.screen.json(answer)
			}
			a.screen.printf("hallmark %s (%s, %s)\n", answer.Version, answer.Go, answer.Platform)
			for _, l := range answer.Libraries {
				a.screen.printf("  %s %s\n", l.Module, l.Version)
			}
			return nil
		},
	}
}

type versionAnswer struct {
	Version   string    `json:"version"`
	Go        string    `json:"go"`
	Platform  string    `json:"platform"`
	Libraries []library `json:"libraries"`
}

type library struct {
	Module  string `json:"module"`
	Version string `json:"version"`
}
