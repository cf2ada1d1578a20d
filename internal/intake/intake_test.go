package intake_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/intake/intaketest"
	"github.com/hallmark-sh/hallmark/internal/memory"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

// scene is a yard and a memory that takes in from it.
type scene struct {
	*intaketest.Yard
	t      testing.TB
	intake *intake.Intake
	memory *memory.Memory
}

func newScene(t testing.TB, change func(*intake.Config)) *scene {
	t.Helper()
	home := t.TempDir()
	for _, key := range []string{"HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(key, home)
	}
	yard, err := intaketest.Open(t.Context(), t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { yard.Close() })
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "memory.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m, err := memory.Open(t.Context(), memory.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	config := intake.Config{Registry: yard.Client, Memory: m, Judge: yard.Judge}
	if change != nil {
		change(&config)
	}
	return &scene{yard, t, intake.New(config), m}
}

func (s *scene) release(tag string, purls ...string) name.Digest {
	s.t.Helper()
	made, err := s.Release(s.t.Context(), tag, purls...)
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

func (s *scene) put(tag, mark string) name.Digest {
	s.t.Helper()
	made, err := s.Put(s.t.Context(), tag, mark)
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

func (s *scene) attest(image name.Digest, more ...evidence.Statement) {
	s.t.Helper()
	document, err := intaketest.Document(image, purls)
	if err == nil {
		err = s.Attest(s.t.Context(), image, document, more...)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) take(ref name.Reference) intake.Result {
	s.t.Helper()
	r, err := s.intake.Image(s.t.Context(), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// known says what the memory answers about an image; nil when it knows none.
func (s *scene) known(image name.Digest) *index.ImageReport {
	s.t.Helper()
	report, err := s.memory.Index().Image(image.DigestStr(), index.Options{})
	if errors.Is(err, index.ErrUnknownImage) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return &report
}

func (s *scene) refusals() []store.Refusal {
	s.t.Helper()
	all, err := s.memory.Store.Refusals(s.t.Context(), 100)
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(r store.Refusal) bool { return !r.Ended.IsZero() })
}

var purls = []string{"pkg:pypi/django@2.0.1", "pkg:pypi/flask@3.0.0", "pkg:deb/debian/openssl@3.0.11?distro=debian-12"}

func TestImage(t *testing.T) {
	s := newScene(t, nil)
	image := s.release("v1", purls...)
	r := s.take(s.Repository.Tag("v1"))
	if r.Result != store.Stored || !r.Verified || r.Packages != 3 || r.NewPackages != 3 || r.Digest != image.DigestStr() || r.Code != "" {
		t.Errorf("taken in: %+v", r)
	}
	got := s.known(image)
	if got == nil || len(got.Packages) != 3 || !got.Verified || got.Commit != intaketest.Commit || got.Evidence.String() != r.Evidence {
		t.Fatalf("known of it: %+v", got)
	}
	if again := s.take(image); again.Result != store.Unchanged || again.NewPackages != 0 || again.Evidence != r.Evidence {
		t.Errorf("again: %+v", again)
	}
}

// What is not proven tells the memory nothing, and is kept with its reason
// until it is proven.
func TestRefused(t *testing.T) {
	s := newScene(t, nil)
	bare := s.put("bare", "bare")
	for _, c := range []struct {
		ref  name.Reference
		code string
	}{{s.Repository.Tag("bare"), "no-evidence"}, {s.Repository.Tag("missing"), "image-not-found"}} {
		r := s.take(c.ref)
		if r.Result != intake.Refused || r.Code != c.code || r.Reason == "" || r.Verified || r.Packages != 0 {
			t.Errorf("%s: %+v, want %s", c.ref, r, c.code)
		}
	}
	if s.known(bare) != nil {
		t.Error("a refused image is answered about")
	}
	s.take(s.Repository.Tag("bare"))
	standing := s.refusals()
	if len(standing) != 2 || standing[0].Code != "no-evidence" || standing[0].Times != 2 || standing[0].Reason == "" || standing[1].Times != 1 {
		t.Errorf("the refusals: %+v", standing)
	}
	s.attest(bare)
	if r := s.take(s.Repository.Tag("bare")); r.Result != store.Stored {
		t.Errorf("proven later: %+v", r)
	}
	if standing := s.refusals(); len(standing) != 1 || standing[0].Code != "image-not-found" {
		t.Errorf("the refusals then: %+v", standing)
	}
}

// Evidence of another image, and an SBOM that says nothing, must not get in.
func TestRefusedDocuments(t *testing.T) {
	s := newScene(t, nil)
	other, empty := s.put("other", "other"), s.put("empty", "empty")
	document, err := intaketest.Document(s.Repository.Digest("sha256:"+hexOf), purls)
	if err == nil {
		err = s.Attest(t.Context(), other, document)
	}
	if err != nil {
		t.Fatal(err)
	}
	if document, err = intaketest.Document(empty, nil); err == nil {
		err = s.Attest(t.Context(), empty, document)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []name.Digest{other, empty} {
		if r := s.take(image); r.Result != intake.Refused || !strings.Contains(r.Code, "sbom") || r.Reason == "" {
			t.Errorf("%+v", r)
		}
		if s.known(image) != nil {
			t.Errorf("%s is answered about", image)
		}
	}
}

// A repository that no policy covers must cost no request to it.
func TestNoPolicy(t *testing.T) {
	s := newScene(t, nil)
	elsewhere, err := name.NewRepository("127.0.0.1:1/acme/other", name.StrictValidation)
	if err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]func() error{
		"an image":       func() error { _, err := s.intake.Image(t.Context(), elsewhere.Tag("v1")); return err },
		"a notification": func() error { _, err := s.intake.Notified(t.Context(), elsewhere.Digest("sha256:"+hexOf)); return err },
		"a sweep":        func() error { _, err := s.intake.Sweep(t.Context(), elsewhere, nil); return err },
	} {
		if err := f(); !errors.Is(err, intake.ErrNoPolicy) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(s.refusals()) > 0 {
		t.Errorf("refusals of a repository nobody asked to keep: %+v", s.refusals())
	}
}

// Nothing could be found out is an error, and no refusal.
func TestRegistryDown(t *testing.T) {
	s := newScene(t, nil)
	s.release("v1", purls...)
	s.Close()
	if r, err := s.intake.Image(t.Context(), s.Repository.Tag("v1")); err == nil {
		t.Errorf("%+v", r)
	}
	if len(s.refusals()) > 0 {
		t.Errorf("%+v", s.refusals())
	}
}

func TestVEX(t *testing.T) {
	s := newScene(t, nil)
	image := s.put("v1", "v1")
	vex := fmt.Sprintf(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://acme.example/vex/1","author":"acme","timestamp":"2026-01-01T00:00:00Z","version":1,
		"statements":[{"vulnerability":{"name":"CVE-2019-14234"},"products":[{"@id":%q}],"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"}]}`,
		"pkg:oci/app@"+image.DigestStr())
	good, err := s.Statement(image, evidence.OpenVEX, []byte(vex))
	if err != nil {
		t.Fatal(err)
	}
	bad, err := s.Statement(image, evidence.OpenVEX, []byte(`{"statements":"none"}`))
	if err != nil {
		t.Fatal(err)
	}
	s.attest(image, good, bad)
	if r := s.take(image); r.Result != store.Stored || r.VEX != 1 {
		t.Errorf("%+v, want one VEX document of two taken in", r)
	}
}

// A notification of evidence is one of the image that the evidence is about,
// and an image that is pushed before its evidence waits.
func TestNotified(t *testing.T) {
	s := newScene(t, nil)
	image := s.put("v1", "v1")
	r, err := s.intake.Notified(t.Context(), image)
	if err != nil || r.Result != intake.Waiting || r.Code == "" || len(s.refusals()) > 0 {
		t.Errorf("before its evidence: %+v, %v, %+v", r, err, s.refusals())
	}
	s.attest(image)
	found, err := s.Client.Find(t.Context(), image)
	if err != nil || len(found.Bundles) == 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	r, err = s.intake.Notified(t.Context(), s.Repository.Digest(found.Bundles[0].Manifest.String()))
	if err != nil || r.Result != store.Stored || r.Digest != image.DigestStr() {
		t.Errorf("by its evidence: %+v, %v", r, err)
	}
	if r, err = s.intake.Notified(t.Context(), s.Repository.Tag("v1")); err != nil || r.Result != store.Unchanged {
		t.Errorf("by its tag: %+v, %v", r, err)
	}
	if got := s.known(image); got == nil || !slices.Contains(got.Tags, "v1") {
		t.Errorf("its tag is not known: %+v", got)
	}
}

// A sweep must come to all pages of the registry's list, go on past what is
// refused, and take in the subjects of evidence that is kept under tags.
func TestSweep(t *testing.T) {
	s := newScene(t, nil)
	want := map[string]store.Result{}
	for n := range 7 {
		s.release(fmt.Sprint("v", n), append(purls, fmt.Sprintf("pkg:pypi/own@%d", n))...)
		want[s.Repository.Tag(fmt.Sprint("v", n)).String()] = store.Stored
	}
	for n := range 3 {
		s.put(fmt.Sprint("bare", n), fmt.Sprint("bare", n))
		want[s.Repository.Tag(fmt.Sprint("bare", n)).String()] = intake.Refused
	}
	untagged := s.put("was", "untagged")
	s.attest(untagged)
	s.put("was", "bare0") // The tag moves away.
	want[s.Repository.Tag("was").String()] = intake.Refused
	s.put("sha256-"+strings.TrimPrefix(untagged.DigestStr(), "sha256:"), "its fallback tag")
	want[untagged.String()] = store.Stored
	var told []intake.Result
	swept, err := s.intake.Sweep(t.Context(), s.Repository, func(r intake.Result) { told = append(told, r) })
	if err != nil || len(swept.Problems) > 0 {
		t.Fatalf("%+v, %v", swept.Problems, err)
	}
	if swept.Tags != len(want) || len(swept.Results) != len(want) || len(told) != len(want) {
		t.Errorf("%d tags, %d results, %d told; want %d", swept.Tags, len(swept.Results), len(told), len(want))
	}
	for _, r := range swept.Results {
		if r.Result != want[r.Image] || (r.Result == intake.Refused) != (r.Reason != "") {
			t.Errorf("%+v, want %s", r, want[r.Image])
		}
	}
	if got := s.memory.Index().Stats(); got.Images != 8 {
		t.Errorf("%d images are known, want 8", got.Images)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.intake.Sweep(stopped, s.Repository, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a sweep that is called off: %v", err)
	}
}

// A loose document comes in only where it may, says so in every answer, and
// never takes the place of what was proven.
func TestDocument(t *testing.T) {
	image := func(s *scene) name.Digest { return s.release("v1", purls...) }
	document := func(about name.Digest) string {
		raw, err := intaketest.Document(about, purls[:1])
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	closed := newScene(t, nil)
	about := image(closed)
	if r, err := closed.intake.Document(t.Context(), about, strings.NewReader(document(about))); !errors.Is(err, intake.ErrUnverified) {
		t.Errorf("where none may come in: %+v, %v", r, err)
	}
	s := newScene(t, func(c *intake.Config) { c.Unverified = true })
	about = image(s)
	r, err := s.intake.Document(t.Context(), about, strings.NewReader(document(about)+"\n\n"))
	if err != nil || r.Result != store.Stored || r.Verified || r.Packages != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if got := s.known(about); got == nil || got.Verified || len(got.Packages) != 1 {
		t.Errorf("known of it: %+v", got)
	}
	who, err := s.memory.Index().WhoHas(index.PackageQuery{Text: "django"}, index.Options{})
	if err != nil || who.Total != 1 || who.Images[0].Verified || who.Doubts.Unverified != 1 {
		t.Errorf("an answer that rests on it does not say so: %+v, %v", who, err)
	}
	if r := s.take(about); r.Result != store.Stored || !r.Verified {
		t.Errorf("proven: %+v", r)
	}
	if r, err = s.intake.Document(t.Context(), about, strings.NewReader(document(about))); err != nil || r.Result != store.Kept {
		t.Errorf("after that: %+v, %v", r, err)
	}
	if got := s.known(about); got == nil || !got.Verified || len(got.Packages) != 3 {
		t.Errorf("known of it then: %+v", got)
	}
	other := s.Repository.Digest("sha256:" + hexOf)
	if r, err = s.intake.Document(t.Context(), other, strings.NewReader(document(about))); err != nil || r.Result != intake.Refused || r.Code != "sbom-other-subject" {
		t.Errorf("of another image: %+v, %v", r, err)
	}
	for what, text := range map[string]string{"half": document(about)[:80], "nothing": "", "two": document(about) + document(about)} {
		if r, err = s.intake.Document(t.Context(), other, strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", what, r)
		}
	}
	if s.known(other) != nil {
		t.Error("something of what was refused is kept")
	}
}
