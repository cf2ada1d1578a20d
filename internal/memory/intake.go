package memory

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// Take takes an image in. It returns when the image is durable and in the
// answers of this replica.
func (m *Memory) Take(ctx context.Context, i Image) (store.Outcome, error) {
	a, err := i.arrival(time.Now().UTC())
	if err != nil {
		return store.Outcome{}, fmt.Errorf("taking in %s: %w", i.Digest, err)
	}
	outcome, err := m.batcher.Put(ctx, a)
	if err != nil {
		return outcome, fmt.Errorf("taking in %s: %w", i.Digest, err)
	}
	return outcome, m.wrote(ctx)
}

// wrote brings this replica's answers to where its own write is.
func (m *Memory) wrote(ctx context.Context) error {
	m.writes.Add(1)
	return m.follow(ctx)
}

// Refuse records that an image's evidence was refused.
func (m *Memory) Refuse(ctx context.Context, r store.Refusal) error {
	r.Last = time.Now().UTC()
	if err := m.Store.Refuse(ctx, r); err != nil {
		return err
	}
	return m.wrote(ctx)
}

// Retire ends the record of an image that is no longer to be answered about.
func (m *Memory) Retire(ctx context.Context, digest v1.Hash) error {
	if err := m.Store.Retire(ctx, digest.String(), time.Now().UTC()); err != nil {
		return err
	}
	return m.wrote(ctx)
}

// AddVEX takes an OpenVEX document in, under a key: another of the same key
// takes its place. It returns false when it is there already.
func (m *Memory) AddVEX(ctx context.Context, key string, document []byte, verified bool) (bool, error) {
	if key == "" {
		key = fmt.Sprintf("sha256:%x", sha256.Sum256(document))
	}
	if _, err := finding.ParseVEX(key, document); err != nil {
		return false, err
	}
	fresh, err := m.Store.PutVEX(ctx, store.VEX{Key: key, Body: document, Verified: verified, At: time.Now().UTC()})
	if err != nil {
		return false, err
	}
	return fresh, m.wrote(ctx)
}

func (m *Memory) refusal(r store.Refusal) {
	digest, err := v1.NewHash(r.Digest)
	if err != nil || !r.Ended.IsZero() {
		return // Of what has no digest, the store alone keeps a list.
	}
	repository, _ := splitName(r.Name)
	m.index.Refuse(index.Refusal{Digest: digest, Repository: repository, Reason: r.Code + ": " + r.Reason, Recorded: r.Last})
}

func (m *Memory) vex(v store.VEX) error {
	document, err := finding.ParseVEX(v.Key, v.Body)
	if err != nil {
		return fmt.Errorf("VEX document %q: %w: %w", v.Key, store.ErrCorrupt, err)
	}
	m.index.AddVEX(index.VEX{Key: v.Key, Document: document, Verified: v.Verified, From: v.At, To: v.Until})
	return nil
}
