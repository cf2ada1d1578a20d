package trust

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// Service is one service of a Sigstore instance.
type Service struct {
	// URL is the base URL, except for a timestamp authority, where it is the
	// full URL of the endpoint.
	URL string
	// Version is the major version of the API that the service speaks.
	Version uint32
}

// Services are what a signature is made with: who certifies, who logs and who
// dates it.
type Services struct {
	// Fulcio is the certificate authority.
	Fulcio Service
	// Rekor are the transparency logs, TSA the timestamp authorities; a
	// signature goes to each of them. There is at least one log, and a
	// timestamp authority unless the log itself gives a time (version 1).
	Rekor []Service
	TSA   []Service
	// Issuer is the OIDC issuer a person logs in with; it may be empty.
	Issuer string
	// Transport carries the requests; nil for http.DefaultTransport.
	Transport http.RoundTripper
}

// LoadServices gives the services that the policy names. Those of the local
// trust are not found here, since they run in whoever opened it.
func LoadServices(ctx context.Context, t policy.Trust, opts Options) (Services, error) {
	s, err := loadServices(ctx, t, opts)
	if err != nil {
		return Services{}, fmt.Errorf("finding the services to sign with: %w", err)
	}
	s.Transport = opts.Transport
	return s, nil
}

func loadServices(ctx context.Context, t policy.Trust, opts Options) (Services, error) {
	switch {
	case t.Root == policy.RootPublic:
		return servicesFromTUF(ctx, publicRepository(), opts)
	case t.Root == policy.RootPrivate && t.SigningConfig != "":
		path := opts.path(t.SigningConfig)
		data, err := read(path)
		if err != nil {
			return Services{}, err
		}
		return parseServices(data, path, opts.now())
	case t.Root == policy.RootPrivate && t.TUFMirror != "":
		r, err := privateRepository(t, opts)
		if err != nil {
			return Services{}, err
		}
		return servicesFromTUF(ctx, r, opts)
	case t.Root == policy.RootPrivate:
		return Services{}, hint.Add(errors.New("the policy names no signing config"),
			"set trust.signing-config to a Sigstore signing_config.json; cosign signing-config create makes one")
	case t.Root == policy.RootLocal:
		return Services{}, errors.New("the local trust brings its own")
	default:
		return Services{}, fmt.Errorf("trust.root is %q", t.Root)
	}
}

func servicesFromTUF(ctx context.Context, r repository, opts Options) (Services, error) {
	data, err := r.target(ctx, targetConfig, opts)
	if err != nil {
		return Services{}, err
	}
	return parseServices(data, r.url, opts.now())
}

// parseServices reads a signing config and chooses from it the services that
// are valid now and speak a version that is known.
func parseServices(data []byte, source string, now time.Time) (Services, error) {
	sc, err := root.NewSigningConfigFromJSON(data)
	if err != nil {
		return Services{}, hint.Add(fmt.Errorf("reading %s: %w", source, err), "it must be a Sigstore signing_config.json, version 0.2")
	}
	fulcio, err := root.SelectService(sc.FulcioCertificateAuthorityURLs(), []uint32{1}, now)
	if err != nil {
		return Services{}, fmt.Errorf("reading %s: caUrls: %w", source, err)
	}
	rekor, err := root.SelectServices(sc.RekorLogURLs(), sc.RekorLogURLsConfig(), []uint32{1, 2}, now)
	if err != nil {
		return Services{}, fmt.Errorf("reading %s: rekorTlogUrls: %w", source, err)
	}
	s := Services{Fulcio: service(fulcio)}
	dated := true
	for _, r := range rekor {
		s.Rekor = append(s.Rekor, service(r))
		dated = dated && r.MajorAPIVersion == 1
	}
	if !dated || len(sc.TimestampAuthorityURLs()) > 0 {
		tsa, err := root.SelectServices(sc.TimestampAuthorityURLs(), sc.TimestampAuthorityURLsConfig(), []uint32{1}, now)
		if err != nil {
			return Services{}, fmt.Errorf("reading %s: tsaUrls: %w", source, err)
		}
		for _, a := range tsa {
			s.TSA = append(s.TSA, service(a))
		}
	}
	if issuer, err := root.SelectService(sc.OIDCProviderURLs(), []uint32{1}, now); err == nil {
		s.Issuer = issuer.URL
	}
	return s, nil
}

func service(s root.Service) Service { return Service{URL: s.URL, Version: s.MajorAPIVersion} }
