package policy

import (
	"regexp"
	"strings"
)

// SubjectRegexp is the pattern, anchored at both ends, that the subject
// alternative name of a certificate must match. It is in the syntax of package
// regexp, which Sigstore's policies and Kyverno's read too.
//
// On GitHub Actions the name is the workflow file and the ref it was read at:
//
//	https://github.com/owner/name/.github/workflows/release.yml@refs/heads/main
//
// For a workflow of the source's own repository that ref is the source's, and
// Ref holds for it. For a reusable workflow, written owner/name/path, it is
// the ref or commit the caller names; a policy pins it by writing it after the
// workflow, with an @. Ref then holds only for the source, which
// the certificate names in an extension of its own.
//
// The pattern of an identity that names nobody matches nothing.
func (i Identity) SubjectRegexp() string {
	if i.Subject != "" {
		return "^" + regexp.QuoteMeta(i.Subject) + "$"
	}
	if i.Repository == "" || i.Workflow == "" {
		return "^[^\\s\\S]$"
	}
	file, pin, pinned := strings.Cut(i.Workflow, "@")
	at, base := "refs/.+", i.SourceRepositoryURI()
	if i.reusable() {
		at, base = "(?:refs/.+|[0-9a-f]{40}|[0-9a-f]{64})", "https://"+i.host()
	}
	switch {
	case pinned:
		at = refPattern(pin)
	case i.Ref != "" && !i.reusable():
		at = refPattern(i.Ref)
	}
	return "^" + regexp.QuoteMeta(base+"/"+file+"@") + at + "$"
}

// SourceRepositoryURI is the repository the source must come from, as the
// certificate's Source Repository URI extension (1.3.6.1.4.1.57264.1.12) has
// it; empty for an identity that is not a workflow's.
func (i Identity) SourceRepositoryURI() string {
	if i.Repository == "" {
		return ""
	}
	return "https://" + i.host() + "/" + i.slug()
}

// SourceRefRegexp is the pattern, anchored at both ends, that the ref of the
// source must match, as the certificate's Source Repository Ref extension
// (1.3.6.1.4.1.57264.1.14) has it; empty when any ref will do.
func (i Identity) SourceRefRegexp() string {
	if i.Ref == "" {
		return ""
	}
	return "^" + refPattern(i.Ref) + "$"
}

// refPattern matches one ref, or with a final * every ref that begins so.
func refPattern(ref string) string {
	if prefix, ok := strings.CutSuffix(ref, "*"); ok {
		return regexp.QuoteMeta(prefix) + ".*"
	}
	return regexp.QuoteMeta(ref)
}

// reusable says that the workflow is written with its own repository.
func (i Identity) reusable() bool { return !strings.HasPrefix(i.Workflow, ".github/") }

// host is the server of the repository; github.com when none is written.
func (i Identity) host() string {
	if rest, ok := strings.CutPrefix(i.Repository, "https://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		return host
	}
	return "github.com"
}

// slug is the repository as owner/name.
func (i Identity) slug() string {
	if rest, ok := strings.CutPrefix(i.Repository, "https://"); ok {
		_, slug, _ := strings.Cut(rest, "/")
		return slug
	}
	return i.Repository
}
