package oidc

import (
	"encoding/json"
	"errors"
)

// Claims is what a token says about who holds it: the subject, and for GitHub
// Actions the run that asked for it
// (https://docs.github.com/en/actions/reference/security/oidc).
type Claims struct {
	Issuer        string `json:"iss"`
	Subject       string `json:"sub"`
	Email         string `json:"email,omitempty"`
	EmailVerified truth  `json:"email_verified,omitempty"`

	// Repository is owner/name.
	Repository           string `json:"repository,omitempty"`
	RepositoryID         string `json:"repository_id,omitempty"`
	RepositoryOwner      string `json:"repository_owner,omitempty"`
	RepositoryOwnerID    string `json:"repository_owner_id,omitempty"`
	RepositoryVisibility string `json:"repository_visibility,omitempty"`
	// Ref is the git ref that started the run and SHA its commit.
	Ref string `json:"ref,omitempty"`
	SHA string `json:"sha,omitempty"`
	// Workflow is the name of the workflow, which its author may set at will.
	Workflow string `json:"workflow,omitempty"`
	// WorkflowRef is owner/name/path@ref of the workflow that was started, and
	// JobWorkflowRef that of the workflow which holds the job: another one
	// when the job is in a reusable workflow.
	WorkflowRef       string `json:"workflow_ref,omitempty"`
	WorkflowSHA       string `json:"workflow_sha,omitempty"`
	JobWorkflowRef    string `json:"job_workflow_ref,omitempty"`
	JobWorkflowSHA    string `json:"job_workflow_sha,omitempty"`
	EventName         string `json:"event_name,omitempty"`
	RunID             string `json:"run_id,omitempty"`
	RunAttempt        string `json:"run_attempt,omitempty"`
	RunnerEnvironment string `json:"runner_environment,omitempty"`
}

// IsWorkflow says that the claims are those of a GitHub Actions run.
func (c Claims) IsWorkflow() bool { return c.JobWorkflowRef != "" }

// Identity names the holder as the certificate's subject alternative name
// will: the workflow's URL, the e-mail address, or else the subject.
func (c Claims) Identity() string {
	switch {
	case c.IsWorkflow():
		return "https://github.com/" + c.JobWorkflowRef
	case c.Email != "":
		return c.Email
	default:
		return c.Subject
	}
}

// truth is a boolean that some issuers write as a string.
type truth bool

func (t *truth) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `true`, `"true"`:
		*t = true
	case `false`, `"false"`:
		*t = false
	default:
		return errors.New("email_verified is neither true nor false")
	}
	return nil
}

func (t truth) MarshalJSON() ([]byte, error) { return json.Marshal(bool(t)) }
