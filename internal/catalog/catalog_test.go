package catalog_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/catalog"
	"github.com/hallmark-sh/hallmark/internal/catalog/catalogtest"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/sbom"
)

// sample has something of four ecosystems.
func sample() catalogtest.Files {
	return catalogtest.Merge(
		catalogtest.Debian(),
		catalogtest.Dpkg("libc6 2.36-9+deb12u3 glibc", "bash 5.2.15-2"),
		catalogtest.Wheel("requests", "2.31.0"),
		catalogtest.Npm("lodash", "4.17.21"),
	)
}

func options(t testing.TB, img v1.Image) catalog.Options {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return catalog.Options{
		Subject: digest, Platform: "linux/amd64", Repository: "registry.example/demo/app",
		Time: time.Unix(1700000000, 0), Version: "v1.2.3", Scratch: t.TempDir(),
	}
}

func run(t testing.TB, img v1.Image, opts catalog.Options) *catalog.Inventory {
	t.Helper()
	inv, err := catalog.Run(t.Context(), img, opts)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// empty fails the test when a run leaves anything behind.
func empty(t testing.TB, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("%s is left in the scratch folder", left[0].Name())
	}
}

func TestRun(t *testing.T) {
	img := catalogtest.Image(t, sample())
	opts := options(t, img)
	doc := run(t, img, opts).Document
	empty(t, opts.Scratch)

	if doc.Subject != opts.Subject || doc.Platform != "linux/amd64" || doc.Distro != "debian 12" {
		t.Errorf("the document is about %s, %s, %s", doc.Subject, doc.Platform, doc.Distro)
	}
	if diff := cmp.Diff(map[string]int{"deb": 2, "pypi": 1, "npm": 1}, doc.Packages); diff != "" {
		t.Error(diff)
	}
	read, err := sbom.Decode(bytes.NewReader(doc.JSON))
	if err != nil {
		t.Fatal(err)
	}
	want := sbom.Summary{
		SpecVersion: sbom.SpecVersion, SerialNumber: read.SerialNumber, Distro: doc.Distro, Packages: doc.Packages,
		Subject: sbom.Subject{
			Type: "container", Name: opts.Repository, Version: opts.Subject.String(),
			PURL: sbom.ImagePURL(opts.Repository, opts.Subject, opts.Platform), Digests: []string{opts.Subject.String()},
		},
	}
	if diff := cmp.Diff(want, read); diff != "" {
		t.Errorf("the document reads back as another: %s", diff)
	}
	for _, want := range []string{`"timestamp":"2023-11-14T22:13:20Z"`, `{"type":"application","name":"hallmark","version":"v1.2.3"}`, `{"type":"application","name":"syft"`} {
		if !strings.Contains(string(doc.JSON), want) {
			t.Errorf("the document lacks %s", want)
		}
	}
	if strings.Contains(string(doc.JSON), `"type":"file"`) {
		t.Error("the document lists files unasked")
	}
}

func TestRunIsReproducible(t *testing.T) {
	img := catalogtest.Image(t, sample(), catalogtest.Npm("left-pad", "1.3.0"))
	for _, files := range []bool{false, true} {
		opts := options(t, img)
		opts.Files = files
		one := run(t, img, opts).Document.JSON
		two := run(t, img, options(t, img)).Document.JSON
		if files {
			two = run(t, img, opts).Document.JSON
		}
		if diff := cmp.Diff(string(one), string(two)); diff != "" {
			t.Errorf("files %v: two runs differ: %s", files, diff)
		}
		opts.Version = "v9"
		if other := run(t, img, opts).Document.JSON; bytes.Equal(one, other) {
			t.Error("another version of hallmark gives the same document")
		}
	}
}

func TestRunFiles(t *testing.T) {
	img := catalogtest.Image(t, catalogtest.Merge(sample(), catalogtest.Files{
		"bin/bash":                       "#!",
		"var/lib/dpkg/info/bash.md5sums": "00000000000000000000000000000000  bin/bash\n",
	}))
	opts := options(t, img)
	opts.Files = true
	doc := run(t, img, opts).Document
	if !strings.Contains(string(doc.JSON), `"type":"file","name":"/bin/bash","hashes":[{"alg":"SHA-256"`) {
		t.Errorf("the document does not list the file of a package:\n%s", doc.JSON)
	}
	if doc.Total() != 4 {
		t.Errorf("the document counts %d packages, want 4", doc.Total())
	}
}

// A layer that lies uncompressed on disk is read there, and read just as one
// that has to be spooled.
func TestRunReadsFlatLayersInPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(file, catalogtest.Tar(t, sample()), 0o600); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	counted := &countingLayer{Layer: layer}
	flat := catalogtest.WithLayers(t, counted)
	spooled := catalogtest.Image(t, sample())
	counted.opened = 0
	opts := options(t, flat)
	got := run(t, flat, opts).Document.JSON
	empty(t, opts.Scratch)
	if counted.opened != 1 {
		t.Errorf("the layer was opened %d times: it was spooled", counted.opened)
	}
	if want := run(t, spooled, options(t, spooled)).Document.JSON; string(got) != string(want) {
		t.Errorf("a flat layer gives another document: %s", cmp.Diff(string(want), string(got)))
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the layer's own file is gone: %v", err)
	}
}

// countingLayer counts how often its content is opened.
type countingLayer struct {
	v1.Layer
	opened int
}

func (l *countingLayer) Uncompressed() (io.ReadCloser, error) {
	l.opened++
	return l.Layer.Uncompressed()
}

func TestRunRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		files     catalogtest.Files
		file      string
		cataloger string
	}{
		"npm manifest": {catalogtest.Files{"app/package.json": `{"name":`}, "/app/package.json", "javascript-package-cataloger"},
		"npm manifest of an installed package": {
			catalogtest.Files{"app/node_modules/x/package.json": `{"name":`},
			"/app/node_modules/x/package.json", "javascript-package-cataloger",
		},
		"rpm database":      {catalogtest.Files{"var/lib/rpm/rpmdb.sqlite": "no database"}, "/var/lib/rpm/rpmdb.sqlite", "rpm-db-cataloger"},
		"apk database":      {catalogtest.Files{"lib/apk/db/installed": "P:musl\nV:1.2.3\nnonsense\n\n"}, "/lib/apk/db/installed", "apk-db-cataloger"},
		"dpkg database":     {catalogtest.Files{"var/lib/dpkg/status": "Package: a\nVersion: 1\nVersion: 2\n\n"}, "/var/lib/dpkg/status", "dpkg-db-cataloger"},
		"dpkg, nothing in":  {catalogtest.Files{"var/lib/dpkg/status": ""}, "/var/lib/dpkg/status", "dpkg-db-cataloger"},
		"not a jar":         {catalogtest.Files{"opt/x.jar": "PK\x03\x04"}, "/opt/x.jar", "java-archive-cataloger"},
		"composer manifest": {catalogtest.Files{"app/vendor/composer/installed.json": "["}, "/app/vendor/composer/installed.json", "php-composer-installed-cataloger"},
	} {
		t.Run(name, func(t *testing.T) {
			img := catalogtest.Image(t, catalogtest.Merge(catalogtest.Npm("lodash", "4.17.21"), test.files))
			opts := options(t, img)
			_, err := catalog.Run(t.Context(), img, opts)
			empty(t, opts.Scratch)
			var refused *catalog.CatalogerError
			if !errors.As(err, &refused) {
				t.Fatalf("Run gave %v, want a CatalogerError", err)
			}
			if got := refused.Problems[0]; got.File != test.file || got.Cataloger != test.cataloger || got.Reason == "" {
				t.Errorf("the first problem is %+v", got)
			}
			if !strings.Contains(hint.Of(err), test.file) || !strings.Contains(err.Error(), test.cataloger) {
				t.Errorf("%v (%s) does not name %s and %s", err, hint.Of(err), test.file, test.cataloger)
			}
		})
	}
}

// What cannot be a package that goes missing is passed over, and said so in
// the document.
func TestRunPassesOver(t *testing.T) {
	for name, test := range map[string]struct {
		files catalogtest.Files
		says  string
	}{
		"test data of an npm package": {
			catalogtest.Merge(catalogtest.Npm("resolve", "1.22.8"), catalogtest.Files{"app/node_modules/resolve/test/malformed/package.json": `{"name":`}),
			"javascript-package-cataloger: /app/node_modules/resolve/test/malformed/package.json: ",
		},
		"jar that nobody named": {
			catalogtest.Files{"app/node_modules/lodash/package.json": `{"name":"lodash","version":"1"}`, "opt/x.jar": jar(t)},
			"java-archive-cataloger: /opt/x.jar: no package identified in archive",
		},
		"executable that is none": {
			catalogtest.Merge(sample(), catalogtest.Files{"opt/data": "\x7fELF and no more"}),
			"cargo-auditable-binary-cataloger: /opt/data: ",
		},
		"library that is none": {
			catalogtest.Merge(sample(), catalogtest.Files{"opt/x.dll": "MZ" + strings.Repeat("\x00", 200)}),
			"dotnet-deps-binary-cataloger: /opt/x.dll: unable to parse PE file: ",
		},
		"broken manifest in a Debian package": {
			catalogtest.Merge(sample(), catalogtest.Files{
				"usr/share/x/package.json":       "{",
				"var/lib/dpkg/info/bash.md5sums": "00000000000000000000000000000000  usr/share/x/package.json\n",
			}),
			"javascript-package-cataloger: /usr/share/x/package.json: ",
		},
		"empty status beside status.d": {
			catalogtest.Merge(catalogtest.Debian(), catalogtest.Files{
				"var/lib/dpkg/status": "", "var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12\nArchitecture: amd64\n\n",
			}),
			"dpkg-db-cataloger: /var/lib/dpkg/status: unable to determine packages",
		},
	} {
		t.Run(name, func(t *testing.T) {
			img := catalogtest.Image(t, test.files)
			doc := run(t, img, options(t, img)).Document
			if !strings.Contains(string(doc.JSON), `{"name":"hallmark:catalog:passed-over","value":"`+test.says) {
				t.Errorf("the document does not say that it passes over %s:\n%s", test.says, doc.JSON)
			}
			if doc.Total() == 0 {
				t.Error("the document lists no package")
			}
		})
	}
}

func TestRunStops(t *testing.T) {
	img := catalogtest.Image(t, sample())
	opts := options(t, img)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := catalog.Run(ctx, img, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("Run gave %v, want it to stop", err)
	}
	empty(t, opts.Scratch)
}

func TestRunOfNothing(t *testing.T) {
	img := catalogtest.Image(t, catalogtest.Files{"etc/motd": "hello"})
	doc := run(t, img, options(t, img)).Document
	if err := sbom.Check(doc); !errors.Is(err, sbom.ErrNoPackages) {
		t.Errorf("Check gave %v for an image without packages", err)
	}
	img = catalogtest.Image(t, catalogtest.Dpkg("bash 5.2.15-2"))
	doc = run(t, img, options(t, img)).Document
	if err := sbom.Check(doc); !errors.Is(err, sbom.ErrNoDistribution) {
		t.Errorf("Check gave %v for an image without distribution", err)
	}
}

// Platforms are catalogued side by side.
func TestRunConcurrently(t *testing.T) {
	catalog.Warm()
	img := catalogtest.Image(t, sample())
	want := run(t, img, options(t, img)).Document.JSON
	docs := make(chan []byte)
	for range 4 {
		opts := options(t, img)
		go func() {
			inv, err := catalog.Run(context.Background(), img, opts)
			if err != nil {
				t.Error(err)
				docs <- nil
				return
			}
			docs <- inv.Document.JSON
		}()
	}
	for range 4 {
		if got := <-docs; string(got) != string(want) {
			t.Error("a run beside others gives another document")
		}
	}
}

// jar is an archive with one class and no word on what it is.
func jar(t testing.TB) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	f, err := w.Create("A.class")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "\xca\xfe\xba\xbe"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
