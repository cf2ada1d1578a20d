package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/access"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/notify"
	"github.com/hallmark-sh/hallmark/internal/query"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

type memoryServeFlags struct {
	listen, db          string
	policies            []string
	access              string
	cert, key           string
	plain               bool
	hosts               []string
	unverified          bool
	webhook, secretFile string
	log                 string
	poll                time.Duration
	intakes             int
}

func (a *app) serveCommand() *cobra.Command {
	var f memoryServeFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Remember every image, and answer which are hit by what",
		Long: `serve keeps what verified SBOM attestations say of images in a store, and answers
over HTTP which images hold a package and which are hit by an advisory. Images come
in by hallmark ingest, by POST /v1/images, by registry notifications, or by a sweep.
Only what verifies by its repository's policy is believed; the rest is recorded as
refused, with the reason.

--db is a SQLite file, or postgres://… when several replicas are to serve one store.
A password belongs into PGPASSWORD or a password file, or the whole of --db into
HALLMARK_DB, and not into the command line.

Without --access the service answers on loopback only, and to everybody there.
Metrics are at /metrics, health at /healthz and /readyz, the API's description at
/openapi.json. Traces go to OTEL_EXPORTER_OTLP_ENDPOINT when it is set.`,
		Example: `  hallmark serve --db hallmark.db
  hallmark serve --db postgres://hallmark@db.internal/hallmark --listen :8470 \
      --policy /etc/hallmark/policies --access /etc/hallmark/access.yaml --tls-cert tls.crt --tls-key tls.key
  hallmark serve --webhook https://alerts.acme.example/hallmark --webhook-secret-file secret`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serveMemory(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8470", "`address` to listen on; port 0 chooses one")
	flags.StringVar(&f.db, "db", "", "the store: a SQLite `file` or postgres://… (default HALLMARK_DB, else hallmark.db)")
	flags.StringArrayVar(&f.policies, "policy", nil, "hallmark.yaml of a repository that may come in, or a `folder` of such; repeat for more (default: the one here)")
	flags.StringVar(&f.access, "access", "", "`file` that says who may read, trigger intake and administer")
	flags.StringVar(&f.cert, "tls-cert", "", "PEM `file` of the service's certificate; read again when it changes")
	flags.StringVar(&f.key, "tls-key", "", "PEM `file` of its key")
	flags.BoolVar(&f.plain, "INSECURE-plain-http", false, "serve without TLS on an address that is not loopback, as behind a proxy that has it")
	flags.StringSliceVar(&f.hosts, "host", nil, "`name` the service answers to without --access, besides localhost")
	flags.BoolVar(&f.unverified, "unverified", false, "let loose SBOM documents in that nobody vouches for; answers that rest on them say so")
	flags.StringVar(&f.webhook, "webhook", "", "`URL` that is told what is newly affected")
	flags.StringVar(&f.secretFile, "webhook-secret-file", "", "`file` with the secret that signs what the webhook is told")
	flags.StringVar(&f.log, "log", "json", "`form` of the log on standard error: json or text")
	flags.DurationVar(&f.poll, "poll", 200*time.Millisecond, "`time` between looks at what other replicas wrote")
	flags.IntVar(&f.intakes, "intakes", 16, "`number` of images taken in side by side")
	cmd.AddCommand(a.tokenCommand())
	return cmd
}

func (a *app) serveMemory(ctx context.Context, f memoryServeFlags) error {
	log, err := a.logger(f.log)
	if err != nil {
		return err
	}
	rules, err := f.rules()
	if err != nil {
		return err
	}
	judges, err := a.judges(f.policies)
	if err != nil {
		return err
	}
	in := intake.Config{Judge: judges.of}
	if in.Registry, err = a.openRegistry(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return hint.Add(fmt.Errorf("listening on %s: %w", f.listen, err), "another program has the port; --listen 127.0.0.1:0 takes a free one")
	}
	defer listener.Close()
	trace, endTrace, err := a.tracing(ctx, log)
	if err != nil {
		return err
	}
	defer endTrace()

	s, err := openStore(ctx, a.dbName(f.db), true)
	if err != nil {
		return err
	}
	defer s.Close()
	metrics := query.NewMetrics(version)
	config := memory.Config{Store: s, Log: log, Poll: f.poll, Announced: metrics.Announced, Delivered: metrics.Delivered}
	if config.Deliver, err = f.deliver(); err != nil {
		return err
	}
	// The index is large and changes little: what filling it and a question
	// leave behind is a small part of it, and may not take as much again.
	debug.SetGCPercent(20)
	m, err := memory.Open(ctx, config)
	if err != nil {
		return err
	}
	defer m.Close()
	debug.FreeOSMemory()
	in.Memory, in.Unverified, in.Log = m, f.unverified, log
	if f.unverified {
		log.Warn("UNVERIFIED documents are let in: nobody vouches for answers that rest on them")
	}
	service := query.New(query.Config{Memory: m, Intake: intake.New(in), Access: rules, Hosts: f.hosts, Version: version, Metrics: metrics, Log: log, Intakes: f.intakes})

	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { m.Run(following) })
	group.Go(func() {
		judges.tell(following, func(repository string, root trust.Anchor) {
			last, _ := root.Authorities(time.Now())
			metrics.TrustRoot(repository, last, root.Expires)
		}, func(err error) {
			log.Error("a trust root can't be loaded: nothing of its repository is taken in", "error", err)
		})
	})
	defer func() { stop(); group.Wait() }()
	return f.serve(ctx, listener, trace(service), log)
}

// rules reads who may do what, and refuses a service that is open to a network.
func (f *memoryServeFlags) rules() (*access.Rules, error) {
	if (f.cert == "") != (f.key == "") {
		return nil, misuse{errors.New("--tls-cert and --tls-key go together")}
	}
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return nil, misuse{fmt.Errorf("reading --listen: %w", err)}
	}
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	if !local && f.access == "" {
		return nil, misuse{hint.Add(fmt.Errorf("%s can be reached from other machines and --access is missing", f.listen),
			"name a file of access rules (hallmark serve token makes an entry), or listen on 127.0.0.1")}
	}
	if !local && f.cert == "" && !f.plain {
		return nil, misuse{hint.Add(fmt.Errorf("%s can be reached from other machines and there is no TLS", f.listen),
			"give --tls-cert and --tls-key, or --INSECURE-plain-http where a proxy in front of it has TLS")}
	}
	if f.access == "" {
		return nil, nil
	}
	return access.ReadRules(f.access, nil)
}

func (f *memoryServeFlags) deliver() (func(context.Context, string, []byte) error, error) {
	if f.webhook == "" {
		return nil, nil
	}
	var secret []byte
	if f.secretFile != "" {
		raw, err := readBounded(f.secretFile, 64<<10)
		if err != nil {
			return nil, fmt.Errorf("reading the webhook's secret: %w", err)
		}
		secret = []byte(strings.TrimSpace(string(raw)))
	}
	hook, err := notify.New(f.webhook, secret, "hallmark/"+version)
	if err != nil {
		return nil, misuse{err}
	}
	return hook.Deliver, nil
}

// grace is how long requests under way may take to end.
const grace = 25 * time.Second

func (f *memoryServeFlags) serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	scheme := "http"
	if f.cert != "" {
		scheme = "https"
		pair := &certificate{certFile: f.cert, keyFile: f.key}
		if _, err := pair.get(nil); err != nil {
			return fmt.Errorf("reading the service's certificate: %w", err)
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}
	}
	log.Info("serving", "address", scheme+"://"+listener.Addr().String(), "version", version)
	ended := make(chan error, 1)
	go func() {
		if f.cert != "" {
			ended <- server.ServeTLS(listener, "", "")
			return
		}
		ended <- server.Serve(listener)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	log.Info("ending: no new requests, those under way may finish")
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(waiting)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err == nil {
		log.Info("ended")
	}
	return err
}

// certificate is read again when its file changes, as when it is renewed.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	changed time.Time
	pair    *tls.Certificate
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.certFile)
	if err == nil && (c.pair == nil || !info.ModTime().Equal(c.changed)) {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile); err == nil {
			c.pair, c.changed = &pair, info.ModTime()
		}
	}
	if c.pair == nil {
		return nil, err
	}
	return c.pair, nil // half a renewal is no reason to end
}

func (a *app) tokenCommand() *cobra.Command {
	var role, out string
	cmd := &cobra.Command{
		Use:   "token NAME",
		Short: "Make a bearer token, and the entry for --access that lets it in",
		Long: `token makes a random token, writes it to a file that only you can read, and prints
the entry for the file of --access. The entry holds the token's SHA-256 and not the
token.`,
		Example: "  hallmark serve token grafana --role read --out grafana.token >> access.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := access.ParseRole(role)
			if err != nil {
				return misuse{fmt.Errorf("--role: %w", err)}
			}
			secret, entry := access.NewToken(args[0], r)
			file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("writing the token: %w", err)
			}
			if _, err := file.WriteString(secret + "\n"); err != nil {
				return errors.Join(fmt.Errorf("writing the token: %w", err), file.Close())
			}
			if err := file.Close(); err != nil {
				return fmt.Errorf("writing the token: %w", err)
			}
			a.screen.printf("tokens:\n  - name: %q\n    role: %s\n    sha256: %s\n", entry.Name, entry.Role, entry.SHA256)
			a.screen.note("wrote %s", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&role, "role", "read", "`role`: read, intake or admin")
	cmd.Flags().StringVar(&out, "out", "hallmark.token", "`file` to write the token to; it must not exist")
	return cmd
}
