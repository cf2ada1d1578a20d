package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// Dump gives the store's content; see store.Store.
func (s *Store) Dump(ctx context.Context, give func(store.TableRow) error) error {
	err := s.read(ctx, func(tx pgx.Tx) error {
		for number, table := range store.Tables() {
			statement := fmt.Sprintf("SELECT %s FROM %s ORDER BY %s", strings.Join(columnNames(table), ", "), table.Name, table.Key)
			err := query(ctx, tx, func(rows pgx.Rows) error {
				values, err := rows.Values()
				if err != nil {
					return err
				}
				return give(store.TableRow{Table: number, Values: values})
			}, statement)
			if err != nil {
				return fmt.Errorf("table %s: %w", table.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the whole store: %w", err)
	}
	return nil
}

// Fill puts in what Dump gave; see store.Store. The counters come last, so that
// a store that was filled in part is known by them.
func (s *Store) Fill(ctx context.Context, rows iter.Seq2[store.TableRow, error]) error {
	if err := s.fill(ctx, rows); err != nil {
		return fmt.Errorf("filling the store: %w", err)
	}
	return nil
}

func (s *Store) fill(ctx context.Context, rows iter.Seq2[store.TableRow, error]) error {
	err := s.locked(ctx, func(c *change) error {
		var some bool
		err := c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM packages) OR EXISTS (SELECT 1 FROM imports)`).Scan(&some)
		if err == nil && (some || c.counters != (counters{})) {
			err = hint.Add(errors.New("it is not empty"), "a store that was filled in part is emptied by dropping its schema")
		}
		return err
	})
	if err != nil {
		return err
	}
	tables := store.Tables()
	inserts := make([]string, len(tables))
	for i, table := range tables {
		places := make([]string, len(table.Columns))
		for n := range places {
			places[n] = fmt.Sprintf("$%d", n+1)
		}
		inserts[i] = fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) ON CONFLICT (%s) DO NOTHING", table.Name,
			strings.Join(columnNames(table), ", "), strings.Join(places, ", "), table.Key)
		if table.Name == "counters" {
			inserts[i] = `UPDATE counters SET seq = $2, package = $3, image = $4, import = $5 WHERE id = $1`
		}
	}
	var pending []store.TableRow
	flush := func() error {
		err := s.write(ctx, func(tx pgx.Tx) error {
			batch := &pgx.Batch{}
			for _, row := range pending {
				batch.Queue(inserts[row.Table], row.Values...)
			}
			return tx.SendBatch(ctx, batch).Close()
		})
		pending = pending[:0]
		return err
	}
	for row, err := range rows {
		if err != nil {
			return err
		}
		if pending = append(pending, row); len(pending) == atOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func columnNames(t store.Table) []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}
