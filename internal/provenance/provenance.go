// Package provenance says how an image came to be: it makes the SLSA
// provenance predicate of a release, and reads those of others into one view.
//
// It is pure: no key, no clock, no network. It makes two kinds. On GitHub
// Actions, exactly the fields that GitHub's own attestations have, all from
// the identity token's claims, because those are what the certificate says
// again and a verifier can compare. Anywhere else, hallmark's own build type
// (docs/schemas/provenance-local-v1.md), which claims no SLSA level: it is
// worth what the signer's word is worth.
//
// Reading judges nothing. Whether a claim agrees with the certificate it was
// signed under is package verify's question.
package provenance

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// The build types known by name.
const (
	// GitHubWorkflow is the build type of GitHub's own attestations.
	GitHubWorkflow = "https://actions.github.io/buildtypes/workflow/v1"
	// FirstWorkflow is the name GitHub's first attestations, and npm's, have
	// for the same build type.
	FirstWorkflow = "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1"
	// Local is the build type of a release made outside of a CI whose
	// identity token tells of the build.
	Local = "https://hallmark.sh/buildtypes/local/v1"
	// GeneratorContainer and GeneratorGeneric are slsa-github-generator's, in
	// SLSA v0.2.
	GeneratorContainer = "https://github.com/slsa-framework/slsa-github-generator/container@v1"
	GeneratorGeneric   = "https://github.com/slsa-framework/slsa-github-generator/generic@v1"
)

// LocalBuilder is the builder of build type Local: the machine of whoever
// signed. It names no platform, and so claims none.
const LocalBuilder = "https://hallmark.sh/builders/local"

// server is where the repositories of GitHub's claims live.
const server = "https://github.com"

// v1Predicate is SLSA provenance v1
// (https://slsa.dev/spec/v1.0/provenance#schema).
type v1Predicate struct {
	BuildDefinition v1Definition `json:"buildDefinition"`
	RunDetails      v1Run        `json:"runDetails"`
}

type v1Definition struct {
	BuildType            string       `json:"buildType"`
	ExternalParameters   any          `json:"externalParameters"`
	InternalParameters   any          `json:"internalParameters,omitempty"`
	ResolvedDependencies []Dependency `json:"resolvedDependencies,omitempty"`
}

type v1Run struct {
	Builder  v1Builder   `json:"builder"`
	Metadata *v1Metadata `json:"metadata,omitempty"`
}

type v1Builder struct {
	ID string `json:"id"`
}

type v1Metadata struct {
	InvocationID string `json:"invocationId,omitempty"`
}

// Dependency is something the build read, by digest.
type Dependency struct {
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

type githubExternal struct {
	Workflow githubWorkflow `json:"workflow"`
}

type githubWorkflow struct {
	Ref        string `json:"ref"`
	Repository string `json:"repository"`
	Path       string `json:"path"`
}

type githubInternal struct {
	GitHub githubRun `json:"github"`
}

type githubRun struct {
	EventName         string `json:"event_name"`
	RepositoryID      string `json:"repository_id"`
	RepositoryOwnerID string `json:"repository_owner_id"`
	RunnerEnvironment string `json:"runner_environment"`
}

type localExternal struct {
	Source localSource `json:"source"`
	Build  localBuild  `json:"build"`
}

type localSource struct {
	Repository string `json:"repository,omitempty"`
	Ref        string `json:"ref,omitempty"`
	Dirty      bool   `json:"dirty,omitempty"`
}

type localBuild struct {
	Kind       string         `json:"kind"`
	Parameters map[string]any `json:"parameters,omitempty"`
}

// Predicate makes the SLSA provenance v1 predicate of an image built from src
// and signed under the claims.
//
// When the claims are a GitHub run's, they must be whole, and their commit and
// repository must be the source's: a run that was started for one commit and
// built another would have a certificate that contradicts its provenance. A
// dirty tree is refused there, because GitHub's build type has no way to say
// it.
func Predicate(src source.Source, b image.Built, c oidc.Claims) ([]byte, error) {
	made, err := predicate(src, b, c)
	if err != nil {
		return nil, fmt.Errorf("making provenance of %s: %w", b.Digest, err)
	}
	raw, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("making provenance of %s: %w", b.Digest, err)
	}
	return raw, nil
}

func predicate(src source.Source, b image.Built, c oidc.Claims) (v1Predicate, error) {
	if c.IsWorkflow() {
		return ofWorkflow(src, c)
	}
	return ofMachine(src, b), nil
}

func ofWorkflow(src source.Source, c oidc.Claims) (v1Predicate, error) {
	if err := agree(src, c); err != nil {
		return v1Predicate{}, err
	}
	repository := server + "/" + c.Repository
	// A ref may hold an @ of its own; a path may not.
	path, ref, ok := strings.Cut(strings.TrimPrefix(c.WorkflowRef, c.Repository+"/"), "@")
	if !ok || path == "" || ref == "" {
		return v1Predicate{}, fmt.Errorf("claim workflow_ref %q is not owner/name/path@ref", c.WorkflowRef)
	}
	return v1Predicate{
		BuildDefinition: v1Definition{
			BuildType:          GitHubWorkflow,
			ExternalParameters: githubExternal{githubWorkflow{Ref: ref, Repository: repository, Path: path}},
			InternalParameters: githubInternal{githubRun{
				EventName:         c.EventName,
				RepositoryID:      c.RepositoryID,
				RepositoryOwnerID: c.RepositoryOwnerID,
				RunnerEnvironment: c.RunnerEnvironment,
			}},
			ResolvedDependencies: []Dependency{{
				URI:    "git+" + repository + "@" + c.Ref,
				Digest: map[string]string{"gitCommit": c.SHA},
			}},
		},
		RunDetails: v1Run{
			Builder:  v1Builder{ID: server + "/" + c.JobWorkflowRef},
			Metadata: &v1Metadata{InvocationID: repository + "/actions/runs/" + c.RunID + "/attempts/" + c.RunAttempt},
		},
	}, nil
}

// agree refuses claims that are not about the source at hand.
func agree(src source.Source, c oidc.Claims) error {
	for _, claim := range []struct{ name, value string }{
		{"repository", c.Repository}, {"ref", c.Ref}, {"sha", c.SHA}, {"workflow_ref", c.WorkflowRef},
		{"run_id", c.RunID}, {"run_attempt", c.RunAttempt}, {"event_name", c.EventName},
		{"repository_id", c.RepositoryID}, {"repository_owner_id", c.RepositoryOwnerID}, {"runner_environment", c.RunnerEnvironment},
	} {
		if claim.value == "" {
			return fmt.Errorf("the identity token of %s has no %s claim", c.Issuer, claim.name)
		}
	}
	if c.SHA != src.Commit {
		return hint.Add(fmt.Errorf("the run is for commit %s, the source is at %s", c.SHA, src.Commit),
			"check out the commit of the run: actions/checkout without a ref does")
	}
	// GitHub takes names of repositories in any case.
	if remote := server + "/" + c.Repository; !strings.EqualFold(src.Remote, remote) {
		return hint.Add(fmt.Errorf("the run is for %s, the source's origin is %q", remote, src.Remote),
			"release a repository from a workflow of its own")
	}
	if src.Dirty {
		return hint.Add(fmt.Errorf("the working tree is not exactly commit %s, and GitHub's provenance cannot say so", src.Commit),
			"commit the files, or have git ignore those that the workflow makes: %s", strings.Join(src.DirtyPaths, ", "))
	}
	return nil
}

func ofMachine(src source.Source, b image.Built) v1Predicate {
	commit := Dependency{Digest: map[string]string{"gitCommit": src.Commit}}
	if src.Remote != "" {
		commit.URI = "git+" + src.Remote
		if src.Ref != "" {
			commit.URI += "@" + src.Ref
		}
	}
	definition := v1Definition{
		BuildType: Local,
		ExternalParameters: localExternal{
			Source: localSource{Repository: src.Remote, Ref: src.Ref, Dirty: src.Dirty},
			Build:  localBuild{Kind: b.Builder, Parameters: b.Parameters},
		},
		ResolvedDependencies: []Dependency{commit},
	}
	for _, m := range b.Materials {
		dependency := Dependency{URI: m.URI}
		// An image that only the engine holds has a name and no digest.
		if m.Digest.Hex != "" {
			dependency.Digest = map[string]string{m.Digest.Algorithm: m.Digest.Hex}
		}
		definition.ResolvedDependencies = append(definition.ResolvedDependencies, dependency)
	}
	return v1Predicate{BuildDefinition: definition, RunDetails: v1Run{Builder: v1Builder{ID: LocalBuilder}}}
}
