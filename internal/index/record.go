package index

import (
	"fmt"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// record is one revision of an advisory.
type record struct {
	vulnerability.Record
	key      string
	sum      [32]byte
	from, to int64
	imported string
	releases []string // of each Affected, as resolve gives them
	hits     []uint32 // packages
	doubts   []doubt
}

// row is one Affected of a record.
type row struct {
	record *record
	at     int
}

// hit is one record on one package: the row and the range that hold it.
type hit struct {
	record  *record
	row, at int32
}

// doubt is one record on one package that cannot be compared.
type doubt struct {
	record *record
	pkg    uint32
	reason string
}

// span is when there were rows for an ecosystem.
type span struct {
	from int64
	open int   // rows that still hold
	to   int64 // when the last ended
}

func (r *record) valid(at int64) bool {
	if at == 0 {
		return r.to == 0
	}
	return r.from <= at && (r.to == 0 || at < r.to)
}

func (r *record) overlaps(o *record) bool {
	return (r.to == 0 || o.from < r.to) && (o.to == 0 || r.from < o.to)
}

// sameAs says that two records are about one vulnerability, by name.
func (r *record) sameAs(o *record) bool {
	if strings.EqualFold(r.ID, o.ID) {
		return true
	}
	for _, a := range r.Names() {
		for _, b := range o.Names() {
			if strings.EqualFold(a, b) {
				return true
			}
		}
	}
	return false
}

func newRecord(v Revision) (*record, error) {
	r := &record{Record: v.Record, key: v.Record.Key(), from: nanos(v.From), to: nanos(v.To), imported: v.Import}
	if v.Record.ID == "" || v.Record.Provider == "" {
		return nil, fmt.Errorf("advisory %q has no identifier or no provider", r.key)
	}
	if v.From.IsZero() {
		return nil, fmt.Errorf("advisory %s has no time", r.key)
	}
	var err error
	if r.sum, err = v.Record.Hash(); err != nil {
		return nil, err
	}
	r.releases = make([]string, len(r.Affected))
	for n, a := range r.Affected {
		if a.Distro != "" {
			r.releases[n] = parseRelease(a.Distro).String()
		}
	}
	return r, nil
}
