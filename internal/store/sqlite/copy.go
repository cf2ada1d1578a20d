package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/store"
)

// Dump gives the store's content; see store.Store.
func (s *Store) Dump(ctx context.Context, give func(store.TableRow) error) error {
	err := s.read(ctx, func(tx *sql.Tx) error {
		for number, table := range store.Tables() {
			statement := fmt.Sprintf("SELECT %s FROM %s ORDER BY %s", strings.Join(columnNames(table), ", "), table.Name, table.Key)
			err := query(ctx, tx, func(rows *sql.Rows) error {
				values, places := make([]any, len(table.Columns)), make([]any, len(table.Columns))
				for i := range values {
					places[i] = &values[i]
				}
				if err := rows.Scan(places...); err != nil {
					return err
				}
				for i, c := range table.Columns {
					if n, ok := values[i].(int64); ok && c.Flag {
						values[i] = n != 0
					}
					if b, _ := values[i].([]byte); c.Bytes {
						values[i] = notNil(b) // nil is the driver's word for no bytes
					}
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

// Fill puts in what Dump gave, in one transaction; see store.Store.
func (s *Store) Fill(ctx context.Context, rows iter.Seq2[store.TableRow, error]) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	// Not retried: the rows can be had only once.
	err := s.once(ctx, func(tx *sql.Tx) error {
		c, err := readCounters(ctx, tx)
		if err != nil {
			return err
		}
		if c != (counters{}) {
			return errors.New("it is not empty")
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM counters`); err != nil {
			return err
		}
		tables := store.Tables()
		inserts := make([]*sql.Stmt, len(tables))
		for i, table := range tables {
			statement := fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)", table.Name,
				strings.Join(columnNames(table), ", "), strings.Repeat(", ?", len(table.Columns)-1))
			if inserts[i], err = tx.PrepareContext(ctx, statement); err != nil {
				return err
			}
			defer inserts[i].Close()
		}
		for row, err := range rows {
			if err != nil {
				return err
			}
			if _, err := inserts[row.Table].ExecContext(ctx, row.Values...); err != nil {
				return fmt.Errorf("table %s: %w", tables[row.Table].Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("filling the store: %w", kind(err))
	}
	return nil
}

func columnNames(t store.Table) []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}
