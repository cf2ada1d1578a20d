package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/query"
	"github.com/hallmark-sh/hallmark/internal/release"
)

// reportTime bounds what telling the outcome adds to a release.
const reportTime = 10 * time.Second

// report tells a service how a release went. What was released stands and what
// was refused stays refused: that nobody could be told is a note, no failure.
func (a *app) report(ctx context.Context, f releaseFlags, p policy.Policy, result release.Result, failure error) {
	service := f.report
	if service == "" {
		service = a.env.get("HALLMARK_REPORT")
	}
	if service == "" || f.check || ctx.Err() != nil {
		return
	}
	told := query.Release{Repository: p.Image, Commit: result.Source.Commit, Outcome: query.Failed}
	switch {
	case failure == nil:
		told.Outcome, told.Digest = query.Released, result.Built.Digest.String()
	case errors.Is(failure, release.ErrRefused):
		told.Outcome = query.Refused
		for _, r := range result.Decision.Refusals {
			if kind := string(r.Kind); !slices.Contains(told.Reasons, kind) {
				told.Reasons = append(told.Reasons, kind)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	if err := a.tell(ctx, service, told); err != nil {
		a.screen.note("the release is not counted: telling %s of it: %v", redact(service), err)
	}
}

// reportAudience is for whom a workflow run's token is asked, as the access
// rules in docs/memory.md have it.
const reportAudience = "hallmark"

func (a *app) tell(ctx context.Context, service string, told query.Release) error {
	client, end, err := a.client(ctx, memoryFlags{server: service}, toWrite)
	if err != nil {
		return err
	}
	defer end()
	// A token goes to nobody who could be read on the way.
	if client.Token == "" && a.env.get("GITHUB_ACTIONS") == "true" && strings.HasPrefix(service, "https://") {
		run, err := oidc.Detect(oidc.Options{Env: a.env.get})
		if err != nil {
			return err
		}
		token, err := run.Token(ctx, reportAudience)
		if err != nil {
			return fmt.Errorf("obtaining a token: %w", err)
		}
		client.Token = token.Raw()
	}
	return client.Report(ctx, told)
}
