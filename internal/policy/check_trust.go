package policy

import (
	"errors"
	"regexp"
	"strings"
)

var (
	repositoryForm = regexp.MustCompile(`^(https://[A-Za-z0-9.-]+(:[0-9]+)?/)?[A-Za-z0-9_-]{1,100}/[A-Za-z0-9._-]{1,100}$`)
	workflowForm   = regexp.MustCompile(`^([A-Za-z0-9_-]{1,100}/[A-Za-z0-9._-]{1,100}/)?\.github/workflows/[^/@*\s]+\.ya?ml(@\S+)?$`)
	// addressForm is the URL of a service: https, or http on this machine;
	// without credentials, query and fragment.
	addressForm = regexp.MustCompile(`^(https://[^\s*@?#]+|http://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?(/[^\s*@?#]*)?)$`)
	commitForm  = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// Validate says what is wrong with an identity that was not read from a file,
// such as one given by flags; nil when it names exactly who may sign.
func (i Identity) Validate() error {
	var errs []error
	c := checker{
		report: func(path, message string) { errs = append(errs, errors.New(path+" "+message)) },
		given:  func(string) bool { return false },
	}
	c.identity("identity", i)
	return errors.Join(errs...)
}

func (c checker) identity(path string, i Identity) {
	switch {
	case i.Subject != "" && (i.Repository != "" || i.Workflow != "" || i.Ref != ""):
		c.wrong(path, "has a subject beside repository, workflow or ref; a workflow is named by the latter, anything else by subject")
		return
	case i.Subject != "":
		c.subject(path+".subject", i.Subject)
	case i.Repository != "" || i.Workflow != "":
		c.workflow(path, i)
	default:
		c.wrong(path, "names nobody, so that anybody's signature would count; give repository and workflow, or issuer and subject")
		return
	}
	c.issuer(path+".issuer", i.Issuer)
}

func (c checker) subject(path, subject string) {
	if strings.Contains(subject, "*") {
		c.wrong(path, "is compared as it is; * does not stand for anything")
	}
	if strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		c.wrong(path, "has a space or a control character")
	}
}

func (c checker) workflow(path string, i Identity) {
	switch {
	case i.Repository == "":
		c.wrong(path+".repository", "is missing: the repository the source must come from, owner/name")
	case !repositoryForm.MatchString(i.Repository) || strings.HasSuffix(i.Repository, "/.") || strings.HasSuffix(i.Repository, "/.."):
		c.wrong(path+".repository", "%q is not owner/name or https://host/owner/name", i.Repository)
	case strings.HasSuffix(i.Repository, ".git"):
		c.wrong(path+".repository", "ends in .git; certificates name it without")
	}
	file, pin, pinned := strings.Cut(i.Workflow, "@")
	switch {
	case i.Workflow == "":
		c.wrong(path+".workflow", "is missing: any workflow of the repository could sign; give its path, such as .github/workflows/release.yml")
	case !workflowForm.MatchString(i.Workflow):
		c.wrong(path+".workflow", "%q is not .github/workflows/file.yml, or owner/name/.github/workflows/file.yml for a reusable workflow", i.Workflow)
	case pinned && strings.HasPrefix(file, ".github/"):
		c.wrong(path+".workflow", "has a ref after @; for a workflow of the repository itself, use ref")
	case pinned && !commitForm.MatchString(pin):
		c.ref(path+".workflow", pin)
	}
	if i.Ref != "" {
		c.ref(path+".ref", i.Ref)
	}
}

// ref checks a full git ref, which may end in a *; see git-check-ref-format.
func (c checker) ref(path, ref string) {
	stem := strings.TrimSuffix(ref, "*")
	switch {
	case !strings.HasPrefix(stem, "refs/"):
		c.wrong(path, "%q is not a full ref, such as refs/heads/main or refs/tags/v*", ref)
	case strings.Contains(stem, "*"):
		c.wrong(path, "%q has a * that is not at the end", ref)
	case strings.ContainsAny(stem, " ~^:?[\\") || strings.Contains(stem, "..") || strings.Contains(stem, "//") ||
		strings.Contains(stem, "@{") || strings.HasSuffix(ref, "/") || strings.HasSuffix(ref, ".") || strings.HasSuffix(ref, ".lock") ||
		strings.ContainsFunc(stem, func(r rune) bool { return r < ' ' || r == 0x7f }):
		c.wrong(path, "%q is not a name git gives to a ref", ref)
	}
}

func (c checker) issuer(path, issuer string) {
	if issuer == "" {
		c.wrong(path, "is missing: the OIDC issuer that vouches for the signer, such as %s", GitHubIssuer)
		return
	}
	if !addressForm.MatchString(issuer) {
		c.wrong(path, "is not an https URL; it is compared as it is, without patterns")
	}
}

func (c checker) trust(t Trust) {
	c.oneOf("trust.root", t.Root, RootPublic, RootPrivate, RootLocal)
	for _, only := range []struct{ key, value, root string }{
		{"trusted-root", t.TrustedRoot, RootPrivate},
		{"signing-config", t.SigningConfig, RootPrivate},
		{"tuf-mirror", t.TUFMirror, RootPrivate},
		{"tuf-root", t.TUFRoot, RootPrivate},
		{"state", t.State, RootLocal},
	} {
		if only.value != "" && t.Root != only.root {
			c.wrong("trust."+only.key, "is only for root: %s", only.root)
		}
	}
	if t.Root != RootPrivate {
		return
	}
	switch {
	case t.TrustedRoot == "" && t.TUFMirror == "":
		c.wrong("trust", "root: private needs trusted-root, or tuf-mirror with tuf-root")
	case t.TrustedRoot != "" && t.TUFMirror != "":
		c.wrong("trust.tuf-mirror", "stands beside trusted-root; believe one of them")
	case (t.TUFMirror == "") != (t.TUFRoot == ""):
		c.wrong("trust", "tuf-mirror and tuf-root go together: the mirror is believed from its first root on")
	}
	if t.TUFMirror != "" && !addressForm.MatchString(t.TUFMirror) {
		c.wrong("trust.tuf-mirror", "is not an https URL without a password in it")
	}
}
