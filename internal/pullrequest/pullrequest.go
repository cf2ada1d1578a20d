// Package pullrequest keeps one comment on a GitHub pull request: it writes it
// the first time and edits it after that, so that a pull request of many
// pushes is not filled with old news.
//
// It hides GitHub's API. It reads nothing of the pull request but the comments,
// and of those trusts none: another's comment with the same mark is left alone,
// because the token may edit only what its own identity wrote.
package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-github/v88/github"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// mark is in the comment, unseen, for the next run to find it by.
const mark = "<!-- hallmark -->"

// maxComment is the longest comment GitHub takes, in bytes, with some to spare.
const maxComment = 65000

// Options say where GitHub is and who comments.
type Options struct {
	// API is the base URL, such as https://api.github.com.
	API string
	// Token is the job's own, with the permission pull-requests: write.
	Token string
	// Pause is the wait before a second try; 0 for a second.
	Pause time.Duration
	// Transport carries the requests; nil for http.DefaultTransport.
	Transport http.RoundTripper
}

// Comment sets hallmark's comment on pull request number of repository, which
// is owner/name, and gives its address. A text that is too long is cut at a
// line, and says so.
func Comment(ctx context.Context, repository string, number int, text string, o Options) (string, error) {
	owner, name, ok := strings.Cut(repository, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return "", fmt.Errorf("%q is not a repository as owner/name", repository)
	}
	client, err := newClient(o)
	if err != nil {
		return "", err
	}
	if o.Pause == 0 {
		o.Pause = time.Second
	}
	k := keeper{client.Issues, owner, name, number, o.Pause}
	address, err := k.set(ctx, mark+"\n"+cut(text))
	if err != nil {
		return "", fmt.Errorf("commenting on pull request %d of %s: %w", number, repository, explain(err))
	}
	return address, nil
}

func newClient(o Options) (*github.Client, error) {
	base, err := url.Parse(strings.TrimSuffix(o.API, "/") + "/")
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("%q is not the address of GitHub's API", o.API)
	}
	if o.Token == "" {
		return nil, hint.Add(errors.New("there is no token to comment with"), "set GITHUB_TOKEN, from a job with the permission pull-requests: write")
	}
	at := base.String()
	options := []github.ClientOptionsFunc{github.WithURLs(&at, &at), github.WithAuthToken(o.Token), github.WithTimeout(30 * time.Second)}
	if o.Transport != nil {
		options = append(options, github.WithTransport(o.Transport))
	}
	return github.NewClient(options...)
}

// keeper is one comment under way.
type keeper struct {
	issues      *github.IssuesService
	owner, name string
	number      int
	pause       time.Duration
}

func (k keeper) set(ctx context.Context, text string) (string, error) {
	body := &github.IssueComment{Body: &text}
	old, err := k.find(ctx)
	if err != nil {
		return "", err
	}
	for _, id := range old {
		written, err := retried(ctx, k.pause, func() (*github.IssueComment, *github.Response, error) {
			return k.issues.EditComment(ctx, k.owner, k.name, id, body)
		})
		if err == nil {
			return written.GetHTMLURL(), nil
		}
		// Somebody else's, with the mark: not ours to edit.
		if status(err) != http.StatusForbidden && status(err) != http.StatusNotFound {
			return "", err
		}
	}
	// Not repeated: an answer that was lost would leave two comments.
	written, _, err := k.issues.CreateComment(ctx, k.owner, k.name, k.number, body)
	return written.GetHTMLURL(), err
}

// find lists the comments that carry the mark, oldest first.
func (k keeper) find(ctx context.Context) (ids []int64, err error) {
	page := &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: 100}}
	for {
		var next int
		comments, err := retried(ctx, k.pause, func() ([]*github.IssueComment, *github.Response, error) {
			all, response, err := k.issues.ListComments(ctx, k.owner, k.name, k.number, page)
			if response != nil {
				next = response.NextPage
			}
			return all, response, err
		})
		if err != nil {
			return nil, err
		}
		for _, c := range comments {
			if strings.HasPrefix(c.GetBody(), mark) {
				ids = append(ids, c.GetID())
			}
		}
		if next == 0 {
			return ids, nil
		}
		page.Page = next
	}
}

// retried asks again what may pass. Requests must be safe to repeat.
func retried[T any](ctx context.Context, pause time.Duration, ask func() (T, *github.Response, error)) (T, error) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = pause
	return backoff.Retry(ctx, func() (T, error) {
		answer, response, err := ask()
		if err != nil && response != nil && response.StatusCode != http.StatusTooManyRequests && response.StatusCode < 500 {
			return answer, backoff.Permanent(err)
		}
		return answer, err
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(4))
}

func status(err error) int {
	var e *github.ErrorResponse
	if errors.As(err, &e) && e.Response != nil {
		return e.Response.StatusCode
	}
	return 0
}

// explain adds the next step.
func explain(err error) error {
	switch status(err) {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return hint.Add(err, "give the job the permission pull-requests: write; a run for a pull request from a fork never has it")
	}
	return err
}

// cut shortens a text to what GitHub takes.
func cut(text string) string {
	if len(text) <= maxComment {
		return text
	}
	const note = "\n\nThis was cut: the page of the run has the rest.\n"
	text = text[:maxComment-len(note)]
	if at := strings.LastIndexByte(text, '\n'); at > 0 {
		text = text[:at]
	}
	return text + note
}
