package store

import (
	"context"
	"errors"
)

// Column is a column of the portable form of a store, in which a backup holds
// it and a store moves to another driver.
type Column struct {
	Name string
	// Flag is a truth value, Bytes a value of bytes; else it is a number or a
	// text, which need no care.
	Flag, Bytes bool
}

// Table is a table of the portable form.
type Table struct {
	Name    string
	Columns []Column
	// Key is what the rows are ordered by.
	Key string
}

// TableRow is one row of the portable form: values in the order of the table's
// columns, each an int64, a bool, a string or a []byte.
type TableRow struct {
	Table  int
	Values []any
}

// Tables is the portable form. The counters come last: a store whose counters
// are zero was not filled to the end.
func Tables() []Table {
	num := func(n string) Column { return Column{Name: n} }
	flag := func(n string) Column { return Column{Name: n, Flag: true} }
	raw := func(n string) Column { return Column{Name: n, Bytes: true} }
	return []Table{
		{"packages", []Column{num("id"), raw("key"), raw("body"), raw("notes")}, "id"},
		{"images", []Column{num("id"), num("digest"), num("evidence"), flag("verified"), num("names"), num("at"), num("until"), raw("body"), raw("packages")}, "id"},
		{"heads", []Column{num("digest"), num("image")}, "digest"},
		{"refusals", []Column{raw("id"), num("name"), num("digest"), num("code"), num("reason"), num("first"), num("last"), num("times"), num("ended")}, "id"},
		{"imports", []Column{num("n"), num("source"), num("digest"), num("built"), flag("partial"), num("at"), num("row_count"), num("added"), num("removed"), flag("done"), flag("announced")}, "n"},
		{"advisories", []Column{num("name"), num("added"), num("provider"), raw("hash"), num("removed"), raw("body")}, "name, added"},
		{"vex", []Column{num("key"), num("at"), num("until"), flag("verified"), raw("body")}, "key, at"},
		{"changes", []Column{num("seq"), num("kind"), num("ref")}, "seq"},
		{"events", []Column{num("id"), num("at"), raw("body"), num("tries"), num("reason"), num("due"), flag("delivered")}, "id"},
		{"counters", []Column{num("id"), num("seq"), num("package"), num("image"), num("import")}, "id"},
	}
}

// errStopped ends a reading whose rows nobody wants any more.
var errStopped = errors.New("stopped")

// Copy puts everything that is in one store into another, which must be empty,
// and returns how many rows there were.
func Copy(ctx context.Context, to, from Store) (n int, err error) {
	rows := func(yield func(TableRow, error) bool) {
		err := from.Dump(ctx, func(r TableRow) error {
			if !yield(r, nil) {
				return errStopped
			}
			n++
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(TableRow{}, err)
		}
	}
	err = to.Fill(ctx, rows)
	return n, err
}
