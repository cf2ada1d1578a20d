package component_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/hallmark-sh/hallmark/internal/component"
)

func fromPURL(t *testing.T, purl string) component.Package {
	t.Helper()
	p, err := component.FromPURL(purl, "", "")
	if err != nil {
		t.Fatalf("%s: %v", purl, err)
	}
	return p
}

// The same package must be one row of the memory, however a tool spells it.
func TestSpellingsOfOnePackage(t *testing.T) {
	for _, spellings := range [][]string{
		{"pkg:apk/alpine/busybox@1.36.1-r5?distro=alpine-3.18", "pkg:alpine/alpine/busybox@1.36.1-r5?distro=3.18", "pkg:apk/alpine/BusyBox@1.36.1-r5?arch=x86_64&distro=Alpine-v3.18"},
		{"pkg:deb/debian/openssl@3.0.11?distro=debian-12", "pkg:deb/debian/openssl@3.0.11?distro=bookworm", "pkg:deb/debian/openssl@3.0.11?distro=debian-bookworm",
			"pkg:deb/Debian/OpenSSL@3.0.11?arch=amd64&distro=12", "pkg:deb/debian/openssl@3.0.11?upstream=openssl&distro=debian:12"},
		{"pkg:pypi/ruamel-yaml@0.17", "pkg:pypi/ruamel.yaml@0.17", "pkg:pypi/Ruamel__Yaml@0.17", "pkg:python/ruamel_yaml@0.17"},
		{"pkg:golang/github.com/azure/go-autorest@v14.2.0", "pkg:golang/github.com/Azure/go-autorest@v14.2.0", "pkg:golang/github.com%2FAzure%2Fgo-autorest@v14.2.0"},
		{"pkg:npm/%40angular/core@1.0.0", "pkg:npm/@angular/core@1.0.0", "pkg:npm/%40Angular%2Fcore@1.0.0"},
		{"pkg:nuget/newtonsoft.json@13.0.1", "pkg:nuget/Newtonsoft.Json@13.0.1", "pkg:dotnet/Newtonsoft.Json@13.0.1"},
		{"pkg:rpm/redhat/bash@5.1-2?distro=rhel-9.2", "pkg:rpm/redhat/bash@5.1-2?arch=x86_64&epoch=0&upstream=bash-5.1-2.src.rpm&distro=rhel-9.2"},
		{"pkg:rpm/redhat/bind@32:9.11?distro=rhel-8", "pkg:rpm/redhat/bind@9.11?epoch=32&distro=rhel-8"},
		{"pkg:maven/org.slf4j/slf4j-api@2.0.0", "pkg:maven/org.slf4j/slf4j-api@2.0.0?type=jar", "pkg:maven/org.slf4j%3Aslf4j-api@2.0.0"},
	} {
		first := fromPURL(t, spellings[0])
		for _, s := range spellings[1:] {
			if got := fromPURL(t, s); got != first {
				t.Errorf("%s is %+v\n%s is %+v", spellings[0], first, s, got)
			}
		}
	}
}

// What changes the verdict of an advisory must keep packages apart.
func TestOtherPackages(t *testing.T) {
	seen := map[component.Package]string{}
	for _, purl := range []string{
		"pkg:deb/debian/openssl@3.0.11?distro=debian-12", "pkg:deb/debian/openssl@3.0.11?distro=debian-11", "pkg:deb/debian/openssl@3.0.11",
		"pkg:deb/ubuntu/openssl@3.0.11?distro=ubuntu-22.04", "pkg:deb/debian/openssl@3.0.12?distro=debian-12",
		"pkg:deb/debian/libssl3@3.0.11?distro=debian-12", "pkg:deb/debian/libssl3@3.0.11?distro=debian-12&upstream=openssl",
		"pkg:rpm/redhat/nodejs@18.0?distro=rhel-9", "pkg:rpm/redhat/nodejs@18.0?distro=rhel-9&rpmmod=nodejs:18", "pkg:rpm/redhat/nodejs@1:18.0?distro=rhel-9",
		"pkg:npm/core@1.0.0", "pkg:npm/%40angular/core@1.0.0", "pkg:pypi/core@1.0.0",
		"pkg:maven/org.a/core@1.0.0", "pkg:maven/org.A/core@1.0.0",
	} {
		p := fromPURL(t, purl)
		if other, ok := seen[p]; ok {
			t.Errorf("%s and %s are one package", purl, other)
		}
		seen[p] = purl
	}
}

func TestFromPURL(t *testing.T) {
	for _, c := range []struct {
		purl, version, distro string
		want                  component.Package
	}{
		{"pkg:deb/debian/curl@7.88", "7.88.1-10", "debian-12", component.Package{Type: "deb", Namespace: "debian", Name: "curl", Version: "7.88.1-10", Distro: "debian-12"}},
		{"pkg:deb/debian/curl@7.88?distro=debian-11", "", "debian-12", component.Package{Type: "deb", Namespace: "debian", Name: "curl", Version: "7.88", Distro: "debian-11"}},
		// A distribution says nothing of what it did not package.
		{"pkg:golang/github.com/spf13/cobra@v1.8.0", "", "debian-12", component.Package{Type: "golang", Namespace: "github.com/spf13", Name: "cobra", Version: "v1.8.0"}},
		{"pkg:rpm/fedora/dnf@4?upstream=dnf-4-1.fc39.src.rpm,zlib,alib@2", "", "fedora-39", component.Package{Type: "rpm", Namespace: "fedora", Name: "dnf", Version: "4", Distro: "fedora-39", Upstream: "alib@2,zlib"}},
		{"pkg:pypi/a\u202eb@1", "", "", component.Package{Type: "pypi", Name: "ab", Version: "1"}},
	} {
		got, err := component.FromPURL(c.purl, c.version, c.distro)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.purl, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "openssl", "pkg:", "pkg:deb", "pkg:deb/", "http://deb/debian/curl", "pkg:pypi/%01@1", "pkg:deb/debian/%zz@1"} {
		if p, err := component.FromPURL(bad, "1", ""); err == nil {
			t.Errorf("%q is read as %+v", bad, p)
		}
	}
	if _, err := component.FromPURL("pkg:"+strings.Repeat("x", 1<<20), "", ""); err == nil || len(err.Error()) > 1000 {
		t.Error("a long package URL is repeated whole in the error, or read")
	}
}

func TestDistro(t *testing.T) {
	for _, c := range [][3]string{
		{"debian-12", "", "debian-12"}, {"Debian:12", "", "debian-12"}, {"debian 12", "", "debian-12"}, {"bookworm", "debian", "debian-12"},
		{"debian-bookworm", "", "debian-12"}, {"sid", "debian", "debian-unstable"}, {"jammy", "ubuntu", "ubuntu-22.04"}, {"22.04", "ubuntu", "ubuntu-22.04"},
		{"alpine-v3.18", "", "alpine-3.18"}, {"3.18", "alpine", "alpine-3.18"}, {"alpine-edge", "", "alpine-edge"}, {"wolfi", "", "wolfi"},
		{"opensuse-leap-15.5", "", "opensuse-leap-15.5"}, {"opensuse-tumbleweed", "", "opensuse-tumbleweed"}, {"rhel-9.2", "redhat", "rhel-9.2"},
		{"", "debian", ""}, {"who knows", "", ""}, {"a/b", "", ""}, {strings.Repeat("x", 65), "", ""}, {"debian\x1f-12", "", "debian-12"},
		// A codename of another distribution names neither.
		{"ubuntu-bookworm", "", "ubuntu-bookworm"},
	} {
		if got := component.Distro(c[0], c[1]); got != c[2] {
			t.Errorf("Distro(%q, %q) is %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestNames(t *testing.T) {
	for purl, want := range map[string]string{
		"pkg:deb/debian/curl@7": "curl", "pkg:npm/%40angular/core@1": "@angular/core", "pkg:maven/org.slf4j/slf4j-api@2": "org.slf4j:slf4j-api",
		"pkg:golang/github.com/Azure/x@v1": "github.com/azure/x", "pkg:pypi/Django@2": "django",
	} {
		if got := fromPURL(t, purl).FullName(); got != want {
			t.Errorf("%s is called %q, want %q", purl, got, want)
		}
	}
	if a, b := component.SearchName("pypi", "Ruamel.YAML"), component.SearchName("pypi", "ruamel_yaml"); a != b {
		t.Errorf("%q is looked up as another than %q", a, b)
	}
	if p := (component.Package{Type: component.Unknown, Name: "x", Version: "1"}); p.PURL() != "" || p.String() != "unknown x 1" {
		t.Errorf("%q, %q", p.PURL(), p)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, bad := range []string{"", "deb", strings.Repeat("\x1f", 6), "deb" + strings.Repeat("\x1f", 6), "deb\x1f\x1fcurl\x1f1", "deb\x1f\x1fcurl\x1f1\x1f\x1f\x1f\x1f"} {
		if p, err := component.ParseKey(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, p)
		}
	}
}

// sound holds what is true of every identity that comes out of this package.
func sound(t *testing.T, p component.Package) {
	t.Helper()
	if again := p.Normalize(); again != p {
		t.Fatalf("normalised twice, %+v becomes %+v", p, again)
	}
	if back, err := component.ParseKey(p.Key()); p.Name != "" && (err != nil || back != p) {
		t.Fatalf("%+v has the key %q, which is %+v, %v", p, p.Key(), back, err)
	}
	for _, field := range []string{p.Type, p.Namespace, p.Name, p.Version, p.Distro, p.Upstream, p.Module} {
		if strings.ContainsFunc(field, unicode.IsControl) {
			t.Fatalf("%+v carries a control character", p)
		}
	}
	if !component.OS(p.Type) && (p.Distro != "" || p.Upstream != "") {
		t.Fatalf("%+v is no distribution's and has one", p)
	}
}

// A package URL that is read must come back as the same identity from the
// canonical URL that is made of it, and from every spelling that differs only
// in what the identity leaves out.
func FuzzFromPURL(f *testing.F) {
	for _, seed := range []string{
		"pkg:deb/debian/openssl@3.0.11?arch=amd64&distro=debian-12&upstream=openssl%403.0", "pkg:alpine/alpine/busybox@1.36?distro=3.18",
		"pkg:rpm/redhat/bind@9.11?epoch=32&upstream=bind-9.11-1.src.rpm&rpmmod=bind:9", "pkg:npm/%40angular/core@1.0.0#sub/path",
		"pkg:golang/github.com/Azure/go-autorest@v14.2.0", "pkg:pypi/Ruamel__Yaml@0.17", "pkg:maven/org.slf4j%3Aslf4j-api@2.0.0", "pkg:generic/a@b@c",
		"pkg:golang/a%2F%2Fb@1", "pkg:npm/%40/x@1", "pkg:deb/a@1?distro=%20-1&upstream=,,b,%20a", "pkg:x/%20/%20y@%20",
	} {
		f.Add(seed, "", "")
		f.Add(seed, "1.2", "debian-12")
	}
	f.Fuzz(func(t *testing.T, purl, version, distro string) {
		p, err := component.FromPURL(purl, version, distro)
		if err != nil {
			return
		}
		sound(t, p)
		canonical := p.PURL()
		if canonical == "" {
			return
		}
		back, err := component.FromPURL(canonical, "", "")
		if err != nil || back != p {
			t.Fatalf("%q is %+v\nof which %q is made, which is %+v, %v", purl, p, canonical, back, err)
		}
	})
}

func FuzzDistro(f *testing.F) {
	for _, seed := range []string{"debian-12", "bookworm", "debian-bookworm", "3.18", "alpine-v3.18", "ubuntu 22.04", "v-1", "a-v1", "0-unstable"} {
		f.Add(seed, "debian")
		f.Add(seed, "")
		f.Add(seed, strings.Repeat("j", 70))
	}
	f.Fuzz(func(t *testing.T, word, namespace string) {
		once := component.Distro(word, namespace)
		if twice := component.Distro(once, namespace); twice != once {
			t.Fatalf("Distro(%q, %q) is %q, and of that %q", word, namespace, once, twice)
		}
		if up := component.Distro(strings.ToUpper(word), namespace); isASCII(word) && up != once {
			t.Fatalf("%q is %q and in capitals %q", word, once, up)
		}
	})
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}
