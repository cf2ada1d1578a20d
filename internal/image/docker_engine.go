package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"

	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/moby/client"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// dockerEngine is a connection to a Docker engine.
type dockerEngine struct {
	client  *client.Client
	host    string
	version string
}

// openEngine connects to the engine that the options name, by DOCKER_HOST,
// DOCKER_CERT_PATH and DOCKER_TLS_VERIFY in Env where they do not, and agrees
// with it on a version of the API.
func openEngine(ctx context.Context, opts Options) (*dockerEngine, error) {
	host := opts.DockerHost
	if host == "" {
		host = opts.getenv("DOCKER_HOST")
	}
	if host == "" {
		host = client.DefaultDockerHost
	}
	if strings.HasPrefix(host, "ssh://") {
		return nil, hint.Add(fmt.Errorf("the engine at %s is reached by ssh, which hallmark does not speak", host),
			"forward its socket: ssh -L /tmp/docker.sock:/var/run/docker.sock HOST, and set DOCKER_HOST=unix:///tmp/docker.sock")
	}
	settings := []client.Opt{client.WithHost(host), client.WithUserAgent("hallmark")}
	certificates, verify := opts.getenv("DOCKER_CERT_PATH"), opts.getenv("DOCKER_TLS_VERIFY") != ""
	switch {
	case certificates != "" && !verify:
		return nil, hint.Add(errors.New("DOCKER_CERT_PATH is set without DOCKER_TLS_VERIFY: the engine's certificate would not be checked"),
			"set DOCKER_TLS_VERIFY=1")
	case verify:
		settings = append(settings, client.WithTLSClientConfig(
			filepath.Join(certificates, "ca.pem"), filepath.Join(certificates, "cert.pem"), filepath.Join(certificates, "key.pem")))
	}
	c, err := client.New(settings...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the Docker engine at %s: %w", host, err)
	}
	e := &dockerEngine{client: c, host: host}
	if _, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		e.close()
		return nil, e.explain(ctx, err)
	}
	v, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		e.close()
		return nil, e.explain(ctx, err)
	}
	e.version = v.Version
	return e, nil
}

func (e *dockerEngine) close() { _ = e.client.Close() }

func (e *dockerEngine) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = fmt.Errorf("connecting to the Docker engine at %s: %w", e.host, err)
	if errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "permission denied") {
		return hint.Add(err, "let this user use the engine: add it to the docker group and log in again, or use a rootless engine")
	}
	return hint.Add(err, "start Docker, or set DOCKER_HOST to where it listens; without an engine, use build.go or build.layout")
}

// buildkit opens the engine's own BuildKit.
func (e *dockerEngine) buildkit(ctx context.Context) (*buildkit.Client, error) {
	return buildkit.New(ctx, "",
		buildkit.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return e.client.DialHijack(ctx, "/grpc", "h2c", nil)
		}),
		buildkit.WithSessionDialer(func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
			return e.client.DialHijack(ctx, "/session", proto, meta)
		}))
}
