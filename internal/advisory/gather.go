package advisory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	v6 "github.com/anchore/grype/grype/db/v6"
	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/advisory/osv"
)

// gathered is all that the sources say, in an order that depends on them only.
type gathered struct {
	records  []parsed
	claims   []claim
	kev      []v6.KnownExploitedVulnerabilityBlob
	table    map[string]rated
	problems []Problem
	// digests are the SHA-256 of the inputs that are not records, by provider.
	digests map[string][sha256.Size]byte
}

// parsed is one OSV record, converted.
type parsed struct {
	seq      int
	record   osv.Record // Affected is dropped once converted
	vuln     *vulnerability
	claims   []claim
	problems []Problem
}

func gather(ctx context.Context, sources []Source, progress func(string)) (*gathered, error) {
	g := &gathered{table: map[string]rated{}, digests: map[string][sha256.Size]byte{}}
	for _, s := range sources {
		progress(fmt.Sprintf("reading %s advisories from %s", s.Kind, s.Path))
		var err error
		switch s.Kind {
		case OSV:
			err = g.readOSV(ctx, s)
		case DebianList, KEV, CVSS:
			err = g.readTable(ctx, s)
		default:
			err = fmt.Errorf("reading %s: unknown kind of source %q", s.Path, s.Kind)
		}
		if err != nil {
			return nil, err
		}
	}
	return g, nil
}

// readOSV reads the records of one source, decoding side by side.
func (g *gathered) readOSV(ctx context.Context, s Source) error {
	type job struct {
		seq  int
		name string
		data []byte
	}
	jobs := make(chan job, runtime.GOMAXPROCS(0))
	base := len(g.records)
	var mu sync.Mutex
	var results []parsed
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for j := range jobs {
				p := parse(path.Join(path.Base(s.Path), j.name), j.data)
				p.seq = base + j.seq
				mu.Lock()
				results = append(results, p)
				mu.Unlock()
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(jobs)
		seq := 0
		return s.walk(ctx, func(name string, r io.Reader) error {
			if !osv.IsRecordName(name) {
				return nil
			}
			data, err := io.ReadAll(io.LimitReader(r, osv.MaxSize+1))
			if err != nil {
				return fmt.Errorf("reading %s in %s: %w", name, s.Path, err)
			}
			seq++
			select {
			case jobs <- job{seq, name, data}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	if err := group.Wait(); err != nil {
		return err
	}
	slices.SortFunc(results, func(a, b parsed) int { return a.seq - b.seq })
	g.records = append(g.records, results...)
	return nil
}

func parse(source string, data []byte) parsed {
	r, err := osv.Decode(source, data)
	if err != nil {
		return parsed{record: r, problems: []Problem{{Source: source, ID: r.ID, Reason: err.Error(), Lost: true}}}
	}
	p := parsed{record: r}
	p.vuln, p.problems = language(r, source)
	var more []Problem
	p.claims, more = distroClaims(r, source)
	p.problems = append(p.problems, more...)
	sum := sha256.Sum256(data)
	p.vuln.input = sum
	for i := range p.claims {
		p.claims[i].record.input = sum
	}
	p.record.Affected = nil
	return p
}

func (g *gathered) readTable(ctx context.Context, s Source) error {
	found := false
	err := s.walk(ctx, func(name string, r io.Reader) error {
		if !s.wants(name) {
			return nil
		}
		found = true
		data, err := io.ReadAll(io.LimitReader(r, maxTable+1))
		if err != nil {
			return fmt.Errorf("reading %s in %s: %w", name, s.Path, err)
		}
		if len(data) > maxTable {
			return fmt.Errorf("reading %s in %s: larger than %d bytes", name, s.Path, maxTable)
		}
		return g.addTable(s.Kind, path.Join(path.Base(s.Path), name), data)
	})
	if err == nil && !found {
		err = fmt.Errorf("reading %s: no file of kind %s in it", s.Path, s.Kind)
	}
	return err
}

// wants says that a file of this name belongs to the kind. A source that is
// one file is taken whatever its name.
func (s Source) wants(name string) bool {
	if plain, _, _ := strings.Cut(path.Base(s.Path), "."); plain != "" && strings.HasPrefix(name, plain+".") && s.FS == nil {
		return true
	}
	switch s.Kind {
	case DebianList:
		return path.Base(name) == "list" || path.Ext(name) == ".list"
	case KEV:
		return path.Ext(name) == ".json"
	}
	return path.Ext(name) == ".tsv"
}

func (g *gathered) addTable(kind Kind, source string, data []byte) error {
	var problems []Problem
	var err error
	provider := string(kind)
	switch kind {
	case DebianList:
		var claims []claim
		claims, problems, err = debianClaims(bytes.NewReader(data), source)
		sum := sha256.Sum256(data)
		for i := range claims {
			claims[i].record.input = sum
		}
		g.claims = append(g.claims, claims...)
	case KEV:
		g.kev, problems, err = readKEV(bytes.NewReader(data), source)
	case CVSS:
		provider = LinkTable
		problems, err = readCVSS(bytes.NewReader(data), source, g.table)
	}
	if err != nil {
		return err
	}
	old := g.digests[provider]
	g.digests[provider] = sha256.Sum256(append(old[:], data...))
	g.problems = append(g.problems, problems...)
	return nil
}

// settle drops what must not be written: the older of two records with one id,
// withdrawn records, records without a row. It fills the counts of res.
func (g *gathered) settle(res *Result) (vulns []*vulnerability, err error) {
	newest := map[string]int{}
	for i, p := range g.records {
		old, ok := newest[p.record.ID]
		if !ok || p.record.Modified.After(g.records[old].record.Modified.Time) {
			newest[p.record.ID] = i
		}
	}
	res.Problems = g.problems
	claims := g.claims
	for i, p := range g.records {
		res.Read++
		id := p.record.ID
		switch {
		case id != "" && newest[id] != i:
			res.Duplicates++
			continue
		case !p.record.Withdrawn.IsZero():
			res.Withdrawn++
			continue
		}
		res.Problems = append(res.Problems, p.problems...)
		claims = append(claims, p.claims...)
		switch {
		case p.vuln != nil && len(p.vuln.rows) > 0:
			vulns = append(vulns, p.vuln)
		case len(p.claims) == 0:
			res.Unusable++
		}
	}
	vulns = append(vulns, join(claims)...)
	vulns, res.Merged = mergeGo(vulns)
	if len(vulns) == 0 {
		return nil, &Error{Code: Empty, Path: "the sources", Err: errors.New("no advisory in them can be used")}
	}
	slices.SortFunc(vulns, func(a, b *vulnerability) int {
		return strings.Compare(a.provider+"\x00"+a.id, b.provider+"\x00"+b.id)
	})
	return vulns, nil
}
