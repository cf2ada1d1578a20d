// Command terraform-provider-standin is a Terraform provider that knows the schemas of real ones and nothing of their
// APIs, so that terraform can plan and apply a configuration without an account and without a network.
//
// It is started by terraform under the name of the provider it stands for, terraform-provider-NAME, and reads the schemas
// from the file that HALLMARK_STANDIN_FACTS names. What a real provider computes is unknown when planned, and made up when
// applied, the same each time.
//
// Limits: it has none of the real providers' own checks beyond the schema, and nothing ever forces a replacement. Data
// sources answer with what the configuration says and a few fixed values. Import, functions, ephemeral resources and
// actions are not served.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

var calledAs = regexp.MustCompile(`terraform-provider-([a-z0-9-]+)`)

func run() error {
	name := calledAs.FindStringSubmatch(filepath.Base(os.Args[0]))
	if name == nil {
		return fmt.Errorf("started as %q: want terraform-provider-NAME", os.Args[0])
	}
	text, err := os.ReadFile(os.Getenv("HALLMARK_STANDIN_FACTS"))
	if err != nil {
		return fmt.Errorf("reading HALLMARK_STANDIN_FACTS: %w", err)
	}
	var all map[string]facts
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("reading HALLMARK_STANDIN_FACTS: %w", err)
	}
	for full, f := range all {
		if path.Base(full) != name[1] {
			continue
		}
		p, err := newProvider(f)
		if err != nil {
			return fmt.Errorf("schema of %s: %w", full, err)
		}
		return tf6server.Serve(full, func() tfprotov6.ProviderServer { return p })
	}
	return fmt.Errorf("no facts about %s", name[1])
}
