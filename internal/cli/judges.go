package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/trust"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

type judgement = verify.Options

// anchorTime is how long a trust root is used before it is loaded again.
const anchorTime = 10 * time.Minute

// judge judges one repository's images.
type judge struct {
	policy policy.Policy
	load   func(context.Context) (trust.Anchor, error)
	// told is told of every root that was loaded; it may be nil.
	told func(repository string, root trust.Anchor)

	mu     sync.Mutex
	anchor trust.Anchor
	loaded time.Time
}

// bench is all judges, by repository.
type bench map[string]*judge

// of gives by what images of a repository are judged.
func (b bench) of(ctx context.Context, repository string) (judgement, error) {
	j := b[repository]
	if j == nil {
		return judgement{}, hint.Add(fmt.Errorf("%s: %w", repository, intake.ErrNoPolicy), "name its hallmark.yaml with --policy")
	}
	anchor, err := j.root(ctx)
	return judgement{Policy: j.policy, Anchor: anchor, Now: time.Now()}, err
}

// tell has every root loaded now and then, so that what is told of them does
// not wait for an image, until ctx is done.
func (b bench) tell(ctx context.Context, told func(repository string, root trust.Anchor), failed func(error)) {
	for _, j := range b {
		j.mu.Lock()
		j.told = told
		j.mu.Unlock()
	}
	tick := time.NewTicker(anchorTime)
	defer tick.Stop()
	for {
		for _, j := range b {
			if _, err := j.root(ctx); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// judges gives by what images of a repository are judged: the policy of that
// repository, of those named, or of hallmark.yaml here.
func (a *app) judges(named []string) (bench, error) {
	files, err := a.policyFiles(named)
	if err != nil {
		return nil, err
	}
	var policies []policy.Policy
	for _, file := range files {
		p, err := policy.Read(file)
		if wrong := (*policy.Error)(nil); errors.As(err, &wrong) {
			return nil, misuse{err}
		}
		if err != nil {
			return nil, err
		}
		if p.Path, err = filepath.Abs(file); err != nil {
			return nil, err
		}
		policies = append(policies, p)
	}
	if len(named) == 0 {
		p, err := a.policy(".")
		if err != nil {
			return nil, err
		}
		policies = append(policies, p)
	}
	byRepository := bench{}
	for _, p := range policies {
		repository, err := name.NewRepository(p.Image)
		if err != nil {
			return nil, misuse{fmt.Errorf("%s: image: %w", p.Path, err)}
		}
		if other := byRepository[repository.Name()]; other != nil {
			return nil, misuse{fmt.Errorf("%s and %s are both about %s", other.policy.Path, p.Path, repository)}
		}
		byRepository[repository.Name()] = &judge{policy: p, load: a.anchor(p)}
	}
	return byRepository, nil
}

// root gives the trust root. One that cannot be loaded again is an error: a root
// that was revoked meanwhile must not serve on.
func (j *judge) root(ctx context.Context) (trust.Anchor, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.loaded.IsZero() && time.Since(j.loaded) < anchorTime {
		return j.anchor, nil
	}
	anchor, err := j.load(ctx)
	if err != nil {
		return trust.Anchor{}, fmt.Errorf("loading the trust root of %s: %w", j.policy.Path, err)
	}
	j.anchor, j.loaded = anchor, time.Now()
	if j.told != nil {
		j.told(j.policy.Image, anchor)
	}
	return anchor, nil
}
