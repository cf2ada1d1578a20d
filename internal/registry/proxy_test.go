package registry_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/registry"
)

const behindProxy = "HALLMARK_TEST_BEHIND_PROXY"

// The proxy comes from the environment, which a process reads once: the test
// runs itself again with one set.
func TestProxy(t *testing.T) {
	noCredentials(t)
	if os.Getenv(behindProxy) != "" {
		for _, host := range []string{"registry.test", "direct.invalid"} {
			tag, err := name.NewTag(host + "/app:v1")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newClient(t, registry.Options{}).Resolve(t.Context(), tag); err == nil {
				t.Errorf("%s answered", host)
			}
		}
		return
	}
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, req.Method+" "+req.Host)
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$")
	for _, v := range os.Environ() {
		if !strings.Contains(strings.ToLower(v), "_proxy=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, behindProxy+"=1", "HTTPS_PROXY="+proxy.URL, "NO_PROXY=direct.invalid")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"CONNECT registry.test:443"}, asked); diff != "" {
		t.Errorf("asked of the proxy (-want +got):\n%s", diff)
	}
}
