package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/query"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/postgres"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

// defaultServer is where hallmark serve listens.
const defaultServer = "http://127.0.0.1:8470"

// memoryFlags say which memory is asked: a service, or a store here.
type memoryFlags struct {
	server, serverCA string
	tokenFile        string
	db               string
	policies         []string
}

func (f *memoryFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.server, "server", "", "`address` of the service to ask (default HALLMARK_SERVER, else "+defaultServer+")")
	flags.StringVar(&f.serverCA, "server-ca", "", "PEM `file` of certificate authorities to trust for the service, besides the system's")
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` with the bearer token for the service (default: HALLMARK_TOKEN)")
	flags.StringVar(&f.db, "db", "", "answer from this `store` without a service: a SQLite file or postgres://…")
}

// chosen says that a memory was named on the command line.
func (f *memoryFlags) chosen() bool { return f.server != "" || f.db != "" }

// openStore opens the store that --db names. A file that does not exist is made
// only when it is to be written.
func openStore(ctx context.Context, db string, create bool) (store.Store, error) {
	if strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://") {
		s, err := postgres.Open(ctx, db)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if strings.Contains(db, "://") {
		return nil, misuse{hint.Add(fmt.Errorf("--db %q is neither a file nor postgres://", redact(db)), "a SQLite file is named by its path")}
	}
	if _, err := os.Stat(db); err != nil && !create {
		return nil, hint.Add(fmt.Errorf("opening store %s: %w", db, err), "hallmark ingest --db %s, or hallmark serve, makes one", db)
	}
	s, err := sqlite.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// redact takes what may be a password out of an address.
func redact(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = "…@" + rest[at+1:]
	}
	return scheme + "://" + rest
}

// use is what a client is for.
type use int

const (
	toAsk    use = iota
	toWrite      // what needs no policy: advisories, VEX, loose documents
	toVerify     // images, by their policies
)

// client gives a client of the memory that the flags name, and what ends its
// use.
func (a *app) client(ctx context.Context, f memoryFlags, use use) (*query.Client, func(), error) {
	c := &query.Client{Base: f.server, UserAgent: "hallmark/" + version}
	if f.db != "" {
		if f.server != "" {
			return nil, nil, misuse{errors.New("--server and --db name two memories")}
		}
		return a.localClient(ctx, f, use, c)
	}
	if c.Base == "" {
		c.Base = a.env.get("HALLMARK_SERVER")
	}
	if c.Base == "" {
		c.Base = defaultServer
	}
	c.Token = a.env.get("HALLMARK_TOKEN")
	if f.tokenFile != "" {
		raw, err := readBounded(f.tokenFile, 64<<10)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the token: %w", err)
		}
		c.Token = strings.TrimSpace(string(raw))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if f.serverCA != "" {
		pem, err := readBounded(f.serverCA, 1<<20)
		if err != nil {
			return nil, nil, err
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("%s holds no certificate", f.serverCA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c.Transport = transport
	return c, transport.CloseIdleConnections, nil
}

// localClient asks a service that runs in this process for as long as the
// question takes.
func (a *app) localClient(ctx context.Context, f memoryFlags, use use, c *query.Client) (*query.Client, func(), error) {
	s, err := openStore(ctx, f.db, use != toAsk)
	if err != nil {
		return nil, nil, err
	}
	metrics := query.NewMetrics(version)
	m, err := memory.Open(ctx, memory.Config{Store: s})
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	in := intake.Config{Memory: m, Unverified: true, Judge: func(context.Context, string) (judgement, error) { return judgement{}, intake.ErrNoPolicy }}
	if use == toVerify {
		judges, err := a.judges(f.policies)
		if err != nil {
			m.Close()
			return nil, nil, errors.Join(err, s.Close())
		}
		in.Judge = judges.of
		if in.Registry, err = a.openRegistry(); err != nil {
			m.Close()
			return nil, nil, errors.Join(err, s.Close())
		}
	}
	c.Base, c.Transport = "http://localhost", inProcess{query.New(query.Config{Memory: m, Intake: intake.New(in), Metrics: metrics, Version: version,
		ReadRate: 1e9, WriteRate: 1e9})}
	return c, func() { m.Close(); s.Close() }, nil
}

// inProcess carries requests to a handler in this process.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	p.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// askFlags go with every question.
type askFlags struct {
	memoryFlags
	asOf   string
	limit  int
	cursor string
	vex    bool
}

func (f *askFlags) bind(flags *pflag.FlagSet, pages bool) {
	f.memoryFlags.bind(flags)
	flags.StringVar(&f.asOf, "as-of", "", "answer with what was known at this `time`: 2026-03-01, or RFC 3339")
	flags.BoolVar(&f.vex, "vex", false, "leave out what VEX statements clear, instead of showing their status only")
	if pages {
		flags.IntVar(&f.limit, "limit", 0, "`number` of entries on a page, at most 1000")
		flags.StringVar(&f.cursor, "cursor", "", "`cursor` of the next page, as the page before gave it")
	}
}

func (f *askFlags) options() (index.Options, error) {
	o := index.Options{Limit: f.limit, Cursor: f.cursor, VEX: f.vex}
	if f.limit < 0 || f.limit > index.MaxLimit {
		return o, misuse{fmt.Errorf("--limit %d is not between 1 and %d", f.limit, index.MaxLimit)}
	}
	if f.asOf == "" {
		return o, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, f.asOf); err == nil {
			o.AsOf = at
			return o, nil
		}
	}
	return o, misuse{hint.Add(fmt.Errorf("--as-of %q is no time", f.asOf), "write 2026-03-01 or 2026-03-01T12:00:00Z")}
}

// logger writes structured lines to standard error.
func (a *app) logger(format string) (*slog.Logger, error) {
	level := slog.LevelInfo
	if a.flags.verbose {
		level = slog.LevelDebug
	}
	o := &slog.HandlerOptions{Level: level}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(a.screen.Err, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(a.screen.Err, o)), nil
	}
	return nil, misuse{fmt.Errorf("--log %q is neither json nor text", format)}
}

// policyFiles are the files that --policy names, or hallmark.yaml where it is.
func (a *app) policyFiles(named []string) ([]string, error) {
	var files []string
	for _, name := range named {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("reading policies: %w", err)
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		found, err := filepath.Glob(filepath.Join(name, "*.yaml"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, hint.Add(fmt.Errorf("reading policies: %s has no *.yaml", name), "put each repository's hallmark.yaml there under a name of its own")
		}
		files = append(files, found...)
	}
	return files, nil
}
