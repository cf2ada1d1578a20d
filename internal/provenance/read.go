package provenance

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/hallmark-sh/hallmark/internal/evidence"
)

// MaxSize is the size of a provenance predicate, in bytes. The largest known
// are SLSA v0.2 ones that hold a whole GitHub event.
const MaxSize = 4 << 20

const (
	maxDependencies = 4096
	maxText         = 2048
)

// Claim is what a provenance says, in the words of no version. A field is
// empty when the provenance does not say it.
type Claim struct {
	// Version is the version of SLSA's schema: v1 or v0.2.
	Version   string
	BuildType string
	BuilderID string
	// Repository is the source repository as an https URL, Ref the full git
	// ref it was built from, Commit the full commit.
	Repository string
	Ref        string
	Commit     string
	// WorkflowPath is the path of the workflow in Repository, WorkflowRef the
	// ref it was taken from.
	WorkflowPath string
	WorkflowRef  string
	// RunURI is the run that built, as GitHub's certificates name it.
	RunURI string
	// Event, RepositoryID, OwnerID and Runner are GitHub's event name, ids
	// and runner environment.
	Event        string
	RepositoryID string
	OwnerID      string
	Runner       string
	// Unknown lists the external parameters that the build type does not
	// have, or that could steer the build in ways no policy speaks of,
	// sorted.
	Unknown []string
	// Dependencies are what the build read, the source among them.
	Dependencies []Dependency
	// Dirty says that the source was not exactly Commit.
	Dirty bool
}

// Read reads a SLSA provenance predicate of version 1 or 0.2 strictly: see
// evidence.Strict. Build types it does not know are read as far as the schema
// goes, with all their external parameters unknown.
func Read(predicateType string, raw []byte) (Claim, error) {
	c, err := read(predicateType, raw)
	if err != nil {
		return Claim{}, fmt.Errorf("reading provenance: %w", err)
	}
	return c, nil
}

func read(predicateType string, raw []byte) (c Claim, err error) {
	if len(raw) > MaxSize {
		return Claim{}, fmt.Errorf("%d bytes are more than the %d allowed", len(raw), MaxSize)
	}
	if err := evidence.Strict(raw); err != nil {
		return Claim{}, err
	}
	switch predicateType {
	case evidence.Provenance:
		c, err = readV1(raw)
	case evidence.ProvenanceV02:
		c, err = readV02(raw)
	default:
		return Claim{}, fmt.Errorf("predicate type %.80q is not SLSA provenance v1 or v0.2", predicateType)
	}
	if err != nil {
		return Claim{}, err
	}
	slices.Sort(c.Unknown)
	return c, c.check()
}

// check refuses a claim that names no build, and text that could not be shown.
func (c Claim) check() error {
	switch {
	case c.BuildType == "":
		return errors.New("no build type")
	case c.BuilderID == "":
		return errors.New("no builder id")
	case len(c.Dependencies) > maxDependencies:
		return fmt.Errorf("%d dependencies are more than the %d allowed", len(c.Dependencies), maxDependencies)
	}
	for _, text := range append([]string{
		c.BuildType, c.BuilderID, c.Repository, c.Ref, c.Commit, c.WorkflowPath, c.WorkflowRef, c.RunURI,
		c.Event, c.RepositoryID, c.OwnerID, c.Runner,
	}, c.Unknown...) {
		if len(text) > maxText {
			return fmt.Errorf("%.40q... is longer than %d bytes", text, maxText)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }) {
			return fmt.Errorf("%.80q has characters that cannot be shown", text)
		}
	}
	return nil
}

func readV1(raw []byte) (Claim, error) {
	var p struct {
		BuildDefinition struct {
			BuildType            string                     `json:"buildType"`
			ExternalParameters   map[string]json.RawMessage `json:"externalParameters"`
			InternalParameters   json.RawMessage            `json:"internalParameters"`
			ResolvedDependencies []Dependency               `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
		RunDetails v1Run `json:"runDetails"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return Claim{}, err
	}
	c := Claim{
		Version:      "v1",
		BuildType:    p.BuildDefinition.BuildType,
		BuilderID:    p.RunDetails.Builder.ID,
		Dependencies: p.BuildDefinition.ResolvedDependencies,
	}
	if p.RunDetails.Metadata != nil {
		c.RunURI = p.RunDetails.Metadata.InvocationID
	}
	external := p.BuildDefinition.ExternalParameters
	var err error
	switch c.BuildType {
	case GitHubWorkflow, FirstWorkflow:
		err = c.readWorkflow(external, p.BuildDefinition.InternalParameters)
	case Local:
		err = c.readLocal(external)
	default:
		for key := range external {
			c.Unknown = append(c.Unknown, key)
		}
	}
	if err != nil {
		return Claim{}, err
	}
	return c, c.readSource("gitCommit")
}

func (c *Claim) readWorkflow(external map[string]json.RawMessage, internal json.RawMessage) error {
	var workflow githubWorkflow
	if err := c.part(external, "workflow", &workflow, "ref", "repository", "path"); err != nil {
		return err
	}
	c.others(external, "workflow")
	c.Repository, c.WorkflowPath, c.WorkflowRef = workflow.Repository, workflow.Path, workflow.Ref
	if internal == nil {
		return nil
	}
	var inside githubInternal
	if err := json.Unmarshal(internal, &inside); err != nil {
		return fmt.Errorf("internal parameters: %w", err)
	}
	run := inside.GitHub
	c.Event, c.RepositoryID, c.OwnerID, c.Runner = run.EventName, run.RepositoryID, run.RepositoryOwnerID, run.RunnerEnvironment
	return nil
}

func (c *Claim) readLocal(external map[string]json.RawMessage) error {
	var src localSource
	if err := c.part(external, "source", &src, "repository", "ref", "dirty"); err != nil {
		return err
	}
	var build localBuild
	if err := c.part(external, "build", &build, "kind", "parameters"); err != nil {
		return err
	}
	c.others(external, "source", "build")
	c.Repository, c.Ref, c.Dirty = src.Repository, src.Ref, src.Dirty
	return nil
}

// part reads one external parameter that is an object of the given keys; any
// other key in it is unknown.
func (c *Claim) part(external map[string]json.RawMessage, name string, into any, keys ...string) error {
	if external[name] == nil {
		return fmt.Errorf("no external parameter %s", name)
	}
	if err := json.Unmarshal(external[name], into); err != nil {
		return fmt.Errorf("external parameter %s: %w", name, err)
	}
	members, err := evidence.Members(external[name])
	if err != nil {
		return fmt.Errorf("external parameter %s: %w", name, err)
	}
	for key := range members {
		if !slices.Contains(keys, key) {
			c.Unknown = append(c.Unknown, name+"."+key)
		}
	}
	return nil
}

// others notes the external parameters besides the known ones. Those without
// content, such as an empty inputs object, say nothing and are passed over.
func (c *Claim) others(external map[string]json.RawMessage, known ...string) {
	for key, value := range external {
		if slices.Contains(known, key) || isEmpty(value) {
			continue
		}
		c.Unknown = append(c.Unknown, key)
	}
}

func isEmpty(value json.RawMessage) bool {
	switch string(value) {
	case "null", "{}", "[]", `""`:
		return true
	}
	return false
}

// readSource finds the source among the dependencies: the one git repository,
// or the one that is Repository when there are several.
func (c *Claim) readSource(algorithm string) error {
	var found []Dependency
	for _, d := range c.Dependencies {
		repository, _ := splitGit(d.URI)
		named := c.Repository != "" && repository == c.Repository
		if c.Repository == "" && d.Digest[algorithm] != "" || named {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 0 || c.Repository == "" && len(found) > 1:
		return nil
	case len(found) > 1:
		return fmt.Errorf("%d dependencies are the source's repository", len(found))
	}
	repository, ref := splitGit(found[0].URI)
	c.Commit = found[0].Digest[algorithm]
	if c.Repository == "" {
		c.Repository = repository
	}
	switch {
	case c.Ref == "":
		c.Ref = ref
	case ref != "" && ref != c.Ref:
		return fmt.Errorf("the source's ref is %q in one place and %q in another", c.Ref, ref)
	}
	return nil
}

// splitGit takes git+https://host/owner/name@ref apart. A ref may hold an @ of
// its own; a host and a path here may not.
func splitGit(uri string) (repository, ref string) {
	uri, ok := strings.CutPrefix(uri, "git+")
	if !ok {
		return "", ""
	}
	repository, ref, _ = strings.Cut(uri, "@")
	return repository, ref
}
