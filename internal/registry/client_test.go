package registry_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// release does all that a release does at a registry.
func release(t *testing.T, client *registry.Client, repo name.Repository) error {
	t.Helper()
	d, err := client.Push(t.Context(), anIndex(t, 20), repo, nil)
	if err != nil {
		return err
	}
	platforms, err := client.Platforms(t.Context(), d)
	if err != nil {
		return err
	}
	for _, subject := range []name.Digest{d, repo.Digest(platforms[0].Digest.String()), repo.Digest(platforms[1].Digest.String())} {
		if err := client.Attach(t.Context(), subject, bundles(4)); err != nil {
			return err
		}
		if found, err := client.Evidence(t.Context(), subject); err != nil || len(found) != 4 {
			return fmt.Errorf("%d bundles: %w", len(found), err)
		}
	}
	return client.Tag(t.Context(), d, "v1")
}

func TestAuthentication(t *testing.T) {
	noCredentials(t)
	keys := []authn.Keychain{login("bank", "secret")}
	tests := []struct {
		name string
		auth *registrytest.Auth
		keys []authn.Keychain
		ok   bool
	}{
		{"basic", &registrytest.Auth{User: "bank", Password: "secret"}, keys, true},
		{"basic, nobody", &registrytest.Auth{User: "bank", Password: "secret"}, nil, false},
		{"basic, wrong password", &registrytest.Auth{User: "bank", Password: "other"}, keys, false},
		{"bearer", &registrytest.Auth{User: "bank", Password: "secret", Bearer: true}, keys, true},
		{"bearer, nobody", &registrytest.Auth{User: "bank", Password: "secret", Bearer: true}, nil, false},
		{"bearer, token expires midway", &registrytest.Auth{User: "bank", Password: "secret", Bearer: true, ExpireAt: []int{4, 7, 12, 20, 35, 50}}, keys, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := registrytest.Start(t, registrytest.Options{Auth: test.auth})
			client := newClient(t, registry.Options{Keychains: test.keys, Jobs: 1})
			err := release(t, client, server.Repository(t, "team/app"))
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var status *registry.StatusError
			if !errors.As(err, &status) || status.Status != http.StatusUnauthorized || !strings.Contains(hint.Of(err), "docker login") {
				t.Errorf("got %v (hint %q), want 401 with the hint to log in", err, hint.Of(err))
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// One token for all that a release does, and no more rights than needed for
// reading.
func TestTokensAreReused(t *testing.T) {
	noCredentials(t)
	auth := &registrytest.Auth{User: "bank", Password: "secret", Bearer: true}
	server := registrytest.Start(t, registrytest.Options{Auth: auth})
	keys := []authn.Keychain{login("bank", "secret")}
	repo := server.Repository(t, "team/app")
	if err := release(t, newClient(t, registry.Options{Keychains: keys}), repo); err != nil {
		t.Fatal(err)
	}
	reader := newClient(t, registry.Options{Keychains: keys})
	for range 2 {
		if _, err := reader.Resolve(t.Context(), repo.Tag("v1")); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"repository:team/app:push,pull", "repository:team/app:pull"}
	if diff := cmp.Diff(want, auth.Scopes()); diff != "" {
		t.Errorf("scopes asked for (-want +got):\n%s", diff)
	}
	if n := server.Count("GET", "/v2/") - server.Count("GET", "/v2/team"); n != 2 {
		t.Errorf("pinged %d times, want once per client", n)
	}
}

func TestDockerConfiguration(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{Auth: &registrytest.Auth{User: "bank", Password: "secret"}})
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	config := filepath.Join(dir, "config.json")
	write := func(text string) {
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	repo := server.Repository(t, "app")
	write(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, server.Host, base64.StdEncoding.EncodeToString([]byte("bank:secret"))))
	if err := release(t, newClient(t, registry.Options{}), repo); err != nil {
		t.Error(err)
	}
	write(`{"auths":`)
	if err := release(t, newClient(t, registry.Options{}), repo); err == nil || !strings.Contains(hint.Of(err), "docker configuration") {
		t.Errorf("broken configuration: %v (hint %q)", err, hint.Of(err))
	}

	// A helper that answers, and one that does not exist.
	bin := t.TempDir()
	script := "#!/bin/sh\necho '{\"Username\":\"bank\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-test"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	write(fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, server.Host))
	if err := release(t, newClient(t, registry.Options{}), repo); err != nil {
		t.Errorf("credential helper: %v", err)
	}
	write(fmt.Sprintf(`{"credHelpers":{%q:"missing"}}`, server.Host))
	if err := release(t, newClient(t, registry.Options{}), repo); err == nil {
		t.Error("a missing credential helper read as no credentials and passed")
	}
}

func TestTLS(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{TLS: true})
	repo := server.Repository(t, "app")
	if err := release(t, newClient(t, registry.Options{CAFile: server.CAFile}), repo); err != nil {
		t.Error(err)
	}
	if err := release(t, newClient(t, registry.Options{Insecure: true}), repo); err != nil {
		t.Error(err)
	}
	server.Forget()
	err := release(t, newClient(t, registry.Options{}), repo)
	if err == nil || !strings.Contains(hint.Of(err), "--registry-ca") {
		t.Errorf("without the certificate: %v (hint %q)", err, hint.Of(err))
	}
	if len(server.Log()) != 0 {
		t.Errorf("requests reached an unknown server: %v", server.Log())
	}
	for text, why := range map[string]string{"no certificate": "holds no PEM", "": "holds no PEM"} {
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := registry.New(registry.Options{CAFile: file}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("CA file %q: %v", text, err)
		}
	}
}

// elsewhere sends every connection to the server, whatever host it is for.
func elsewhere(server *registrytest.Server) http.RoundTripper {
	return &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Host)
	}}
}

func TestPlainHTTP(t *testing.T) {
	noCredentials(t)
	for _, host := range []string{"registry.test", "10.1.2.3:5000", "192.168.1.1", "box.local"} {
		server := registrytest.Start(t, registrytest.Options{})
		repo, err := name.NewRepository(host + "/app")
		if err != nil {
			t.Fatal(err)
		}
		err = release(t, newClient(t, registry.Options{Transport: elsewhere(server)}), repo)
		if err == nil {
			t.Errorf("%s: spoken to without TLS", host)
		}
		if !errors.Is(err, registry.ErrPlainHTTP) || !strings.Contains(hint.Of(err), "--INSECURE-registry") {
			t.Errorf("%s: %v (hint %q), want ErrPlainHTTP", host, err, hint.Of(err))
		}
		if len(server.Log()) != 0 {
			t.Errorf("%s: requests were sent: %v", host, server.Log())
		}
		if err := release(t, newClient(t, registry.Options{Transport: elsewhere(server), Insecure: true}), repo); err != nil {
			t.Errorf("%s, insecure: %v", host, err)
		}
	}
}

// A registry that redirects into the network does not get its way.
func TestRedirects(t *testing.T) {
	noCredentials(t)
	inside := registrytest.Start(t, registrytest.Options{})
	for _, to := range []string{"http://" + inside.Host + "/v2/", "http://localhost:1/", "http://169.254.169.254/latest/meta-data/"} {
		server := registrytest.Start(t, registrytest.Options{})
		repo, err := name.NewRepository("registry.test/app")
		if err != nil {
			t.Fatal(err)
		}
		client := newClient(t, registry.Options{Transport: elsewhere(server), Insecure: true})
		d := pushed(t, client, repo)
		server.Disturb(registrytest.Fault{Method: "GET", Path: "/manifests/", Do: func(_ *registrytest.Server, w http.ResponseWriter, req *http.Request, _ http.Handler) {
			http.Redirect(w, req, to, http.StatusTemporaryRedirect)
		}})
		_, err = newClient(t, registry.Options{Transport: elsewhere(server), Insecure: true}).Resolve(t.Context(), d)
		if err == nil || !strings.Contains(err.Error(), "refusing to follow") {
			t.Errorf("redirect to %s: %v, want a refusal", to, err)
		}
		server.Calm()
		server.Disturb(registrytest.Fault{Method: "POST", Do: func(_ *registrytest.Server, w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusAccepted)
		}})
		if _, err := client.Push(t.Context(), anImage(t, 30, 1, 10), repo, nil); err == nil || !strings.Contains(err.Error(), "refusing to follow") {
			t.Errorf("upload to %s: %v, want a refusal", to, err)
		}
	}
	if len(inside.Log()) != 0 {
		t.Errorf("the inside was asked: %v", inside.Log())
	}
}

// A token server's answer may hold secrets even when it is of no use.
func TestTokenAnswerIsNotShown(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{Auth: &registrytest.Auth{User: "bank", Password: "secret", Bearer: true}})
	client := newClient(t, registry.Options{Keychains: []authn.Keychain{login("bank", "secret")}})
	for body, want := range map[string]string{
		`{"refresh_token":"hunter2"}`: "no token",
		`hunter2 {`:                   "invalid character",
	} {
		server.Calm()
		server.Disturb(registrytest.Fault{Path: "^/token$", Do: registrytest.Body(200, "application/json", body)})
		_, err := client.Resolve(t.Context(), server.Repository(t, "app").Tag("v1"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want an error with %q and without the answer", err, want)
		}
	}
}

// What a registry writes into an error reaches no terminal raw, and no log
// with a secret.
func TestErrorsAreTame(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{})
	repo := server.Repository(t, "app")
	token := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
	message := "\x1b[31mred\r\nBearer " + token + " " + strings.Repeat("long ", 1000)
	server.Disturb(registrytest.Fault{Path: "/manifests/", Do: registrytest.Status(403, "DENIED", message)})
	_, err := newClient(t, registry.Options{}).Resolve(t.Context(), repo.Tag("v1"))
	var status *registry.StatusError
	if !errors.As(err, &status) || status.Code != "DENIED" {
		t.Fatalf("got %v", err)
	}
	text := err.Error()
	if strings.ContainsAny(text, "\x1b\r\n") || strings.Contains(text, token) || len(text) > 600 {
		t.Errorf("error is not tame: %q", text)
	}
}
