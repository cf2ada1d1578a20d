package registry

import (
	"context"
	"fmt"
	"io"
	"time"

	ecr "github.com/awslabs/amazon-ecr-credential-helper/ecr-login"
	ecrapi "github.com/awslabs/amazon-ecr-credential-helper/ecr-login/api"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/authn/github"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// credentialAge is how long credentials are used before they are asked for
// again: Amazon's last twelve hours, and a server runs for longer.
const credentialAge = time.Hour

// keychain asks in order: what the caller brought, the docker configuration
// with its helpers, Amazon's own credentials for its registries, and
// GITHUB_TOKEN for ghcr.io. The first that knows the host wins.
func keychain(first []authn.Keychain) authn.Keychain {
	chain := append([]authn.Keychain{}, first...)
	chain = append(chain,
		dockerKeychain{},
		authn.NewKeychainFromHelper(ecr.NewECRHelper(ecr.WithLogger(io.Discard))),
		github.Keychain,
	)
	return authn.RefreshingKeychain(authn.NewMultiKeychain(chain...), credentialAge)
}

// dockerKeychain says what to do when the configuration or one of its helpers
// is broken: a broken file must not read as "no credentials".
type dockerKeychain struct{}

func (k dockerKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

func (dockerKeychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, target)
	if err != nil {
		err = fmt.Errorf("reading the docker configuration: %w", err)
		return nil, hint.Add(err, "repair the docker configuration (config.json) or the credential helper it names for %s", target.RegistryStr())
	}
	return auth, nil
}

func isECR(host string) bool {
	_, err := ecrapi.ExtractRegistry(host)
	return err == nil
}
