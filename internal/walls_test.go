// Package internal_test holds the walls of the house: which room may open onto
// which, and which room alone may touch which heavy library.
package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hallmark-sh/hallmark/"

// doors lists, for every room, the rooms it may import. A room that is not
// here may import none, and a new room fails the test until it is given a
// place. Nouns stand first, and know at most other nouns.
var doors = map[string]string{
	"internal/hint":     "",
	"internal/span":     "",
	"internal/source":   "internal/hint",
	"internal/evidence": "internal/hint",
	"internal/verdict":  "",
	"internal/finding":  "internal/hint",
	"internal/sbom":     "internal/component internal/hint",
	"internal/policy":   "internal/finding internal/hint",
	"internal/oidc":     "internal/hint",

	"internal/image":           "internal/hint internal/policy internal/source",
	"internal/manifest":        "",
	"internal/workload":        "internal/manifest",
	"internal/lint":            "internal/manifest",
	"internal/denial":          "",
	"internal/cluster":         "internal/hint internal/manifest internal/workload",
	"internal/admission":       "internal/policy internal/verdict internal/workload",
	"internal/kyverno":         "internal/evidence internal/hint internal/policy internal/provenance",
	"internal/catalog":         "internal/hint internal/sbom",
	"internal/scan":            "internal/catalog internal/finding internal/hint internal/sbom",
	"internal/scan/scantest":   "",
	"internal/advisory":        "internal/advisory/osv internal/component internal/finding internal/hint internal/policy internal/vulnerability",
	"internal/advisory/osv":    "",
	"internal/advisory/sample": "internal/advisory",
	"internal/gate":            "internal/finding internal/policy",
	"internal/scaffold":        "internal/hint internal/policy",
	"internal/registry":        "internal/evidence internal/hint internal/image",
	"internal/provenance":      "internal/evidence internal/hint internal/image internal/oidc internal/source",
	"internal/trust":           "internal/hint internal/policy",
	"internal/sign":            "internal/evidence internal/hint internal/oidc internal/trust",
	"internal/localtrust":      "internal/hint internal/oidc internal/policy internal/trust",
	"internal/localregistry":   "internal/hint",
	"internal/verify":          "internal/evidence internal/finding internal/hint internal/image internal/policy internal/provenance internal/registry internal/sbom internal/trust internal/verdict",

	"internal/component":     "",
	"internal/vulnerability": "internal/finding",
	"internal/index":         "internal/component internal/finding internal/vulnerability",

	"internal/store":          "",
	"internal/store/sqlite":   "internal/hint internal/store",
	"internal/store/postgres": "internal/hint internal/store",
	"internal/memory":         "internal/component internal/finding internal/index internal/store internal/vulnerability",
	"internal/intake":         "internal/hint internal/memory internal/policy internal/registry internal/sbom internal/span internal/store internal/verify",
	"internal/access":         "internal/hint",
	"internal/query":          "internal/access internal/finding internal/hint internal/index internal/intake internal/memory internal/sbom internal/span internal/store internal/vulnerability",
	"internal/notify":         "",
	"internal/difference":     "internal/component internal/finding",
	"internal/pullrequest":    "internal/hint",

	"internal/doctor": "internal/advisory internal/cluster internal/hint internal/lint internal/manifest internal/oidc internal/policy internal/registry internal/trust",

	"internal/release": "internal/advisory internal/catalog internal/evidence internal/finding internal/gate internal/hint internal/image internal/oidc internal/policy internal/provenance internal/registry internal/sbom internal/scan internal/sign internal/source internal/trust internal/verdict internal/verify",
}

// walls are the heavy libraries, each with the only rooms that may import it
// and the reason.
var walls = []struct{ library, rooms, reason string }{
	{"github.com/hashicorp/hcl", "none", "Terraform is read by tests; hallmark itself only writes it"},
	{"github.com/spf13/cobra", "internal/cli", "flags are the command line's; a room with flags cannot be called by another"},
	{"github.com/anchore/syft", "internal/catalog internal/scan internal/advisory", "cataloguing is replaceable only while one room knows the cataloguer; grype's own types are syft's"},
	{"github.com/anchore/stereoscope", "internal/catalog", "how syft reads layers is catalog's own matter"},
	{"github.com/anchore/grype", "internal/scan internal/scan/scantest internal/advisory internal/index", "matching and the database format are grype's; findings are ours"},
	{"github.com/anchore/grype/grype/db", "internal/scan internal/scan/scantest internal/advisory", "the index compares versions as grype does, and knows nothing else of it"},
	{"github.com/RoaringBitmap/roaring", "internal/index", "how the index holds its sets is its own matter"},
	{"github.com/moby", "internal/image", "an engine is one way among three to build"},
	{"github.com/sigstore", "internal/trust internal/sign internal/verify internal/localtrust internal/oidc", "only who signs or judges may know Sigstore"},
	{"github.com/digitorus/timestamp", "internal/localtrust", "the timestamp authority is the local trust's"},
	{"github.com/google/go-containerregistry/pkg/v1/remote", "internal/registry internal/image", "the registry is spoken to in one room, except for a base image"},
	{"github.com/google/go-containerregistry/pkg/authn", "internal/registry internal/image internal/cli", "credentials stay where requests are made"},
	{"github.com/awslabs", "internal/registry", "cloud credentials stay where requests are made"},
	{"github.com/google/go-github", "internal/pullrequest", "GitHub's API is spoken to in one room"},
	{"github.com/openvex", "internal/finding", "VEX is read once, into statements of our own"},
	{"github.com/owenrumney/go-sarif", "internal/finding internal/lint", "SARIF is one way to write findings, of packages or of policies"},
	{"github.com/glebarez/go-sqlite", "internal/scan internal/advisory internal/catalog internal/store/sqlite", "no SQL outside the rooms that keep data; syft reads RPM databases with the driver"},
	{"github.com/danielgtaylor/huma", "internal/query", "HTTP is one way to ask; the rooms that answer must not know it"},
	{"github.com/prometheus/client_golang", "internal/query", "what is counted is told by the rooms, and counted where it is served"},
	{"go.opentelemetry.io", "internal/span internal/cli", "rooms mark what they do, and one knows where that is told"},
	{"k8s.io", "internal/cluster", "a cluster is read in one room; the rest knows objects and workloads"},
	{"github.com/jackc/pgx", "internal/store/postgres internal/store/postgres/postgrestest", "no SQL outside the rooms that keep data"},
}

type room struct {
	ImportPath string
	Imports    []string
}

func rooms(t *testing.T) []room {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"internal/...", module+"cmd/...").Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var all []room
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var r room
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		r.ImportPath = strings.TrimPrefix(r.ImportPath, module)
		all = append(all, r)
	}
}

// The command line and the demonstration wire rooms together and may open any.
func wires(path string) bool {
	return path == "internal/cli" || path == "internal/demo" || strings.HasPrefix(path, "cmd/") || strings.HasSuffix(path, "test")
}

func TestDoors(t *testing.T) {
	for _, r := range rooms(t) {
		allowed, known := doors[r.ImportPath]
		if wires(r.ImportPath) {
			continue
		}
		if !known && r.ImportPath != "internal" {
			t.Errorf("%s has no place in the house: give it one in this table", r.ImportPath)
		}
		for _, path := range r.Imports {
			other, ours := strings.CutPrefix(path, module)
			if ours && !slices.Contains(strings.Fields(allowed), other) {
				t.Errorf("%s imports %s: there is no door", r.ImportPath, other)
			}
		}
	}
}

func TestWalls(t *testing.T) {
	for _, r := range rooms(t) {
		for _, path := range r.Imports {
			for _, w := range walls {
				inside := path == w.library || strings.HasPrefix(path, w.library+"/")
				if inside && !slices.Contains(strings.Fields(w.rooms), r.ImportPath) {
					t.Errorf("%s imports %s: %s", r.ImportPath, path, w.reason)
				}
			}
		}
	}
}

func TestMainDecidesNothing(t *testing.T) {
	for _, r := range rooms(t) {
		if !strings.HasPrefix(r.ImportPath, "cmd/") {
			continue
		}
		for _, path := range r.Imports {
			if other, ours := strings.CutPrefix(path, module); ours && other != "internal/cli" {
				t.Errorf("%s imports %s: main only hands over to the command line", r.ImportPath, other)
			}
		}
	}
}
