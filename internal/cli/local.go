package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/localregistry"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
)

func (a *app) localCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "local",
		Short: "Run a private Sigstore and a registry on this machine",
		Long: `local keeps a whole private Sigstore in one folder: an identity issuer, a
certificate authority, a transparency log and a timestamp authority. Releases
whose hallmark.yaml says "trust: {root: local}" sign with it, with no account
and no socket; serve lets other tools in, and adds a registry.

What it does not protect: whoever can read the folder can sign as anybody. It
shows that evidence was not changed since; it is for one machine, for trying
and for tests, and never a stand-in for the public instance.`,
		Example: `  hallmark local serve --listen 127.0.0.1:5000
  hallmark local root > trusted-root.json
  hallmark local token --repository acme/app --workflow .github/workflows/release.yml --ref refs/heads/main > token`,
		Args: a.noVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var state string
	cmd.PersistentFlags().StringVar(&state, "state", "", "`folder` of the local trust (default .hallmark/local)")
	cmd.AddCommand(a.localServeCommand(&state), a.localRootCommand(&state), a.localTokenCommand(&state), a.localRotateCommand(&state))
	return cmd
}

func (a *app) openLocal(ctx context.Context, state string) (*localtrust.Local, error) {
	if state == "" {
		if err := makeState(".hallmark"); err != nil {
			return nil, err
		}
		state = filepath.Join(".hallmark", "local")
	}
	return localtrust.Open(ctx, state, localtrust.Options{})
}

func (a *app) localRootCommand(state *string) *cobra.Command {
	return &cobra.Command{
		Use:     "root",
		Short:   "Print the trusted root that verifies what was signed here",
		Example: "  hallmark local root > trusted-root.json\n  cosign verify --trusted-root trusted-root.json …",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			local, err := a.openLocal(cmd.Context(), *state)
			if err != nil {
				return err
			}
			defer local.Close()
			a.screen.printf("%s\n", strings.TrimSpace(string(local.TrustedRoot())))
			return nil
		},
	}
}

func (a *app) localRotateCommand(state *string) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Give the local trust a new certificate authority and a new timestamp authority",
		Long: `rotate makes new keys for the certificate authority, its log and the timestamp
authority, and throws the old ones away. What was signed before stays good: the
trusted root names the old certificates, until now. Servers that have the trust
open must be started again; verifiers need the new trusted root, from the file or
by TUF, whose clients keep the one they have for a day.`,
		Example: "  hallmark local rotate\n  hallmark local root > trusted-root.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			local, err := a.openLocal(cmd.Context(), *state)
			if err != nil {
				return err
			}
			defer local.Close()
			if err := localtrust.Rotate(cmd.Context(), local.Dir(), time.Now()); err != nil {
				return err
			}
			a.screen.note("rotated the keys in %s; start again what serves it, and give verifiers the new %s", local.Dir(), localtrust.TrustedRootFile)
			return nil
		},
	}
}

func (a *app) localTokenCommand(state *string) *cobra.Command {
	var repository, workflow, ref, sha, out string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Write an identity token of the local issuer to a file",
		Long: `token writes an identity token of the local issuer, good for ten minutes, to a
file that only you can read. With --repository it has the claims of a GitHub
Actions run, claimed by you and checked by nobody.`,
		Example: "  hallmark local token --out token\n  cosign sign --identity-token token …",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			local, err := a.openLocal(cmd.Context(), *state)
			if err != nil {
				return err
			}
			defer local.Close()
			var tokens oidc.Source = local
			if repository != "" {
				tokens = local.As(localtrust.GitHubClaims(repository, workflow, ref, sha))
			}
			token, err := tokens.Token(cmd.Context(), oidc.Audience)
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, []byte(token.Raw()), 0o600); err != nil {
				return fmt.Errorf("writing the token: %w", err)
			}
			a.screen.note("wrote %s: %s", out, token)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&repository, "repository", "", "claim to be a workflow run of `owner/name`")
	f.StringVar(&workflow, "workflow", ".github/workflows/release.yml", "`path` of the workflow")
	f.StringVar(&ref, "ref", "refs/heads/main", "git `ref` of the run")
	f.StringVar(&sha, "sha", strings.Repeat("0", 40), "`commit` of the run")
	f.StringVar(&out, "out", "hallmark-token", "`file` to write")
	return cmd
}

type serveFlags struct {
	listen                     string
	immutable, noReferrers     bool
	registryDir, accessLogFile string
}

func (a *app) localServeCommand(state *string) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the local trust and a registry on loopback until interrupted",
		Long: `serve listens on one loopback address for the registry (/v2/), the private
Sigstore (/api/, the token endpoint and the log's tiles) and a TUF repository of
its trusted root (/tuf/), writes trusted-root.json, tuf-root.json and
signing-config.json into the state folder, and ends at Ctrl-C.`,
		Example: `  hallmark local serve --listen 127.0.0.1:5000
  hallmark local serve --immutable-tags --no-referrers`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serveLocal(cmd.Context(), *state, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:5000", "loopback `address` to listen on; port 0 chooses one")
	flags.BoolVar(&f.immutable, "immutable-tags", false, "let the registry refuse to overwrite any tag")
	flags.BoolVar(&f.noReferrers, "no-referrers", false, "leave out the registry's referrers API, as some registries do")
	flags.StringVar(&f.registryDir, "registry-dir", "", "`folder` for the registry's blobs (default registry/ beside the state)")
	flags.StringVar(&f.accessLogFile, "access-log", "", "append a line per registry request to `file`")
	return cmd
}

func (a *app) serveLocal(ctx context.Context, state string, f serveFlags) error {
	listener, err := listenLoopback(f.listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	local, err := a.openLocal(ctx, state)
	if err != nil {
		return err
	}
	defer local.Close()
	if f.registryDir == "" {
		f.registryDir = filepath.Join(filepath.Dir(local.Dir()), "registry")
	}
	log, err := openAccessLog(f.accessLogFile)
	if err != nil {
		return err
	}
	defer log.Close()
	registry, err := localregistry.Open(f.registryDir, localregistry.Options{
		NoReferrers: f.noReferrers, ImmutableTags: f.immutable, OnAccess: log.write,
	})
	if err != nil {
		return err
	}
	base := "http://" + listener.Addr().String()
	if err := local.Serving(base); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/v2/", registry)
	mux.Handle("/", local.Handler())
	a.screen.note("registry        %s", listener.Addr())
	a.screen.note("trusted root    %s", filepath.Join(local.Dir(), localtrust.TrustedRootFile))
	a.screen.note("signing config  %s", filepath.Join(local.Dir(), localtrust.SigningConfigFile))
	a.screen.note("Ctrl-C ends it. Whoever can read %s can sign as anybody.", local.Dir())
	return serveUntil(ctx, listener, mux)
}

func listenLoopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, misuse{fmt.Errorf("reading --listen: %w", err)}
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		err := fmt.Errorf("%s is not a loopback address", address)
		return nil, misuse{hint.Add(err, "use 127.0.0.1: the local trust signs for anybody who can reach it")}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("listening on %s: %w", address, err), "another program has the port; --listen 127.0.0.1:0 takes a free one")
	}
	return listener, nil
}

// serveUntil serves until ctx is done, then lets requests under way end.
func serveUntil(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
