package registry_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// The requests that each operation costs, counted at the registry. A change
// here is a change of what hallmark costs its registry: make it on purpose.
func TestRoundTrips(t *testing.T) {
	noCredentials(t)
	built := anImage(t, 40, 2, 1000)
	tests := []struct {
		name string
		opts registrytest.Options
		want map[string]int
	}{
		{"referrers", registrytest.Options{}, map[string]int{
			// ping; manifest?; 3 x (blob?, begin, send); manifest; read back
			"push":       13,
			"push again": 2,
			// list; config?, begin, send; 4 x (begin, send, manifest); list
			"attach 4": 17,
			// list
			"attach 4 again": 1,
			// tag?; tag; read back
			"tag":       3,
			"tag again": 1,
			// list, fallback tag, 3 legacy tags; 4 x (manifest, bundle)
			"evidence, new client": 14,
			"evidence":             9,
			"resolve":              1,
		}},
		{"no referrers", registrytest.Options{NoReferrers: true}, map[string]int{
			"push":       13,
			"push again": 2,
			// list; tag?; config?, begin, send; 4 x (begin, send, manifest);
			// tag?; tag; read back
			"attach 4": 20,
			// list; tag; 4 x manifest?
			"attach 4 again":       6,
			"tag":                  3,
			"tag again":            1,
			"evidence, new client": 14,
			"evidence":             9,
			"resolve":              1,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := registrytest.Start(t, test.opts)
			repo := server.Repository(t, "app")
			d := repo.Digest(built.Digest.String())
			client := newClient(t, registry.Options{})
			got := map[string]int{}
			count := func(name string, do func() error) {
				t.Helper()
				server.Forget()
				if err := do(); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got[name] = len(server.Log())
			}
			push := func() error {
				_, err := newClient(t, registry.Options{}).Push(t.Context(), built, repo, nil)
				return err
			}
			count("push", func() error { _, err := client.Push(t.Context(), built, repo, nil); return err })
			count("push again", push)
			attach := func() error { return client.Attach(t.Context(), d, bundles(4)) }
			count("attach 4", attach)
			count("attach 4 again", attach)
			tag := func() error { return client.Tag(t.Context(), d, "v1") }
			count("tag", tag)
			count("tag again", tag)
			reader := newClient(t, registry.Options{})
			evidence := func() error { _, err := reader.Evidence(t.Context(), d); return err }
			count("evidence, new client", evidence)
			count("evidence", evidence)
			count("resolve", func() error { _, err := reader.Resolve(t.Context(), repo.Tag("v1")); return err })
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}
