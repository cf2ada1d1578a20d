package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// Announce records the events of an import; see store.Store.
func (s *Store) Announce(ctx context.Context, n int64, events []store.Event) (first bool, err error) {
	err = s.locked(ctx, func(c *change) error {
		marked, err := c.Exec(ctx, `UPDATE imports SET announced = true WHERE n = $1 AND done AND NOT announced`, n)
		if err != nil {
			return err
		}
		if first = marked.RowsAffected() > 0; !first {
			return nil
		}
		for _, e := range events {
			c.writes.Queue(`INSERT INTO events (id, at, body, tries, reason, due, delivered) VALUES ($1, $2, $3, 0, '', 0, false)
				ON CONFLICT (id) DO NOTHING`, e.ID, micro(e.At), notNil(e.Body))
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("announcing import %d: %w", n, err)
	}
	return first, nil
}

const eventColumns = `id, at, body, tries, reason, delivered`

func scanEvent(row scannable) (store.Event, error) {
	var e store.Event
	var at int64
	err := row.Scan(&e.ID, &at, &e.Body, &e.Tries, &e.Reason, &e.Delivered)
	e.At = moment(at)
	return e, err
}

// Events lists events, the newest first.
func (s *Store) Events(ctx context.Context, limit int) ([]store.Event, error) {
	var list []store.Event
	err := s.read(ctx, func(tx pgx.Tx) error {
		return each(ctx, tx, func(e store.Event) error { list = append(list, e); return nil }, scanEvent,
			`SELECT `+eventColumns+` FROM events ORDER BY at DESC, id LIMIT $1`, limit)
	})
	if err != nil {
		return nil, fmt.Errorf("listing events: %w", err)
	}
	return list, nil
}

// Claim lends an event to be delivered; see store.Store.
func (s *Store) Claim(ctx context.Context, now time.Time, lease time.Duration) (claimed *store.Event, err error) {
	err = s.locked(ctx, func(c *change) error {
		claimed, err = one(c.QueryRow(ctx, `SELECT `+eventColumns+` FROM events WHERE NOT delivered AND due <= $1 ORDER BY due, at, id LIMIT 1`, micro(now)), scanEvent)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		c.writes.Queue(`UPDATE events SET due = $1 WHERE id = $2`, micro(now.Add(lease)), claimed.ID)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claiming an event: %w", err)
	}
	return claimed, nil
}

// Delivered ends or postpones an event's delivery; see store.Store.
func (s *Store) Delivered(ctx context.Context, id, reason string, next time.Time) error {
	err := s.locked(ctx, func(c *change) error {
		statement, args := `UPDATE events SET delivered = true, reason = '' WHERE id = $1`, []any{id}
		if reason != "" {
			statement, args = `UPDATE events SET tries = tries + 1, reason = $1, due = $2 WHERE id = $3`, []any{reason, micro(next), id}
		}
		c.writes.Queue(statement, args...)
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording the delivery of event %s: %w", id, err)
	}
	return nil
}
