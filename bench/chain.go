package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/hallmark-sh/hallmark/test/peers"
)

// chain is what teams glue together: each program as its documentation says to call it.
type chain struct{ *input }

func (chain) name() string { return "chain" }

// lean is the chain without file components in its SBOM, which is not what syft does by itself: it gives the chain the same
// document to sign, upload and verify that hallmark has.
func (c chain) lean() contender { return leanChain{c} }

type leanChain struct{ chain }

func (leanChain) name() string { return "chain, SBOM without files" }

func (c leanChain) release(ctx context.Context, s *servers, source string) (string, []step, error) {
	return c.run(ctx, s, source, []string{"SYFT_FILE_METADATA_SELECTION=none"})
}

func (c chain) release(ctx context.Context, s *servers, source string) (string, []step, error) {
	return c.run(ctx, s, source, nil)
}

func (c chain) run(ctx context.Context, s *servers, source string, env []string) (string, []step, error) {
	image := map[string]string{fromLayout: "oci-dir:" + c.layout, fromArchive: "docker-archive:" + c.archive}[source]
	path := map[string]string{fromLayout: c.layout, fromArchive: c.archive}[source]
	sbom, packages, scan := filepath.Join(s.dir, "sbom.cdx.json"), filepath.Join(s.dir, "sbom.syft.json"), filepath.Join(s.dir, "scan.json")

	// grype reads syft's own format, not CycloneDX, which would add false findings.
	steps, err := c.programs(ctx, s, env, [][]string{
		{"syft", "scan", "--quiet", "--output", "cyclonedx-json=" + sbom, "--output", "syft-json=" + packages, image},
		{"grype", "--quiet", "--fail-on", "critical", "--output", "json", "--file", scan, "sbom:" + packages},
	})
	if err != nil {
		return "", nil, err
	}
	push, err := c.peer("crane push", s, nil, "crane", "push", "--insecure", path, s.repository()+":build")
	if err != nil {
		return "", nil, err
	}
	out, pushed, err := measure(ctx, push)
	if err != nil {
		return "", nil, err
	}
	reference := strings.TrimSpace(string(out))
	signing := []string{"--yes", "--allow-insecure-registry", "--signing-config", s.signingConfig, "--trusted-root", s.trustedRoot, "--identity-token", s.token}
	attest := func(kind, predicate string) []string {
		return append(append([]string{"cosign", "attest"}, signing...), "--type", kind, "--predicate", predicate, reference)
	}
	published, err := c.programs(ctx, s, nil, [][]string{
		append(append([]string{"cosign", "sign"}, signing...), reference),
		attest("cyclonedx", sbom),
		attest(scanType, scan),
		attest("slsaprovenance1", c.provenance),
		{"crane", "tag", "--insecure", reference, c.commit},
	})
	return reference, append(append(steps, pushed), published...), err
}

// scanType is a predicate type for grype's own report: cosign's vuln type has another shape.
const scanType = "https://example.com/grype-report/v1"

func (c chain) verify(ctx context.Context, s *servers, reference string) ([]step, error) {
	who := []string{"--allow-insecure-registry", "--trusted-root", s.trustedRoot, "--certificate-identity", certificateIdentity, "--certificate-oidc-issuer", s.issuer}
	attested := func(kind string) []string {
		return append(append([]string{"cosign", "verify-attestation"}, who...), "--type", kind, reference)
	}
	return c.programs(ctx, s, nil, [][]string{
		append(append([]string{"cosign", "verify"}, who...), reference),
		attested("cyclonedx"),
		attested(scanType),
		attested("slsaprovenance1"),
	})
}

// programs runs peers one after the other, each line a program with its arguments, called by its first two words.
func (c chain) programs(ctx context.Context, s *servers, env []string, lines [][]string) ([]step, error) {
	var commands []command
	for _, line := range lines {
		name := line[0] + " " + line[1]
		switch {
		case line[0] == "syft" || line[0] == "grype":
			name = line[0]
		case line[1] == "attest" || line[1] == "verify-attestation":
			name += " " + line[kindAt(line)]
		}
		cmd, err := c.peer(strings.TrimSuffix(name, " "+scanType), s, env, line[0], line[1:]...)
		if err != nil {
			return nil, err
		}
		commands = append(commands, cmd)
	}
	return sequence(ctx, commands)
}

func kindAt(line []string) int {
	for i, word := range line {
		if word == "--type" {
			return i + 1
		}
	}
	return 1
}

func (c chain) peer(step string, s *servers, env []string, name string, args ...string) (command, error) {
	cmd, err := peers.Command(context.Background(), c.home, name, args...)
	if err != nil {
		return command{}, err
	}
	env = append(append(cmd.Env, "GRYPE_DB_CACHE_DIR="+c.advisories), env...)
	return command{step: step, path: cmd.Path, args: args, dir: s.dir, env: env}, nil
}

// provenancePredicate is what a generator would hand to cosign; making it is not measured.
func provenancePredicate(commit string) ([]byte, error) {
	source := "https://github.com/" + repository
	return json.MarshalIndent(map[string]any{
		"buildDefinition": map[string]any{
			"buildType": "https://actions.github.io/buildtypes/workflow/v1",
			"externalParameters": map[string]any{"workflow": map[string]any{
				"ref": branch, "repository": source, "path": workflow,
			}},
			"resolvedDependencies": []any{map[string]any{
				"uri": fmt.Sprintf("git+%s@%s", source, branch), "digest": map[string]any{"gitCommit": commit},
			}},
		},
		"runDetails": map[string]any{
			"builder":  map[string]any{"id": certificateIdentity},
			"metadata": map[string]any{"invocationId": source + "/actions/runs/1/attempts/1"},
		},
	}, "", "  ")
}
