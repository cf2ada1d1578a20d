package image

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// credentials lets BuildKit pull base images with the caller's keychain: it
// asks over the build's session, registry by registry, when it needs to.
type credentials struct {
	auth.UnimplementedAuthServer
	keychain authn.Keychain
}

// Register adds the service to the session.
func (c credentials) Register(server *grpc.Server) { auth.RegisterAuthServer(server, c) }

// Credentials gives user and password for a registry, both empty for none.
func (c credentials) Credentials(_ context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	if c.keychain == nil {
		return &auth.CredentialsResponse{}, nil
	}
	host := r.Host
	if host == "registry-1.docker.io" {
		host = name.DefaultRegistry
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "reading registry name %q: %v", host, err)
	}
	found, err := c.keychain.Resolve(registry)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "looking up credentials for %s: %v", host, err)
	}
	config, err := found.Authorization()
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "looking up credentials for %s: %v", host, err)
	}
	if config.IdentityToken != "" {
		return &auth.CredentialsResponse{Secret: config.IdentityToken}, nil
	}
	return &auth.CredentialsResponse{Username: config.Username, Secret: config.Password}, nil
}
