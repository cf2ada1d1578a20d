package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/bench/estate"
	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

// bench is one size of estate.
type bench struct {
	images, packages, versions, advisories, questions, files int
	peer                                                     bool
	dir, postgres                                            string

	grown *estate.Estate
	r     *rand.Rand
}

// figures are what one size gave.
type figures struct {
	stats      index.Stats
	tables     string // size of SQLite's tables
	intake     float64
	paced      pace
	start      time.Duration
	loaded     int64 // resident memory once started
	resident   int64 // resident memory after all questions
	fresh      time.Duration
	rematch    time.Duration
	rematched  int
	kinds      []string
	contenders []string
	times      map[[2]string][]time.Duration // by kind and contender
	returned   map[string]int                // images found in all, by kind
	postgres   *onPostgres                   // nil when there is none
	notes      []string
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// question is one question, in the forms the contenders take.
type question struct {
	kind      string
	typ, name string // who-has
	at        string // a version; empty for any
	purl      string // the same as a package URL
	id        string // affected
}

func (b *bench) measure(ctx context.Context) (figures, error) {
	var f figures
	var err error
	progress("growing %d images", b.images)
	if b.grown, err = estate.Grow(estate.Options{Seed: 1, Images: b.images, Packages: b.packages, Versions: b.versions, Advisories: b.advisories}); err != nil {
		return f, err
	}
	b.r = rand.New(rand.NewPCG(3, uint64(b.images)))
	file := filepath.Join(b.dir, fmt.Sprintf("memory-%d.db", b.images))
	if f.intake, err = b.fill(ctx, file); err != nil {
		return f, fmt.Errorf("filling the store: %w", err)
	}
	progress("loading the index")
	s, err := sqlite.Open(ctx, file)
	if err != nil {
		return f, err
	}
	defer s.Close()
	m, err := memory.Open(ctx, memory.Config{Store: s})
	if err != nil {
		return f, err
	}
	defer m.Close()
	f.stats = m.Index().Stats()
	server, err := startServer(ctx, file)
	if err != nil {
		return f, fmt.Errorf("starting the service: %w", err)
	}
	defer server.stop()
	f.start, f.loaded = server.start, server.resident()
	progress("the service was ready after %v with %d MB", f.start.Round(time.Millisecond), f.loaded>>20)

	contenders := []contender{server, bare{m.Index()}}
	var beside *replicas
	if b.postgres != "" {
		f.postgres = &onPostgres{}
		if beside, err = b.startReplicas(ctx, f.postgres); err != nil {
			return f, fmt.Errorf("starting on PostgreSQL: %w", err)
		}
		defer beside.stop()
		contenders = append(contenders, beside.one)
	}
	if b.peer {
		t, err := b.fillTables(ctx)
		if err != nil {
			return f, fmt.Errorf("filling the tables: %w", err)
		}
		defer t.close()
		f.tables = t.size()
		contenders = append(contenders, t)
	}
	if err := b.ask(ctx, &f, contenders); err != nil {
		return f, err
	}
	if f.paced, err = b.pace(ctx, b.paceFile(), 1); err != nil {
		return f, fmt.Errorf("measuring the pace of intake: %w", err)
	}
	if err := b.askFiles(ctx, &f); err != nil {
		return f, fmt.Errorf("asking grep and jq: %w", err)
	}
	f.resident = server.resident()
	if f.fresh, _, err = b.freshness(ctx, server, nil); err != nil {
		return f, fmt.Errorf("importing one advisory: %w", err)
	}
	if beside != nil {
		if err := b.finishPostgres(ctx, beside, f.postgres); err != nil {
			return f, fmt.Errorf("writing to PostgreSQL: %w", err)
		}
	}
	f.rematch, f.rematched, err = b.rematch()
	return f, err
}

// first is the digest of the first image.
func (b *bench) first() (digest v1.Hash) {
	b.grown.Each(func(i estate.Image) error {
		digest = i.Digest
		return errStop
	})
	return digest
}

var errStop = errors.New("enough")

// evidence is a digest for the document an image's packages come from.
func evidence(d v1.Hash) v1.Hash {
	d.Hex = "e" + d.Hex[1:]
	return d
}

// draw makes questions: names as they occur in images, advisories as they are.
func (b *bench) draw() []question {
	var images []estate.Image
	b.grown.Each(func(i estate.Image) error {
		if b.r.IntN(b.images/min(b.images, 200)+1) == 0 {
			images = append(images, i)
		}
		return nil
	})
	var out []question
	for range b.questions {
		i := images[b.r.IntN(len(images))]
		p := b.grown.Packages[i.Packages[b.r.IntN(len(i.Packages))]]
		asked := component.Package{Type: p.Type, Name: p.Name, Version: p.Version}
		if !component.OS(p.Type) {
			asked.Namespace = p.Namespace
		}
		exact := question{kind: whoHasVersion, typ: p.Type, name: p.FullName(), at: p.Version, purl: asked.PURL()}
		asked.Version = ""
		out = append(out, exact, question{kind: whoHasAny, typ: p.Type, name: p.FullName(), purl: asked.PURL()},
			question{kind: affected, id: b.grown.Advisories[b.r.IntN(len(b.grown.Advisories))].Aliases[0]})
	}
	return out
}

// The kinds of questions.
const (
	whoHasVersion = "who-has, one version"
	whoHasAny     = "who-has, any version"
	affected      = "affected"
)

// contender answers a question: how many images, and a page of them made ready
// for showing.
type contender interface {
	name() string
	ask(ctx context.Context, q question) (images int, err error)
}

// ask puts every question to every contender, each in its turn, and holds
// their counts against one another.
func (b *bench) ask(ctx context.Context, f *figures, contenders []contender) error {
	f.kinds = []string{whoHasVersion, whoHasAny, affected}
	f.times, f.returned = map[[2]string][]time.Duration{}, map[string]int{}
	for _, c := range contenders {
		f.contenders = append(f.contenders, c.name())
	}
	questions := b.draw()
	for _, q := range questions[:min(len(questions), 60)] { // Caches warm, connections open.
		for _, c := range contenders {
			if _, err := c.ask(ctx, q); err != nil {
				return fmt.Errorf("%s, %+v: %w", c.name(), q, err)
			}
		}
	}
	progress("asking %d questions", len(questions))
	for n, q := range questions {
		want := -1
		for k := range contenders {
			c := contenders[(n+k)%len(contenders)]
			began := time.Now()
			images, err := c.ask(ctx, q)
			took := time.Since(began)
			if err != nil {
				return fmt.Errorf("%s, %+v: %w", c.name(), q, err)
			}
			if want >= 0 && images != want {
				return fmt.Errorf("%+v: %s counts %d images, another %d", q, c.name(), images, want)
			}
			want = images
			f.times[[2]string{q.kind, c.name()}] = append(f.times[[2]string{q.kind, c.name()}], took)
		}
		f.returned[q.kind] += want
	}
	return nil
}

// rematch compares up to 100,000 distinct versions with all advisories anew.
func (b *bench) rematch() (time.Duration, int, error) {
	ix := index.New()
	packages := b.grown.Packages[:min(len(b.grown.Packages), 100_000)]
	rows := make([]index.PackageRow, len(packages))
	for n, p := range packages {
		rows[n] = index.PackageRow{ID: uint32(n + 1), Package: p}
	}
	if err := ix.AddPackages(rows); err != nil {
		return 0, 0, err
	}
	revisions := make([]index.Revision, len(b.grown.Advisories))
	for n, r := range b.grown.Advisories {
		revisions[n] = index.Revision{Record: r, From: time.Unix(1, 0), Import: "estate"}
	}
	began := time.Now()
	err := ix.LoadAdvisories(revisions)
	return time.Since(began), len(packages), err
}

// percentile gives a quantile of times, which it sorts.
func percentile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(len(times)-1, int(q*float64(len(times))))]
}
