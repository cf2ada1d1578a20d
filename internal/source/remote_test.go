package source

import (
	"net/url"
	"testing"
)

func TestNormalizeRemote(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                     "",
		"https://github.com/acme/checkout.git": "https://github.com/acme/checkout",
		"https://github.com/acme/checkout":     "https://github.com/acme/checkout",
		"https://github.com/acme/checkout/":    "https://github.com/acme/checkout",
		"https://user:s3cret@GitHub.com/acme/checkout": "https://github.com/acme/checkout",
		"https://s3cret@github.com/acme/checkout.git":  "https://github.com/acme/checkout",
		"https://github.com:443/acme/checkout":         "https://github.com/acme/checkout",
		"https://git.acme.test:8443/a/b/c.git":         "https://git.acme.test:8443/a/b/c",
		"https://github.com/acme/x.git?token=s3cret":   "https://github.com/acme/x",
		"http://u:s3cret@127.0.0.1:3000/acme/x.git":    "http://127.0.0.1:3000/acme/x",
		"git@github.com:acme/checkout.git":             "https://github.com/acme/checkout",
		"github.com:acme/checkout.git":                 "https://github.com/acme/checkout",
		"git@host:/abs/x.git":                          "https://host/abs/x",
		"u:s3cret@host:x/y":                            "",
		"ssh://git@github.com/acme/checkout.git":       "https://github.com/acme/checkout",
		"ssh://git@git.acme.test:2222/acme/x.git":      "https://git.acme.test/acme/x",
		"git://git.acme.test/x.git":                    "https://git.acme.test/x",
		"git+ssh://git@git.acme.test/x.git":            "https://git.acme.test/x",
		"file:///srv/git/x.git":                        "file:///srv/git/x.git",
		"/srv/git/../git/x.git":                        "file:///srv/git/x.git",
		"../elsewhere":                                 "",
		"ext::sh -c s3cret":                            "",
		"codecommit::eu-west-1://s3cret@x":             "",
		"https://u:s3cret%@h/x":                        "",
		"https://github.com":                           "",
		"https://github.com/../../acme/x":              "https://github.com/acme/x",
	} {
		got := normalizeRemote(raw)
		if got != want {
			t.Errorf("normalizeRemote(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzNormalizeRemote(f *testing.F) {
	for _, s := range []string{
		"https://u:p@h/x.git", "git@h:x", "ssh://h:22/x", "file:///x", "ext::x", "[::1]:x", "https://[::1]:80/x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := normalizeRemote(raw)
		if got == "" {
			return
		}
		if again := normalizeRemote(got); again != got {
			t.Fatalf("%q gives %q, and that %q", raw, got, again)
		}
		u, err := url.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Host == "") != (u.Scheme == "file") {
			t.Fatalf("%q gives %q", raw, got)
		}
	})
}
