// Package policy carries hallmark.yaml, the one file that says what a release
// must be: where its image lives, how it is built, what the gate refuses, who
// may sign, which roots are trusted and which evidence must exist.
//
// Release, verify and admission all read this one struct, so they cannot
// disagree about it. Parsing is strict: an unknown key is an error that names
// the line and the nearest known key. The package judges nothing.
package policy

import (
	"fmt"
	"time"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// Policy is one hallmark.yaml.
type Policy struct {
	// Version is the format of the file; 1 is the only one.
	Version int `yaml:"version" json:"version"`
	// Image is the repository, without tag or digest.
	Image      string     `yaml:"image" json:"image"`
	Build      Build      `yaml:"build" json:"build"`
	SBOM       SBOM       `yaml:"sbom" json:"sbom"`
	Advisories Advisories `yaml:"advisories" json:"advisories"`
	Gate       Gate       `yaml:"gate" json:"gate"`
	Identity   Identity   `yaml:"identity" json:"identity"`
	Trust      Trust      `yaml:"trust" json:"trust"`
	// Evidence lists the links that must be present and valid: signature,
	// sbom, scan, provenance. The default is all four.
	Evidence []string `yaml:"evidence" json:"evidence"`
	// Admission says what a cluster admits; see package kyverno.
	Admission Admission `yaml:"admission" json:"admission"`

	// Path is the file the policy was read from; Digest its SHA-256 as
	// "sha256:hex".
	Path   string `yaml:"-" json:"-"`
	Digest string `yaml:"-" json:"-"`
}

// Build says how the image is made. Exactly one of the three is set; with
// none, a Dockerfile in the folder means docker.
type Build struct {
	Docker *DockerBuild `yaml:"docker,omitempty" json:"docker,omitempty"`
	Go     *GoBuild     `yaml:"go,omitempty" json:"go,omitempty"`
	Layout *LayoutBuild `yaml:"layout,omitempty" json:"layout,omitempty"`
}

// DockerBuild builds a Dockerfile through an engine.
type DockerBuild struct {
	// File is the Dockerfile, relative to Context; default Dockerfile.
	File string `yaml:"file,omitempty" json:"file,omitempty"`
	// Context is the folder sent to the engine, relative to the policy file.
	Context string            `yaml:"context,omitempty" json:"context,omitempty"`
	Target  string            `yaml:"target,omitempty" json:"target,omitempty"`
	Args    map[string]string `yaml:"args,omitempty" json:"args,omitempty"`
	// Platform is os/arch[/variant]; default the engine's own.
	Platform string `yaml:"platform,omitempty" json:"platform,omitempty"`
}

// GoBuild builds Go programs with the go tool, without a daemon.
type GoBuild struct {
	// Package is the main package, such as ./cmd/app; default ".".
	Package string `yaml:"package,omitempty" json:"package,omitempty"`
	// Platforms lists os/arch[/variant]; default linux/amd64.
	Platforms []string `yaml:"platforms,omitempty" json:"platforms,omitempty"`
	// Base is an image by digest to build upon, in a registry or, written
	// oci:FOLDER@sha256:..., in an OCI layout; default scratch with CA
	// certificates left out.
	Base string `yaml:"base,omitempty" json:"base,omitempty"`
	// Ldflags and Tags go to the go tool as they are.
	Ldflags string   `yaml:"ldflags,omitempty" json:"ldflags,omitempty"`
	Tags    []string `yaml:"tags,omitempty" json:"tags,omitempty"`
	// Env sets further environment of the go tool, such as GOAMD64=v3.
	Env map[string]string `yaml:"env,omitempty" json:"env,omitempty"`
}

// LayoutBuild takes an image built elsewhere.
type LayoutBuild struct {
	// Path is an OCI layout folder, or a tar of one, or a docker archive.
	Path string `yaml:"path,omitempty" json:"path,omitempty"`
	// Digest is what the image's digest must be, "sha256:hex". For a docker
	// archive, which has no manifest digest, it is the config digest.
	Digest string `yaml:"digest,omitempty" json:"digest,omitempty"`
}

// SBOM says what the document holds.
type SBOM struct {
	// Files adds a component for each file a package owns.
	Files bool `yaml:"files,omitempty" json:"files,omitempty"`
}

// Advisories says where the vulnerability database comes from.
type Advisories struct {
	// From is a database file, an archive, a folder or a URL; empty for
	// grype's usual place.
	From string `yaml:"from,omitempty" json:"from,omitempty"`
	// Signer, when set, is who must have signed the database archive.
	Signer *Identity `yaml:"signer,omitempty" json:"signer,omitempty"`
}

// Gate says which findings stop a release.
type Gate struct {
	// Severity is the least severity that refuses; default critical.
	Severity *finding.Severity `yaml:"severity,omitempty" json:"severity,omitempty"`
	// OnlyFixable lets findings without a known fix through (they are shown).
	OnlyFixable bool `yaml:"only-fixable,omitempty" json:"only-fixable,omitempty"`
	// KEV refuses findings in CISA's catalogue at any severity; default true.
	KEV *bool `yaml:"kev,omitempty" json:"kev,omitempty"`
	// UnknownSeverity is refuse, warn or allow; default warn.
	UnknownSeverity string `yaml:"unknown-severity,omitempty" json:"unknown-severity,omitempty"`
	// MaxDatabaseAge refuses a database built longer ago; default 120h. Zero
	// is not "no limit": there is none.
	MaxDatabaseAge *Duration `yaml:"max-database-age,omitempty" json:"max-database-age,omitempty"`
	// Uncovered is refuse, warn or allow, for an ecosystem of the image that
	// the database has no data for; default refuse.
	Uncovered string `yaml:"uncovered,omitempty" json:"uncovered,omitempty"`
	// Uncomparable is refuse, warn or allow, for packages whose version no
	// range could be compared with; default warn.
	Uncomparable string      `yaml:"uncomparable,omitempty" json:"uncomparable,omitempty"`
	Exceptions   []Exception `yaml:"exceptions,omitempty" json:"exceptions,omitempty"`
	// VEX lists OpenVEX files, relative to the policy file.
	VEX []string `yaml:"vex,omitempty" json:"vex,omitempty"`
}

// Exception lets one finding through until a day, with somebody's name on it.
type Exception struct {
	// ID is the vulnerability, by any of its aliases.
	ID string `yaml:"id" json:"id"`
	// Package is a package name, or a package URL with or without version;
	// required: an exception for a vulnerability everywhere is too wide.
	Package string `yaml:"package" json:"package"`
	// Image limits the exception to one repository; empty for any.
	Image  string `yaml:"image,omitempty" json:"image,omitempty"`
	Reason string `yaml:"reason" json:"reason"`
	Author string `yaml:"author" json:"author"`
	// Expires is the first instant at which the exception no longer holds.
	Expires time.Time `yaml:"expires" json:"expires"`
}

// Identity says whose signature counts. Either Repository and Workflow, for
// GitHub Actions, or Subject, for anything else.
type Identity struct {
	// Issuer is the exact OIDC issuer; default GitHub Actions'.
	Issuer string `yaml:"issuer,omitempty" json:"issuer,omitempty"`
	// Repository is owner/name or https://host/owner/name.
	Repository string `yaml:"repository,omitempty" json:"repository,omitempty"`
	// Workflow is the path of the workflow that signs, such as
	// .github/workflows/release.yml. A reusable workflow of another
	// repository is written owner/name/.github/workflows/file.yml.
	Workflow string `yaml:"workflow,omitempty" json:"workflow,omitempty"`
	// Ref is the git ref the source must come from, such as refs/heads/main;
	// empty for any. A final * stands for the rest of a ref.
	Ref string `yaml:"ref,omitempty" json:"ref,omitempty"`
	// Subject is the exact subject alternative name of the certificate.
	Subject string `yaml:"subject,omitempty" json:"subject,omitempty"`
}

// Trust says which roots are believed.
type Trust struct {
	// Root is public (Sigstore's public instance, by TUF), private or local.
	Root string `yaml:"root,omitempty" json:"root,omitempty"`
	// TrustedRoot is a Sigstore trusted_root.json, for private.
	TrustedRoot string `yaml:"trusted-root,omitempty" json:"trusted-root,omitempty"`
	// SigningConfig is a Sigstore signing_config.json, for private: it names
	// the services to sign with.
	SigningConfig string `yaml:"signing-config,omitempty" json:"signing-config,omitempty"`
	// TUFMirror and TUFRoot name a private TUF repository and its first root.
	TUFMirror string `yaml:"tuf-mirror,omitempty" json:"tuf-mirror,omitempty"`
	TUFRoot   string `yaml:"tuf-root,omitempty" json:"tuf-root,omitempty"`
	// State is the folder of the local trust, for local; default
	// .hallmark/local beside the policy file.
	State string `yaml:"state,omitempty" json:"state,omitempty"`
}

// Duration is a time.Duration written as Go writes it, such as 120h.
type Duration time.Duration

// String writes d as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes d as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q is not written like 120h or 90m", text)
	}
	*d = Duration(v)
	return nil
}
