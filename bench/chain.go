package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
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

// call is one program of the chain as it is called.
type call struct {
	step    string
	program string
	args    []string
}

func (c chain) run(ctx context.Context, s *servers, source string, env []string) (string, []step, error) {
	image := map[string]string{fromLayout: "oci-dir:" + c.layout, fromArchive: "docker-archive:" + c.archive}[source]
	path := map[string]string{fromLayout: c.layout, fromArchive: c.archive}[source]
	sbom, packages, scan := filepath.Join(s.dir, "sbom.cdx.json"), filepath.Join(s.dir, "sbom.syft.json"), filepath.Join(s.dir, "scan.json")

	// grype reads syft's own format, not CycloneDX, which would add false findings.
	steps, out, err := c.calls(ctx, s, env, []call{
		{"syft", "syft", []string{"scan", "--quiet", "--output", "cyclonedx-json=" + sbom, "--output", "syft-json=" + packages, image}},
		{"grype", "grype", []string{"--quiet", "--fail-on", "critical", "--output", "json", "--file", scan, "sbom:" + packages}},
		{"crane push", "crane", []string{"push", "--insecure", path, s.repository() + ":build"}},
	})
	if err != nil {
		return "", nil, err
	}
	reference := strings.TrimSpace(string(out)) // crane says where it pushed to
	signing := []string{"--yes", "--allow-insecure-registry", "--signing-config", s.signingConfig, "--trusted-root", s.trustedRoot, "--identity-token", s.token}
	attest := func(what, kind, predicate string) call {
		return call{"cosign attest " + what, "cosign", slices.Concat([]string{"attest"}, signing, []string{"--type", kind, "--predicate", predicate, reference})}
	}
	published, _, err := c.calls(ctx, s, nil, []call{
		{"cosign sign", "cosign", slices.Concat([]string{"sign"}, signing, []string{reference})},
		attest("SBOM", "cyclonedx", sbom),
		attest("scan", scanType, scan),
		attest("provenance", "slsaprovenance1", c.provenance),
		{"crane tag", "crane", []string{"tag", "--insecure", reference, c.commits[source]}},
	})
	return reference, append(steps, published...), err
}

// scanType is a predicate type for grype's own report: cosign's vuln type has another shape.
const scanType = "https://example.com/grype-report/v1"

func (c chain) verify(ctx context.Context, s *servers, reference string) ([]step, error) {
	who := []string{"--allow-insecure-registry", "--trusted-root", s.trustedRoot, "--certificate-identity", certificateIdentity, "--certificate-oidc-issuer", s.issuer}
	attested := func(what, kind string) call {
		return call{"cosign verify-attestation " + what, "cosign", slices.Concat([]string{"verify-attestation"}, who, []string{"--type", kind, reference})}
	}
	steps, _, err := c.calls(ctx, s, nil, []call{
		{"cosign verify", "cosign", slices.Concat([]string{"verify"}, who, []string{reference})},
		attested("SBOM", "cyclonedx"),
		attested("scan", scanType),
		attested("provenance", "slsaprovenance1"),
	})
	return steps, err
}

// calls runs programs one after the other and returns what each cost and what the last one said.
func (c chain) calls(ctx context.Context, s *servers, env []string, calls []call) (steps []step, said []byte, err error) {
	for _, each := range calls {
		cmd, err := peers.Command(ctx, c.home, each.program, each.args...)
		if err != nil {
			return nil, nil, err
		}
		own := slices.Concat(cmd.Env, []string{"GRYPE_DB_CACHE_DIR=" + c.advisories}, env)
		out, cost, err := measure(ctx, command{step: each.step, path: cmd.Path, args: each.args, dir: s.dir, env: own})
		if err != nil {
			return nil, nil, err
		}
		steps, said = append(steps, cost), out
	}
	return steps, said, nil
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
