package sbom_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/sbom"
)

func TestNumber(t *testing.T) {
	doc := []byte(`{"serialNumber":"` + sbom.NilSerial + `","name":"a"}`)
	one, again := sbom.Number(doc), sbom.Number(doc)
	other := sbom.Number([]byte(strings.Replace(string(doc), `"a"`, `"b"`, 1)))
	if string(one) != string(again) {
		t.Errorf("the same document has two numbers: %s and %s", one, again)
	}
	// The pattern of the CycloneDX schema, narrowed to RFC 9562's version 8.
	pattern := regexp.MustCompile(`"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"`)
	if !pattern.Match(one) {
		t.Errorf("%s has no UUID of version 8", one)
	}
	if string(pattern.Find(one)) == string(pattern.Find(other)) {
		t.Errorf("two documents have one number: %s and %s", one, other)
	}
}

func TestImagePURL(t *testing.T) {
	digest := v1.Hash{Algorithm: "sha256", Hex: digestHex}
	for _, test := range []struct{ repository, platform, want string }{
		{"127.0.0.1:5000/demo/App", "linux/amd64", "pkg:oci/app@sha256:" + digestHex + "?arch=amd64&repository_url=127.0.0.1:5000%2Fdemo%2FApp"},
		{"ghcr.io/o/app", "linux/arm/v7", "pkg:oci/app@sha256:" + digestHex + "?arch=arm&repository_url=ghcr.io%2Fo%2Fapp&variant=v7"},
		{"ghcr.io/o/app", "", "pkg:oci/app@sha256:" + digestHex + "?repository_url=ghcr.io%2Fo%2Fapp"},
		{"", "", "pkg:oci/image@sha256:" + digestHex},
	} {
		if got := sbom.ImagePURL(test.repository, digest, test.platform); got != test.want {
			t.Errorf("ImagePURL(%q, %q) is\n%s, want\n%s", test.repository, test.platform, got, test.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		doc  sbom.Document
		want error
	}{
		"nothing":                        {sbom.Document{}, sbom.ErrNoPackages},
		"nothing, with distribution":     {sbom.Document{Distro: "debian 12"}, sbom.ErrNoPackages},
		"go program from scratch":        {sbom.Document{Packages: map[string]int{"golang": 3}}, nil},
		"deb":                            {sbom.Document{Distro: "debian 12", Packages: map[string]int{"deb": 3}}, nil},
		"deb without distribution":       {sbom.Document{Packages: map[string]int{"deb": 3, "pypi": 1}}, sbom.ErrNoDistribution},
		"apk without distribution":       {sbom.Document{Packages: map[string]int{"apk": 1}}, sbom.ErrNoDistribution},
		"rpm without distribution":       {sbom.Document{Packages: map[string]int{"rpm": 1}}, sbom.ErrNoDistribution},
		"no deb and no distribution":     {sbom.Document{Packages: map[string]int{"deb": 0, "npm": 1}}, nil},
		"packages without a package URL": {sbom.Document{Packages: map[string]int{sbom.NoType: 1}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := sbom.Check(test.doc)
			if !errors.Is(err, test.want) {
				t.Fatalf("Check gave %v, want %v", err, test.want)
			}
			if test.want != nil && hint.Of(err) == "" {
				t.Error("the error comes without a hint")
			}
		})
	}
}

// platform is a document as package catalog writes them.
func platform(name, hex, components string) sbom.Document {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(hex, 64)}
	purl := sbom.ImagePURL("registry.example/app", digest, name)
	return sbom.Document{
		Subject: digest, Platform: name, Distro: "debian 12",
		JSON: []byte(`{"$schema":"http://cyclonedx.org/schema/bom-1.6.schema.json","bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"` + sbom.NilSerial +
			`","version":1,"metadata":{"timestamp":"2024-01-01T00:00:00Z","tools":{"components":[{"type":"application","name":"hallmark"}]},"component":{"bom-ref":"` + purl +
			`","type":"container","name":"registry.example/app","version":"` + digest.String() + `","purl":"` + purl + `"}},"components":[` + components +
			`],"dependencies":[{"ref":"b","dependsOn":["a"]}]}`),
	}
}

func TestMerge(t *testing.T) {
	index := v1.Hash{Algorithm: "sha256", Hex: digestHex}
	at := time.Unix(1700000000, 0)
	// a is the same on both, b is another on each, c is on one only.
	amd := platform("linux/amd64", "1", `{"bom-ref":"a","type":"library","name":"a","purl":"pkg:deb/a@1"},{"bom-ref":"b","type":"library","name":"b","version":"1","purl":"pkg:pypi/b@1"},{"bom-ref":"os","type":"operating-system","name":"debian","version":"12"}`)
	arm := platform("linux/arm64", "2", `{"bom-ref":"a","type":"library","name":"a","purl":"pkg:deb/a@1"},{"bom-ref":"b","type":"library","name":"b","version":"2","purl":"pkg:pypi/b@2"},{"bom-ref":"c","type":"library","name":"<c>","purl":"pkg:npm/c@1"},{"bom-ref":"os","type":"operating-system","name":"debian","version":"12"}`)
	got, err := sbom.Merge(index, "registry.example/app", at, arm, amd)
	if err != nil {
		t.Fatal(err)
	}
	back, err := sbom.Merge(index, "registry.example/app", at, amd, arm)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.JSON) != string(back.JSON) {
		t.Errorf("the order of documents shows:\n%s\n%s", got.JSON, back.JSON)
	}
	read, err := sbom.Decode(strings.NewReader(string(got.JSON)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"deb": 1, "pypi": 2, "npm": 1}, read.Packages); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(read.Packages, got.Packages); diff != "" {
		t.Errorf("the document and what is said of it differ: %s", diff)
	}
	if diff := cmp.Diff([]string{index.String()}, read.Subject.Digests); diff != "" {
		t.Error(diff)
	}
	if got.Subject != index || got.Distro != "debian 12" || got.Platform != "" {
		t.Errorf("merged into %s, %q, %q", got.Subject, got.Distro, got.Platform)
	}
	for _, want := range []string{
		`"timestamp":"2023-11-14T22:13:20Z"`, `"name":"<c>"`,
		`{"ref":"b","dependsOn":["a"]}`, `{"ref":"b#linux/arm64","dependsOn":["a"]}`,
		`"dependsOn":["a","b","os"]`, `"dependsOn":["a","b#linux/arm64","c","os"]`,
	} {
		if !strings.Contains(string(got.JSON), want) {
			t.Errorf("the merged document lacks %s:\n%s", want, got.JSON)
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	for name, docs := range map[string][]sbom.Document{
		"none":            nil,
		"no json":         {{JSON: []byte("x")}},
		"another version": {{JSON: []byte(`{"bomFormat":"CycloneDX","specVersion":"1.4"}`)}},
		"no reference":    {platform("linux/amd64", "1", `{"type":"library","name":"a"}`)},
		"no component":    {platform("linux/amd64", "1", `7`)},
	} {
		t.Run(name, func(t *testing.T) {
			if doc, err := sbom.Merge(v1.Hash{}, "x", time.Time{}, docs...); err == nil {
				t.Errorf("Merge gave %s", doc.JSON)
			}
		})
	}
}
