package registry

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// StatusError is a registry's refusal of one request.
type StatusError struct {
	Method string
	// URL is the address without query, which may hold secrets.
	URL    string
	Status int
	// Code is the first error code of the answer (distribution specification,
	// "Error Codes"); empty when the answer has none.
	Code string
	// Message is what the registry said, cut to 300 bytes, with credentials
	// and control characters taken out.
	Message string
	// RetryAfter is the wait that the registry asked for; zero when it did not.
	RetryAfter time.Duration
}

// Error names the request, the status and what the registry said.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	for _, part := range []string{e.Code, e.Message} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// IsNotFound says that err is a registry's answer that the thing asked for
// does not exist.
func IsNotFound(err error) bool { return statusOf(err) == http.StatusNotFound }

func statusOf(err error) int {
	var e *StatusError
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// ErrStalled says that a registry kept a request waiting without a sign of
// life.
var ErrStalled = errors.New("the registry does not answer")

// ErrPlainHTTP says that a registry which is not on this machine would have
// been spoken to without encryption.
var ErrPlainHTTP = errors.New("plain http is allowed to loopback addresses only")

// DigestError says that a registry gave or reported something else than what
// was asked for or stored.
type DigestError struct {
	// What was read or written, such as "manifest sha256:..." with its host.
	What      string
	Want, Got v1.Hash
}

// Error names both digests.
func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: the registry answers with digest %s, not %s", e.What, e.Got, e.Want)
}

// TagTakenError says that a tag already stands for another digest.
type TagTakenError struct {
	Tag name.Tag
	// Has is where the tag points, Want where it should.
	Has, Want v1.Hash
}

// Error names both digests.
func (e *TagTakenError) Error() string {
	return fmt.Sprintf("tag %s already stands for %s, not for %s", e.Tag, e.Has, e.Want)
}

// ImmutableTagError says that evidence is stored but cannot be found: the
// registry has no referrers API and refuses to extend the fallback tag that
// takes its place.
type ImmutableTagError struct {
	Tag name.Tag
	// Missing are the manifests that the tag does not list.
	Missing []v1.Hash
	// Err is the refusal.
	Err error
}

// Error names the tag and how much is missing.
func (e *ImmutableTagError) Error() string {
	return fmt.Sprintf("tag %s cannot be overwritten, so %d new referrers stay unlisted: %v", e.Tag, len(e.Missing), e.Err)
}

// Unwrap gives the refusal.
func (e *ImmutableTagError) Unwrap() error { return e.Err }

const messageLimit = 300

var (
	secrets = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}|eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9._-]*|"(token|access_token|refresh_token|password|auth)"\s*:\s*"[^"]*"`)
	control = regexp.MustCompile(`[\x00-\x1f\x7f-\x9f]+`)
)

// tame makes a stranger's text fit for a terminal and a log.
func tame(text string) string {
	text = secrets.ReplaceAllString(text, "[redacted]")
	text = strings.TrimSpace(control.ReplaceAllString(strings.ToValidUTF8(text, "?"), " "))
	if len(text) > messageLimit {
		text = strings.ToValidUTF8(text[:messageLimit], "") + " ..."
	}
	return text
}

// refused makes the error of an answer from its status, headers and body.
func refused(method, address string, a answer) *StatusError {
	e := &StatusError{Method: method, URL: bare(address), Status: a.status, RetryAfter: retryAfter(a.header)}
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &body) == nil && len(body.Errors) > 0 {
		e.Code, e.Message = tame(body.Errors[0].Code), tame(body.Errors[0].Message)
	} else if !strings.Contains(a.header.Get("Content-Type"), "html") {
		e.Message = tame(string(a.body))
	}
	return e
}

// bare is an address without its query and credentials.
func bare(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(unreadable address)"
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return u.String()
}

// sendError is a request that got no answer. That a registry of this machine
// does not speak TLS is not one: plain http is tried beside it.
type sendError struct {
	method, url string
	err         error
}

func (e *sendError) Error() string {
	return fmt.Sprintf("%s %s: %s", e.method, e.url, tame(e.err.Error()))
}
func (e *sendError) Unwrap() error { return e.err }

// tamed is an error whose text may hold what a stranger wrote.
type tamed struct{ err error }

func (t tamed) Error() string { return tame(t.err.Error()) }
func (t tamed) Unwrap() error { return t.err }

// clean turns the errors of the authentication library and of net/http into
// this package's, whose texts hold no secrets.
func clean(err error) error {
	var status *StatusError
	var refusal *transport.Error
	var send *sendError
	switch {
	case err == nil || errors.As(err, &status):
		return err
	case errors.Is(err, ErrPlainHTTP):
		return fmt.Errorf("%w, and https does not work: %w", ErrPlainHTTP, tamed{err})
	case errors.As(err, &send):
		return send
	case errors.As(err, &refusal):
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w: %w", ErrPlainHTTP, tamed{err})
	default:
		return tamed{err}
	}
	status = &StatusError{Status: refusal.StatusCode}
	if refusal.Request != nil {
		status.Method, status.URL = refusal.Request.Method, bare(refusal.Request.URL.String())
	}
	if len(refusal.Errors) > 0 {
		status.Code, status.Message = tame(string(refusal.Errors[0].Code)), tame(refusal.Errors[0].Message)
	}
	return status
}

// explain adds the next step for a person, where there is one.
func explain(err error, repo name.Repository) error {
	if err == nil || hint.Of(err) != "" {
		return err
	}
	host, path := repo.RegistryStr(), repo.RepositoryStr()
	var status *StatusError
	switch {
	case errors.Is(err, ErrPlainHTTP):
		return hint.Add(err, "give %s a certificate (--registry-ca for a private one), or accept the risk with --INSECURE-registry", host)
	case errors.Is(err, ErrStalled):
		return hint.Add(err, "check the network and the proxy on the way to %s, then run again: what was stored stays", host)
	case errors.As(err, new(*net.DNSError)):
		return hint.Add(err, "check the host name %s in the key image of hallmark.yaml, and the network", host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return hint.Add(err, "nothing listens at %s: check the address, or start the registry", host)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return hint.Add(err, "if %s has a private certificate, give its authority with --registry-ca", host)
	case !errors.As(err, &status):
		return err
	}
	switch {
	case status.Status == http.StatusUnauthorized:
		return hint.Add(err, "%s", loginHint(host))
	case status.Status == http.StatusForbidden && isECR(host):
		return hint.Add(err, "the AWS identity needs ecr:BatchGetImage, ecr:GetDownloadUrlForLayer, ecr:BatchCheckLayerAvailability, ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload and ecr:PutImage on repository %s", path)
	case status.Status == http.StatusForbidden:
		return hint.Add(err, "the credentials for %s are valid but may not do this to %s: ask for the right to push, or log in as someone who has it", host, path)
	case status.Code == "NAME_UNKNOWN" && isECR(host):
		return hint.Add(err, "create the repository first: aws ecr create-repository --repository-name %s", path)
	case status.Code == "NAME_UNKNOWN":
		return hint.Add(err, "create the repository %s at %s first, or correct the key image in hallmark.yaml", path, host)
	case status.Status == http.StatusNotFound:
		return hint.Add(err, "check that the repository %s and the tag or digest exist at %s", path, host)
	case status.Status == http.StatusTooManyRequests && status.RetryAfter > 0:
		return hint.Add(err, "%s limits requests: run again in %s; what was stored stays", host, status.RetryAfter)
	case status.Status == http.StatusTooManyRequests:
		return hint.Add(err, "%s limits requests: run again later; what was stored stays", host)
	case status.Status >= 500:
		return hint.Add(err, "%s is in trouble: run again later; what was stored stays", host)
	}
	return err
}

func loginHint(host string) string {
	switch {
	case isECR(host):
		return "no valid AWS credentials were found: check aws sts get-caller-identity, or the role of the job"
	case host == "ghcr.io":
		return "set GITHUB_TOKEN to a token with packages: write, or run docker login ghcr.io"
	}
	return "run docker login " + host
}
