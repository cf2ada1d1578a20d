package policy_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// files gives the policy files of a testdata folder by their short name.
func files(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	out := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".yaml")] = data
	}
	return out
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got, -update writes it):\n%s", path, diff)
	}
}

func TestBadPoliciesSayWhatIsWrongAndWhere(t *testing.T) {
	for short, data := range files(t, "bad") {
		t.Run(short, func(t *testing.T) {
			p, err := policy.Parse(short+".yaml", data)
			if err == nil {
				t.Fatalf("accepted: %+v", p)
			}
			if diff := cmp.Diff(policy.Policy{}, p); diff != "" {
				t.Errorf("a refused file left a policy behind:\n%s", diff)
			}
			var typed *policy.Error
			if !errors.As(err, &typed) || len(typed.Problems) == 0 {
				t.Errorf("error is not a *policy.Error with problems: %v", err)
			}
			if hint.Of(err) == "" {
				t.Error("no hint")
			}
			golden(t, filepath.Join("testdata", "bad", short+".txt"), err.Error()+"\n")
		})
	}
}

func TestGoodPoliciesAreReadWithDefaults(t *testing.T) {
	for short, data := range files(t, "good") {
		t.Run(short, func(t *testing.T) {
			p, err := policy.Parse(short+".yaml", data)
			if err != nil {
				t.Fatal(err)
			}
			if p.Path != short+".yaml" {
				t.Errorf("path = %q", p.Path)
			}
			golden(t, filepath.Join("testdata", "good", short+".json"), jsonOf(t, p)+"\n")
			if p.Repository().Name() != p.Image {
				t.Errorf("repository %s, image %s", p.Repository(), p.Image)
			}
		})
	}
}

func TestMinimalPolicyMeansTheStrictDefaults(t *testing.T) {
	got, err := policy.Read(filepath.Join("testdata", "good", "minimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	timeout := policy.Duration(30 * time.Second)
	critical, kev, age := finding.Critical, true, policy.Duration(120*time.Hour)
	want := policy.Policy{
		Version: 1,
		Image:   "ghcr.io/acme/app",
		Gate: policy.Gate{
			Severity: &critical, KEV: &kev, MaxDatabaseAge: &age,
			UnknownSeverity: "warn", Uncovered: "refuse", Uncomparable: "warn",
		},
		Identity: policy.Identity{
			Issuer:     "https://token.actions.githubusercontent.com",
			Repository: "acme/app",
			Workflow:   ".github/workflows/release.yml",
		},
		Trust:    policy.Trust{Root: "public"},
		Evidence: []string{"signature", "sbom", "scan", "provenance"},
		Admission: policy.Admission{
			Mode: "enforce", Timeout: &timeout,
		},
		Path:   filepath.Join("testdata", "good", "minimal.yaml"),
		Digest: "sha256:252c89f30b932db46fe7ef55f35999ef15cf76d6aaf56b17d0848102c692d514",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, link := range want.Evidence {
		if !got.Wants(link) {
			t.Errorf("does not want %s", link)
		}
	}
	if got.Wants("vibes") {
		t.Error("wants what it does not name")
	}
}

func TestReadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "hallmark.yaml")
	if _, err := policy.Read(missing); !errors.Is(err, os.ErrNotExist) || hint.Of(err) == "" || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v, hint %q", err, hint.Of(err))
	}
	if _, err := policy.Read(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("folder: %v", err)
	}
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, []byte(strings.Repeat("#", policy.MaxSize+1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Read(big); err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("too large: %v", err)
	}
}

func TestOneErrorListsAtMostTwentyProblems(t *testing.T) {
	_, err := policy.Parse("p", []byte("version: 1\n"+strings.Repeat("- x\n", 2)))
	if err == nil {
		t.Fatal("accepted")
	}
	var many strings.Builder
	for i := range 100 {
		many.WriteString("key" + strings.Repeat("x", i) + ": 1\n")
	}
	_, err = policy.Parse("p", []byte(many.String()))
	var typed *policy.Error
	if !errors.As(err, &typed) || len(typed.Problems) != 20 {
		t.Errorf("got %v", err)
	}
}

// Each of these held the parser for minutes, at a size well under MaxSize.
func TestNestingIsBoundedBeforeParsing(t *testing.T) {
	for _, piece := range []string{"[", "{", "- ", "a: ", "{a: ", "[a,", "? ", ": ", "- [", "[- ", "[],", "-\n", "a:\n"} {
		for _, before := range []string{"", "x: ", "x: [", "x:\n  "} {
			_, err := policy.Parse("p", []byte(before+strings.Repeat(piece, 20000/len(piece))))
			if err == nil {
				t.Errorf("accepted %q after %q", piece, before)
			}
		}
	}
	_, err := policy.Parse("p", []byte(strings.Repeat("- x\n", 100000)))
	if err == nil || !strings.Contains(err.Error(), "too long for a policy") {
		t.Errorf("a long list: %v", err)
	}
}

func TestZeroPolicyNamesNoRepository(t *testing.T) {
	if got := (policy.Policy{}).Repository(); got.RepositoryStr() != "" {
		t.Errorf("got %v", got)
	}
}
