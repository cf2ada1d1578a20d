//go:build peers

package registry_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
	"github.com/hallmark-sh/hallmark/test/peers"
)

// distribution runs the CNCF's reference registry, which has no referrers API,
// and gives it as a handler so that faults can be put before it.
func distribution(t *testing.T) http.Handler {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: %s\n  delete:\n    enabled: true\nhttp:\n  addr: %s\n", dir, address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, err := peers.Command(t.Context(), dir, "registry", "serve", config)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the registry said: %s", said.String())
		}
	})
	base := &url.URL{Scheme: "http", Host: address}
	awaitAnswer(t, base.String()+"/v2/")
	return httputil.NewSingleHostReverseProxy(base)
}

func awaitAnswer(t *testing.T, address string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		if resp, err := http.Get(address); err == nil {
			resp.Body.Close()
			return
		}
	}
	t.Fatalf("%s does not answer", address)
}

func TestDistribution(t *testing.T) {
	noCredentials(t)
	server := registrytest.Start(t, registrytest.Options{Handler: distribution(t)})

	t.Run("release twice", func(t *testing.T) {
		repo := server.Repository(t, "team/app")
		if err := release(t, newClient(t, registry.Options{}), repo); err != nil {
			t.Fatal(err)
		}
		server.Forget()
		if err := release(t, newClient(t, registry.Options{}), repo); err != nil {
			t.Fatal(err)
		}
		if writes := server.Writes(); len(writes) != 0 {
			t.Errorf("the second release wrote %v", writes)
		}
	})
	t.Run("many writers", func(t *testing.T) {
		repo := server.Repository(t, "many")
		d := pushed(t, newClient(t, registry.Options{}), repo)
		signed := bundles(8)
		var group sync.WaitGroup
		for _, one := range signed {
			client := newClient(t, registry.Options{Settle: 300 * time.Millisecond})
			group.Go(func() {
				if err := client.Attach(t.Context(), d, []evidence.Signed{one}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		wantEvidence(t, d, signed)
	})
	t.Run("broken upload", func(t *testing.T) {
		defer server.Calm()
		server.Forget()
		for range 2 {
			server.Disturb(registrytest.Fault{Method: "PATCH", Times: 1, Do: registrytest.ResetAfter(2 << 20)})
		}
		d, err := newClient(t, registry.Options{}).Push(t.Context(), anImage(t, 8, 1, 8<<20), server.Repository(t, "broken"), nil)
		if err != nil {
			t.Fatal(err)
		}
		whole(t, d)
		// Beginning anew takes another POST. Asked how far it is, the registry may still be writing what came before the
		// line broke; it then refuses the next chunk and is asked again, which takes one more PATCH.
		if posts, patches := server.Count("POST", "/blobs/uploads/"), server.Count("PATCH", "/blobs/uploads/"); posts != 2 || patches < 3 {
			t.Errorf("began %d uploads and sent %d chunks, want 2 and at least 3: it must go on where it broke", posts, patches)
		}
	})
	t.Run("lost answers", func(t *testing.T) {
		defer server.Calm()
		for _, f := range []registrytest.Fault{
			{Method: "POST", Path: "/blobs/uploads/", Times: 1, Do: registrytest.LoseAnswer()},
			{Method: "PATCH", Path: "/blobs/uploads/", Times: 1, Do: registrytest.LoseAnswer()},
			{Method: "PUT", Path: "/blobs/uploads/", Times: 1, Do: registrytest.LoseAnswer()},
			{Method: "PUT", Path: "/manifests/", Times: 1, Do: registrytest.LoseAnswer()},
		} {
			server.Disturb(f)
		}
		repo := server.Repository(t, "lost")
		d, err := newClient(t, registry.Options{}).Push(t.Context(), anImage(t, 9, 1, 2<<20), repo, nil)
		if err != nil {
			t.Fatal(err)
		}
		whole(t, d)
	})
}

// crane, which shares no code with this package but the login, reads what was
// stored here and in package localregistry.
func TestCrane(t *testing.T) {
	noCredentials(t)
	for name, opts := range map[string]registrytest.Options{
		"distribution":  {Handler: distribution(t)},
		"localregistry": {},
	} {
		t.Run(name, func(t *testing.T) {
			server := registrytest.Start(t, opts)
			repo := server.Repository(t, "team/app")
			if err := release(t, newClient(t, registry.Options{}), repo); err != nil {
				t.Fatal(err)
			}
			crane := func(args ...string) string {
				t.Helper()
				cmd, err := peers.Command(t.Context(), t.TempDir(), "crane", args...)
				if err != nil {
					t.Fatal(err)
				}
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("crane %s: %v\n%s", strings.Join(args, " "), err, out)
				}
				return string(out)
			}
			tag := repo.Tag("v1").String()
			crane("validate", "--remote", tag)
			copied := server.Repository(t, "copied").Tag("v1").String()
			crane("copy", tag, copied)
			if a, b := crane("digest", tag), crane("digest", copied); a != b {
				t.Errorf("copied %s, got %s", a, b)
			}
		})
	}
}
