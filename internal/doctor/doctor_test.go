package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/advisory/sample"
	"github.com/hallmark-sh/hallmark/internal/doctor"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

const (
	repository = "acme/app"
	workflow   = ".github/workflows/release.yml"
	branch     = "refs/heads/main"
	commit     = "15bf79ea9c89fffbf5dd02c6b5b686b291bfcbd2"
)

// ward is a whole chain on this machine, healthy until a test breaks something.
type ward struct {
	doctor.Chain
	t        *testing.T
	local    *localtrust.Local
	registry *registrytest.Server
	services *httptest.Server
	down     bool
}

func newWard(t *testing.T, opts registrytest.Options) *ward {
	t.Helper()
	home := t.TempDir()
	for _, key := range []string{"HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(key, home)
	}
	w := &ward{t: t}
	local, err := localtrust.Open(t.Context(), filepath.Join(t.TempDir(), "trust"), localtrust.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { local.Close() })
	w.local = local
	w.services = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if w.down {
			http.Error(rw, "down", http.StatusServiceUnavailable)
			return
		}
		local.Handler().ServeHTTP(rw, req)
	}))
	t.Cleanup(w.services.Close)
	w.registry = registrytest.Start(t, opts)
	client, err := registry.New(registry.Options{Retry: registry.Retry{Attempts: 1}})
	if err != nil {
		t.Fatal(err)
	}
	material, err := root.NewTrustedRootFromJSON(local.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	w.Chain = doctor.Chain{
		Policy: policy.Policy{
			Version: 1, Image: w.registry.Host + "/acme/app", Evidence: policy.AllEvidence(),
			Identity: policy.Identity{Issuer: localtrust.Issuer, Repository: repository, Workflow: workflow, Ref: branch},
			Trust:    policy.Trust{Root: policy.RootPrivate},
		},
		Tokens:   w.as(claims()),
		Registry: client,
		Anchor: func(context.Context) (trust.Anchor, error) {
			return trust.Anchor{Material: material, JSON: local.TrustedRoot(), Source: "test"}, nil
		},
		Services: func(context.Context) (trust.Services, error) {
			return trust.Services{Fulcio: trust.Service{URL: w.services.URL}, Rekor: []trust.Service{{URL: w.services.URL}}}, nil
		},
		Advisories: advisory.Options{From: w.database(time.Hour), CacheDir: t.TempDir()},
		Memory:     func(context.Context) error { return nil },
		Now:        time.Now,
	}
	return w
}

func claims() oidc.Claims { return localtrust.GitHubClaims(repository, workflow, branch, commit) }

func (w *ward) as(c oidc.Claims) oidc.Source { return w.local.As(c) }

// database is an advisory database of so long ago.
func (w *ward) database(age time.Duration) string {
	w.t.Helper()
	dir := w.t.TempDir()
	if _, err := advisory.Build(w.t.Context(), advisory.BuildOptions{Sources: sample.Sources(), Out: dir, Time: time.Now().Add(-age)}); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// examine gives the states of one check, and fails when one that is not good
// says nothing of what mends it.
func (w *ward) examine(check string) (states []doctor.Status, said string) {
	w.t.Helper()
	found, err := doctor.Examine(w.t.Context(), w.Chain, []string{check}, func(string) {})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range found {
		states = append(states, f.Status)
		said += fmt.Sprintf("%s %s: %s (%s)\n", f.Check, f.Status, f.Seen, f.Mend)
		if f.Check != check || f.Seen == "" || (f.Status == doctor.Broken || f.Status == doctor.Warning) && f.Mend == "" {
			w.t.Errorf("a finding says too little: %+v", f)
		}
	}
	return states, said
}

const goodTrust = `{"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {
  "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
  "token.actions.githubusercontent.com:sub": ["repo:acme/app:ref:refs/heads/main", "repo:acme@1/app@2:ref:refs/heads/main"],
  "token.actions.githubusercontent.com:job_workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main"}}}]}`

// Each part is examined good and broken.
func TestExamine(t *testing.T) {
	type states = []doctor.Status
	const fine, warn, bad, open = doctor.OK, doctor.Warning, doctor.Broken, doctor.Unchecked
	for _, tt := range []struct {
		name, check string
		registry    registrytest.Options
		change      func(*ward)
		want        states
		says        string
	}{
		{"policy", "policy", registrytest.Options{}, nil, states{fine}, "release\\.yml"},
		{"policy of any branch", "policy", registrytest.Options{}, func(w *ward) { w.Policy.Identity.Ref = "" }, states{warn}, "identity.ref"},
		{"policy of a local trust", "policy", registrytest.Options{}, func(w *ward) { w.Policy.Trust.Root = policy.RootLocal }, states{warn}, "one machine"},
		{"policy with an exception that ended", "policy", registrytest.Options{}, func(w *ward) {
			w.Policy.Gate.Exceptions = []policy.Exception{{ID: "CVE-2024-1", Expires: time.Now().Add(-time.Hour)}}
		}, states{warn}, "CVE-2024-1"},

		{"token", "token", registrytest.Options{}, nil, states{fine}, "release.yml@refs/heads/main"},
		{"no token", "token", registrytest.Options{}, func(w *ward) { w.Tokens, w.NoToken = nil, errors.New("not in a job") }, states{open}, "not in a job"},
		{"token of another workflow", "token", registrytest.Options{}, func(w *ward) {
			w.Tokens = w.as(localtrust.GitHubClaims(repository, ".github/workflows/ci.yml", branch, commit))
		}, states{bad}, "ci.yml"},
		{"token of another repository", "token", registrytest.Options{}, func(w *ward) {
			c := claims()
			c.Repository = "acme/other"
			w.Tokens = w.as(c)
		}, states{bad}, "acme/other"},
		{"token of another branch", "token", registrytest.Options{}, func(w *ward) {
			c := claims()
			c.Ref = "refs/heads/x"
			w.Tokens = w.as(c)
		}, states{bad}, "refs/heads/x"},
		{"token of another issuer", "token", registrytest.Options{}, func(w *ward) { w.Policy.Identity.Issuer = policy.GitHubIssuer }, states{bad}, policy.GitHubIssuer},
		{"expired token", "token", registrytest.Options{}, func(w *ward) { w.Now = func() time.Time { return time.Now().Add(time.Hour) } }, states{bad}, "expired"},

		{"trust of AWS", "aws-trust", registrytest.Options{}, func(w *ward) { w.TrustPolicy = []byte(goodTrust) }, states{fine}, "lets the token in"},
		{"no trust policy", "aws-trust", registrytest.Options{}, nil, states{open}, "no trust policy"},
		{"trust of another branch", "aws-trust", registrytest.Options{}, func(w *ward) {
			w.TrustPolicy = []byte(strings.ReplaceAll(goodTrust, "heads/main", "heads/prod"))
		}, states{bad}, "job_workflow_ref"},
		{"trust of anybody", "aws-trust", registrytest.Options{}, func(w *ward) {
			w.TrustPolicy = []byte(strings.ReplaceAll(goodTrust, ":sub", ":environment"))
		}, states{bad}, "no StringEquals on sub"},
		{"trust of nobody", "aws-trust", registrytest.Options{}, func(w *ward) { w.TrustPolicy = []byte(`{"Statement": []}`) }, states{bad}, "allows no sts"},
		{"trust that is no JSON", "aws-trust", registrytest.Options{}, func(w *ward) { w.TrustPolicy = []byte(`{`) }, states{bad}, "reading the trust policy"},

		{"registry, read", "registry", registrytest.Options{}, nil, states{fine, open}, "referrers API"},
		{"registry, written", "registry", registrytest.Options{ImmutableTags: true}, func(w *ward) { w.Write = true }, states{fine}, "written to"},
		{"registry with tags that move", "registry", registrytest.Options{}, func(w *ward) { w.Write = true }, states{fine, warn}, "can be moved"},
		{"registry without referrers", "registry", registrytest.Options{NoReferrers: true}, nil, states{fine, open}, "fallback tag"},
		{"registry that refuses to read", "registry", registrytest.Options{}, func(w *ward) {
			w.registry.Disturb(registrytest.Fault{Path: "/tags/list", Do: registrytest.Status(http.StatusForbidden, "DENIED", "no")})
		}, states{bad}, "403"},
		{"registry that refuses to write", "registry", registrytest.Options{}, func(w *ward) {
			w.Write = true
			w.registry.Disturb(registrytest.Fault{Method: "POST", Do: registrytest.Status(http.StatusForbidden, "DENIED", "no")})
		}, states{bad}, "writing to"},
		{"registry that deletes nothing", "registry", registrytest.Options{ImmutableTags: true}, func(w *ward) {
			w.Write = true
			w.registry.Disturb(registrytest.Fault{Method: "DELETE", Do: registrytest.Status(http.StatusMethodNotAllowed, "UNSUPPORTED", "no")})
		}, states{fine, warn}, "hallmark-doctor"},
		{"registry that isn't there", "registry", registrytest.Options{}, func(w *ward) { w.Policy.Image = "127.0.0.1:1/acme/app" }, states{bad}, "connection refused"},

		{"root", "trust-root", registrytest.Options{}, nil, states{fine}, "the private root"},
		{"root that isn't there", "trust-root", registrytest.Options{}, func(w *ward) {
			w.Anchor = func(context.Context) (trust.Anchor, error) { return trust.Anchor{}, errors.New("no such file") }
		}, states{bad}, "no such file"},
		{"root whose metadata expired", "trust-root", registrytest.Options{}, func(w *ward) {
			a, _ := w.Anchor(t.Context())
			a.Expires = time.Now().Add(-time.Minute)
			w.Anchor = func(context.Context) (trust.Anchor, error) { return a, nil }
		}, states{bad}, "expired"},
		{"root whose metadata is to expire", "trust-root", registrytest.Options{}, func(w *ward) {
			a, _ := w.Anchor(t.Context())
			a.Expires = time.Now().Add(time.Hour)
			w.Anchor = func(context.Context) (trust.Anchor, error) { return a, nil }
		}, states{warn}, "expires"},
		{"root whose authority ended", "trust-root", registrytest.Options{}, func(w *ward) {
			w.Now = func() time.Time { return time.Now().AddDate(100, 0, 0) }
		}, states{bad}, "no certificate authority"},

		{"services", "services", registrytest.Options{}, nil, states{fine}, "answer"},
		{"services down", "services", registrytest.Options{}, func(w *ward) { w.down = true }, states{bad, bad}, "503"},
		{"services not found", "services", registrytest.Options{}, func(w *ward) {
			w.Services = func(context.Context) (trust.Services, error) {
				return trust.Services{}, errors.New("no signing config")
			}
		}, states{bad}, "no signing config"},

		{"clock", "clock", registrytest.Options{}, nil, states{fine}, "agrees"},
		{"clock that is late", "clock", registrytest.Options{}, func(w *ward) { w.Now = func() time.Time { return time.Now().Add(-2 * time.Minute) } }, states{warn}, "off by -"},
		{"clock that is wrong", "clock", registrytest.Options{}, func(w *ward) { w.Now = func() time.Time { return time.Now().Add(time.Hour) } }, states{bad}, "off by "},

		{"advisories", "advisories", registrytest.Options{}, nil, states{fine}, "a database of"},
		{"advisories that age", "advisories", registrytest.Options{}, func(w *ward) { w.Advisories.From = w.database(110 * time.Hour) }, states{warn}, "from"},
		{"advisories of long ago", "advisories", registrytest.Options{}, func(w *ward) { w.Advisories.From = w.database(8000 * time.Hour) }, states{bad}, "older than"},
		{"advisories that aren't there", "advisories", registrytest.Options{}, func(w *ward) { w.Advisories.From = filepath.Join(t.TempDir(), "none") }, states{bad}, "none"},

		{"memory", "memory", registrytest.Options{}, nil, states{fine}, "answers"},
		{"memory that is down", "memory", registrytest.Options{}, func(w *ward) { w.Memory = func(context.Context) error { return errors.New("connection refused") } }, states{bad}, "refused"},
		{"no memory", "memory", registrytest.Options{}, func(w *ward) { w.Memory = nil }, states{open}, "no service"},
		{"no cluster", "cluster-policies", registrytest.Options{}, nil, states{open}, "no cluster"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWard(t, tt.registry)
			if tt.change != nil {
				tt.change(w)
			}
			got, said := w.examine(tt.check)
			if diff := cmp.Diff(tt.want, got); diff != "" || !strings.Contains(said, tt.says) {
				t.Errorf("%s\nwanted %q in\n%s", diff, tt.says, said)
			}
		})
	}
}

// A trial of writing leaves nothing behind, and without one nothing is written.
func TestNothingStays(t *testing.T) {
	for _, immutable := range []bool{false, true} {
		w := newWard(t, registrytest.Options{ImmutableTags: immutable})
		w.examine("registry")
		if writes := w.registry.Writes(); len(writes) != 0 {
			t.Errorf("unasked, it wrote %v", writes)
		}
		w.Write = true
		w.examine("registry")
		resp, err := http.Get("http://" + w.registry.Host + "/v2/acme/app/tags/list")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var list struct{ Tags []string }
		if err := json.NewDecoder(resp.Body).Decode(&list); err != nil && resp.StatusCode != http.StatusNotFound {
			t.Fatal(err)
		}
		if len(list.Tags) != 0 {
			t.Errorf("immutable %v: it leaves %v", immutable, list.Tags)
		}
	}
}

// All checks together are a valid answer, in the order of the chain, and a name
// that is none is refused.
func TestAll(t *testing.T) {
	w := newWard(t, registrytest.Options{})
	found, err := doctor.Examine(t.Context(), w.Chain, nil, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, f := range found {
		if len(order) == 0 || order[len(order)-1] != f.Check {
			order = append(order, f.Check)
		}
		if f.Status == doctor.Broken {
			t.Errorf("%+v", f)
		}
	}
	if diff := cmp.Diff(doctor.Names(), order); diff != "" {
		t.Error(diff)
	}
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schemas/doctor-v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{"healthy": true, "findings": found})
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
	if _, err := doctor.Examine(t.Context(), w.Chain, []string{"weather"}, func(string) {}); err == nil {
		t.Error("a check that doesn't exist was made")
	}
	doc, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range doctor.Names() {
		if !bytes.Contains(doc, []byte("| `"+name+"` |")) {
			t.Errorf("docs/doctor.md says nothing of %s", name)
		}
	}
}
