package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// baseTransport makes the connection pool, with the private certificates.
func baseTransport(opts Options) (http.RoundTripper, error) {
	if opts.Transport != nil {
		if opts.CAFile != "" {
			return nil, errors.New("a transport of its own and a CA file exclude each other")
		}
		return opts.Transport, nil
	}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: opts.Insecure}
	if opts.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(opts.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading CA certificates: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's CA certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, hint.Add(fmt.Errorf("%s holds no PEM certificate", opts.CAFile), "give a file that begins with -----BEGIN CERTIFICATE-----")
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

// guard refuses plain http to any host but this machine. It stands below the
// authentication, so it also holds for token servers and redirects.
type guard struct {
	inner    http.RoundTripper
	insecure bool
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !g.insecure && !isLoopback(req.URL.Hostname()) {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, fmt.Errorf("%w: %s", ErrPlainHTTP, req.URL.Host)
	}
	return g.inner.RoundTrip(req)
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// mayRedirect follows a registry to where it keeps blobs, but never from a
// public host to an address inside the network, where it could make this
// client ask in its place.
func mayRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return errors.New("stopped after 5 redirects")
	}
	return maySend(via[0].URL.Hostname(), req.URL.Hostname())
}

func maySend(from, to string) error {
	if from == to {
		return nil
	}
	addr, err := netip.ParseAddr(to)
	if err != nil {
		if isLoopback(to) {
			return fmt.Errorf("refusing to follow %s to %s", from, to)
		}
		return nil
	}
	addr = addr.Unmap()
	if addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || addr.IsMulticast() {
		return fmt.Errorf("refusing to follow %s to the internal address %s", from, to)
	}
	return nil
}
