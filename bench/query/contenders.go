package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/glebarez/go-sqlite" // the driver "sqlite"

	"github.com/hallmark-sh/hallmark/bench/estate"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/query"
)

// bare is the index, called.
type bare struct{ *index.Index }

func (bare) name() string { return "index, bare call" }

func (b bare) ask(_ context.Context, q question) (int, error) {
	if q.kind == affected {
		a, err := b.Affected(index.AffectedQuery{ID: q.id}, index.Options{})
		return a.Total, err
	}
	a, err := b.WhoHas(index.PackageQuery{Text: q.purl}, index.Options{})
	return a.Total, err
}

// serveStore serves a store on a free port of loopback, and says which.
func serveStore(ctx context.Context, where string) error {
	s, err := openStore(ctx, where)
	if err != nil {
		return err
	}
	defer s.Close()
	debug.SetGCPercent(20) // As hallmark serve does.
	m, err := memory.Open(ctx, memory.Config{Store: s})
	if err != nil {
		return err
	}
	defer m.Close()
	debug.FreeOSMemory()
	go m.Run(ctx)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	service := query.New(query.Config{Memory: m, Version: "bench", Metrics: query.NewMetrics("bench"), ReadRate: 1e9, WriteRate: 1e9})
	server := &http.Server{Handler: service}
	fmt.Println(l.Addr())
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// server is this program serving a store, in a process of its own.
type server struct {
	command *exec.Cmd
	base    string
	client  *http.Client
	start   time.Duration
	called  string
}

func startServer(ctx context.Context, where string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{command: exec.CommandContext(ctx, self, "-serve", where), client: &http.Client{}, called: overHTTP}
	s.command.Stderr = os.Stderr
	out, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.stop()
		return nil, err
	}
	s.base = "http://" + strings.TrimSpace(line)
	resp, err := s.client.Get(s.base + "/readyz")
	if err != nil {
		s.stop()
		return nil, err
	}
	resp.Body.Close()
	s.start = time.Since(began)
	if resp.StatusCode != http.StatusOK {
		s.stop()
		return nil, fmt.Errorf("it is not ready: %s", resp.Status)
	}
	return s, nil
}

func (s *server) stop() {
	s.command.Process.Signal(syscall.SIGTERM)
	s.command.Wait()
}

// resident is the memory the kernel has given it, in bytes.
func (s *server) resident() int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// overHTTP is the contender that the others are compared with.
const overHTTP = "hallmark over HTTP"

func (s *server) name() string { return s.called }

func (s *server) ask(ctx context.Context, q question) (int, error) {
	address := s.base + "/v1/affected/" + url.PathEscape(q.id)
	if q.kind != affected {
		address = s.base + "/v1/who-has?package=" + url.QueryEscape(q.purl)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", resp.Status, body.String())
	}
	// What a program would read of it first; decoding all is the client's own
	// time, and is not counted for SQLite either.
	var a struct {
		Total int `json:"total"`
	}
	err = json.Unmarshal(body.Bytes(), &a)
	return a.Total, err
}

// tables are four tables of SQLite.
type tables struct {
	db    *sql.DB
	file  string
	count map[string]*sql.Stmt
	page  map[string]*sql.Stmt
}

const schema = `
CREATE TABLE packages (id INTEGER PRIMARY KEY, type TEXT, name TEXT, version TEXT);
CREATE TABLE images (id INTEGER PRIMARY KEY, digest TEXT, repository TEXT, tag TEXT, evidence TEXT);
CREATE TABLE holds (package INTEGER, image INTEGER, PRIMARY KEY (package, image)) WITHOUT ROWID;
CREATE TABLE findings (advisory TEXT, package INTEGER, fixed TEXT, severity INTEGER, PRIMARY KEY (advisory, package)) WITHOUT ROWID;`

func (b *bench) fillTables(ctx context.Context) (*tables, error) {
	progress("filling four tables of SQLite")
	t := &tables{file: filepath.Join(b.dir, fmt.Sprintf("tables-%d.db", b.images)), count: map[string]*sql.Stmt{}, page: map[string]*sql.Stmt{}}
	os.Remove(t.file)
	var err error
	if t.db, err = sql.Open("sqlite", "file:"+t.file+"?_pragma=journal_mode(off)&_pragma=synchronous(off)&_pragma=cache_size(-262144)"); err != nil {
		return nil, err
	}
	t.db.SetMaxOpenConns(1)
	if _, err := t.db.ExecContext(ctx, schema); err != nil {
		return nil, err
	}
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	if err := b.insertAll(ctx, tx); err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	if _, err := t.db.ExecContext(ctx, "CREATE INDEX by_name ON packages (name, version); ANALYZE"); err != nil {
		return nil, err
	}
	const shown = ` JOIN images i ON i.id = h.image `
	for kind, source := range map[string]string{
		whoHasVersion: `FROM packages p JOIN holds h ON h.package = p.id%s WHERE p.name = ? AND p.type = ? AND p.version = ?`,
		whoHasAny:     `FROM packages p JOIN holds h ON h.package = p.id%s WHERE p.name = ? AND p.type = ?`,
		affected:      `FROM findings f JOIN holds h ON h.package = f.package JOIN packages p ON p.id = f.package%s WHERE f.advisory = ?`,
	} {
		fields := "i.digest, i.repository, i.tag, i.evidence, p.type, p.name, p.version"
		if kind == affected {
			fields += ", f.fixed, f.severity"
		}
		if t.count[kind], err = t.db.PrepareContext(ctx, "SELECT count(DISTINCT h.image) "+fmt.Sprintf(source, " ")); err != nil {
			return nil, err
		}
		if t.page[kind], err = t.db.PrepareContext(ctx, "SELECT "+fields+" "+fmt.Sprintf(source, shown)+" LIMIT 100"); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// insertAll writes what the estate holds, the large table in its own order.
func (b *bench) insertAll(ctx context.Context, tx *sql.Tx) error {
	insert := func(text string) (*sql.Stmt, error) { return tx.PrepareContext(ctx, text) }
	packages, err := insert("INSERT INTO packages VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	ix := index.New()
	var rows []index.PackageRow
	for n, p := range b.grown.Packages {
		if _, err := packages.Exec(n, p.Type, p.FullName(), p.Version); err != nil {
			return err
		}
		rows = append(rows, index.PackageRow{ID: uint32(n + 1), Package: p})
	}
	images, err := insert("INSERT INTO images VALUES (?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	held := make([][]uint32, len(b.grown.Packages))
	n := uint32(0)
	if err := b.grown.Each(func(i estate.Image) error {
		for _, place := range i.Packages {
			held[place] = append(held[place], n)
		}
		_, err := images.Exec(n, i.Digest.String(), i.Repository, i.Tag, evidence(i.Digest).String())
		n++
		return err
	}); err != nil {
		return err
	}
	// The driver parses a statement each time it runs: one for all images of a
	// package is several times as fast as one for each.
	holds, err := insert("INSERT INTO holds SELECT ?, value FROM json_each(?)")
	if err != nil {
		return err
	}
	for place, in := range held {
		list, err := json.Marshal(in)
		if err != nil {
			return err
		}
		if _, err := holds.Exec(place, string(list)); err != nil {
			return err
		}
	}
	return b.insertFindings(ix, rows, insert)
}

// insertFindings tells SQLite which versions each advisory hits.
func (b *bench) insertFindings(ix *index.Index, rows []index.PackageRow, insert func(string) (*sql.Stmt, error)) error {
	if err := ix.AddPackages(rows); err != nil {
		return err
	}
	one := index.Image{ID: 1, Digest: evidence(b.first()), Recorded: time.Unix(1, 0)}
	for n := range rows {
		one.Packages = append(one.Packages, uint32(n+1))
	}
	if err := ix.AddImage(one); err != nil {
		return err
	}
	if _, err := ix.Apply(index.Change{Records: b.grown.Advisories, At: time.Unix(2, 0)}); err != nil {
		return err
	}
	findings, err := insert("INSERT OR IGNORE INTO findings VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	report, err := ix.Image(one.Digest.String(), index.Options{})
	if err != nil {
		return err
	}
	for _, h := range report.Findings {
		id, _ := ix.Lookup(h.Package)
		if _, err := findings.Exec(h.Aliases[0], id-1, strings.Join(h.FixedIn, ","), int(h.Severity)); err != nil {
			return err
		}
	}
	return nil
}

func (*tables) name() string { return "SQLite, four tables in process" }

func (t *tables) ask(ctx context.Context, q question) (total int, err error) {
	args := []any{q.id}
	if q.kind != affected {
		args = []any{q.name, q.typ}
	}
	if q.at != "" {
		args = append(args, q.at)
	}
	if err := t.count[q.kind].QueryRowContext(ctx, args...).Scan(&total); err != nil {
		return 0, err
	}
	rows, err := t.page[q.kind].QueryContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	values := make([]any, len(columns))
	for n := range values {
		values[n] = new(sql.NullString)
	}
	for rows.Next() {
		if err := rows.Scan(values...); err != nil {
			return 0, err
		}
	}
	return total, rows.Err()
}

func (t *tables) close() {
	t.db.Close()
	os.Remove(t.file)
}

func (t *tables) size() string {
	info, err := os.Stat(t.file)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d MB", info.Size()>>20)
}
