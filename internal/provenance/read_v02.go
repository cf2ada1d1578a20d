package provenance

import (
	"encoding/json"
	"fmt"
	"strings"
)

// v02Predicate is SLSA provenance v0.2 (https://slsa.dev/spec/v0.2/provenance),
// with the environment that slsa-github-generator writes.
type v02Predicate struct {
	Builder    v1Builder `json:"builder"`
	BuildType  string    `json:"buildType"`
	Invocation struct {
		ConfigSource struct {
			URI        string            `json:"uri"`
			Digest     map[string]string `json:"digest"`
			EntryPoint string            `json:"entryPoint"`
		} `json:"configSource"`
		Parameters  json.RawMessage `json:"parameters"`
		Environment struct {
			EventName    string `json:"github_event_name"`
			Ref          string `json:"github_ref"`
			RepositoryID string `json:"github_repository_id"`
			OwnerID      string `json:"github_repository_owner_id"`
			RunID        string `json:"github_run_id"`
			RunAttempt   string `json:"github_run_attempt"`
			SHA1         string `json:"github_sha1"`
		} `json:"environment"`
	} `json:"invocation"`
	Materials []Dependency `json:"materials"`
}

func readV02(raw []byte) (Claim, error) {
	var p v02Predicate
	if err := json.Unmarshal(raw, &p); err != nil {
		return Claim{}, err
	}
	config, env := p.Invocation.ConfigSource, p.Invocation.Environment
	repository, ref := splitGit(config.URI)
	c := Claim{
		Version:      "v0.2",
		BuildType:    p.BuildType,
		BuilderID:    p.Builder.ID,
		Repository:   repository,
		Ref:          ref,
		Commit:       config.Digest["sha1"],
		WorkflowPath: config.EntryPoint,
		WorkflowRef:  ref,
		Event:        env.EventName,
		RepositoryID: env.RepositoryID,
		OwnerID:      env.OwnerID,
		Dependencies: p.Materials,
	}
	if strings.HasPrefix(repository, server+"/") && env.RunID != "" && env.RunAttempt != "" {
		c.RunURI = repository + "/actions/runs/" + env.RunID + "/attempts/" + env.RunAttempt
	}
	for _, said := range []struct{ what, here, there string }{
		{"ref", c.Ref, env.Ref}, {"commit", c.Commit, env.SHA1},
	} {
		if said.here != "" && said.there != "" && said.here != said.there {
			return Claim{}, fmt.Errorf("the source's %s is %.80q in one place and %.80q in another", said.what, said.here, said.there)
		}
	}
	if err := c.readParameters(p.Invocation.Parameters); err != nil {
		return Claim{}, err
	}
	return c, c.checkMaterials()
}

func (c *Claim) readParameters(parameters json.RawMessage) error {
	if parameters == nil || isEmpty(parameters) {
		return nil
	}
	var each map[string]json.RawMessage
	if err := json.Unmarshal(parameters, &each); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	c.others(each)
	return nil
}

// checkMaterials refuses materials that name the source's repository at
// another commit: then the provenance contradicts itself.
func (c *Claim) checkMaterials() error {
	for _, m := range c.Dependencies {
		repository, _ := splitGit(m.URI)
		if repository != "" && repository == c.Repository && m.Digest["sha1"] != c.Commit {
			return fmt.Errorf("the source's commit is %.80q in one place and %.80q in another", c.Commit, m.Digest["sha1"])
		}
	}
	return nil
}
