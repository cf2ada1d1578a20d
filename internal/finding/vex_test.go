package finding_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/hint"
)

const (
	app  = "ghcr.io/acme/app"
	ours = "pkg:oci/app?repository_url=ghcr.io/acme/app"
)

type object = map[string]any

// vexDocument is a valid document with one statement, changed by edit.
func vexDocument(t testing.TB, edit func(doc, statement object)) []byte {
	t.Helper()
	statement := object{
		"vulnerability": object{"name": "CVE-2024-1"},
		"status":        "not_affected",
		"justification": "vulnerable_code_not_present",
		"products":      []any{object{"@id": ours}},
	}
	doc := object{
		"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://acme.example/vex/1", "author": "Acme Security",
		"timestamp": "2026-01-01T00:00:00+01:00", "version": 1, "statements": []any{statement},
	}
	if edit != nil {
		edit(doc, statement)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parsed(t testing.TB, edit func(doc, statement object)) finding.VEX {
	t.Helper()
	v, err := finding.ParseVEX("app.openvex.json", vexDocument(t, edit))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func openssl() finding.Finding {
	return finding.Finding{
		ID: "DSA-1", Aliases: []string{"CVE-2024-1"},
		Package: finding.Package{Name: "libssl3", Version: "3.0.1-1+b1", Type: "deb", PURL: "pkg:deb/debian/libssl3@3.0.1-1%2Bb1?arch=amd64&distro=debian-12&upstream=openssl"},
	}
}

func TestExploitabilityNamesTheFileTheAuthorAndWhy(t *testing.T) {
	got, ok := finding.Exploitability([]finding.VEX{parsed(t, nil)}, openssl(), hash("a"), app)
	want := finding.Statement{
		File: "app.openvex.json", Author: "Acme Security", Status: "not_affected",
		Justification: "vulnerable_code_not_present", At: time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("found %v (-want +got):\n%s", ok, diff)
	}
}

func TestWhichProductIsTheImage(t *testing.T) {
	digest := hash("a").String()
	escaped := strings.Replace(digest, ":", "%3A", 1)
	for _, test := range []struct {
		name    string
		product object
		want    bool
	}{
		{"repository", object{"@id": ours}, true},
		{"repository as identifier", object{"identifiers": object{"purl": ours}}, true},
		{"digest", object{"@id": "pkg:oci/app@" + escaped}, true},
		{"digest and repository", object{"@id": "pkg:oci/app@" + escaped + "?repository_url=ghcr.io/acme/app"}, true},
		{"hash", object{"hashes": object{"sha-256": hash("a").Hex}}, true},
		{"plain digest", object{"@id": digest}, true},
		{"reference", object{"@id": app + "@" + digest}, true},
		{"bare name could be anybody's", object{"@id": "pkg:oci/app"}, false},
		{"other digest", object{"@id": "pkg:oci/app@" + strings.Replace(escaped, "a", "b", 1)}, false},
		{"other digest, our repository", object{"@id": "pkg:oci/app@sha256%3Abb?repository_url=ghcr.io/acme/app"}, false},
		{"our digest, other repository", object{"@id": "pkg:oci/app@" + escaped + "?repository_url=ghcr.io/evil/app"}, false},
		{"other name", object{"@id": "pkg:oci/other?repository_url=ghcr.io/acme/app"}, false},
		{"other type", object{"@id": "pkg:docker/app?repository_url=ghcr.io/acme/app"}, false},
		{"other registry", object{"@id": "pkg:oci/app?repository_url=ghcr.evil.example/acme/app"}, false},
		{"not a repository", object{"@id": "pkg:oci/app?repository_url=%20"}, false},
		{"one architecture", object{"@id": ours + "&arch=amd64"}, false},
		{"one tag", object{"@id": ours + "&tag=v1"}, false},
		{"other hash beside our name", object{"@id": ours, "hashes": object{"sha-256": hash("b").Hex}}, false},
		{"other algorithm", object{"hashes": object{"sha-512": hash("a").Hex}}, false},
		{"other reference", object{"@id": "ghcr.io/acme/app2@" + digest}, false},
		{"the package itself", object{"@id": "pkg:deb/debian/libssl3"}, false},
		{"not a package URL", object{"@id": "pkg:"}, false},
		{"nothing", object{}, false},
	} {
		v := parsed(t, func(_, s object) {
			s["products"] = []any{object{"@id": "pkg:oci/first?repository_url=x.example/first"}, test.product}
		})
		if _, got := finding.Exploitability([]finding.VEX{v}, openssl(), hash("a"), app); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestWhichStatementIsOfTheFinding(t *testing.T) {
	with := func(key string, value any) func(object, object) {
		return func(_, s object) { s[key] = value }
	}
	parts := func(ids ...any) func(object, object) {
		return with("products", []any{object{"@id": ours, "subcomponents": ids}})
	}
	for _, test := range []struct {
		name string
		edit func(doc, statement object)
		want bool
	}{
		{"by name", nil, true},
		{"by the finding's own id", with("vulnerability", object{"name": "DSA-1"}), true},
		{"in another case", with("vulnerability", object{"name": "cve-2024-1"}), true},
		{"by the statement's alias", with("vulnerability", object{"name": "INTERNAL-7", "aliases": []any{"CVE-2024-1"}}), true},
		{"by @id", with("vulnerability", object{"@id": "CVE-2024-1"}), true},
		{"another vulnerability", with("vulnerability", object{"name": "CVE-2024-12"}), false},
		{"no product", with("products", []any{}), false},
		{"subcomponent", parts(object{"@id": "pkg:deb/debian/libssl3"}), true},
		{"subcomponent with version", parts(object{"@id": "pkg:deb/debian/libssl3@3.0.1-1+b1"}), true},
		{"subcomponent as identifier", parts(object{"identifiers": object{"purl": "pkg:deb/debian/libssl3?distro=debian-12"}}), true},
		{"second subcomponent", parts(object{"@id": "pkg:deb/debian/zlib"}, object{"@id": "pkg:deb/debian/libssl3"}), true},
		{"other version", parts(object{"@id": "pkg:deb/debian/libssl3@3.0.1-1"}), false},
		{"other distribution", parts(object{"@id": "pkg:deb/debian/libssl3?distro=debian-11"}), false},
		{"source package", parts(object{"@id": "pkg:deb/debian/openssl"}), false},
		{"only a name", parts(object{"@id": "libssl3"}), false},
		{"empty subcomponent", parts(object{}), false},
	} {
		v := parsed(t, test.edit)
		if _, got := finding.Exploitability([]finding.VEX{v}, openssl(), hash("a"), app); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// said is a document whose only statement has the given status and time.
func said(t testing.TB, status, at string) finding.VEX {
	return parsed(t, func(_, s object) {
		s["status"], s["timestamp"] = status, at
		if status != "not_affected" {
			delete(s, "justification")
		}
		if status == "affected" {
			s["action_statement"] = "upgrade"
		}
	})
}

func TestTheLastStatementCounts(t *testing.T) {
	const first, second = "2026-01-01T00:00:00Z", "2026-01-01T00:30:00+00:00"
	for _, test := range []struct {
		one, other [2]string
		want       string
	}{
		{[2]string{"affected", first}, [2]string{"not_affected", second}, "not_affected"},
		{[2]string{"not_affected", first}, [2]string{"affected", second}, "affected"},
		{[2]string{"fixed", first}, [2]string{"under_investigation", second}, "under_investigation"},
		{[2]string{"fixed", first}, [2]string{"under_investigation", first}, "under_investigation"},
		{[2]string{"not_affected", first}, [2]string{"affected", first}, "affected"},
	} {
		one, other := said(t, test.one[0], test.one[1]), said(t, test.other[0], test.other[1])
		for _, documents := range [][]finding.VEX{{one, other}, {other, one}} {
			got, ok := finding.Exploitability(documents, openssl(), hash("a"), app)
			if !ok || got.Status != test.want {
				t.Errorf("%v, %v: %q", test.one, test.other, got.Status)
			}
			if clears := test.want == "not_affected" || test.want == "fixed"; got.Clears() != clears {
				t.Errorf("%s clears: %v", got.Status, got.Clears())
			}
		}
	}
}

func TestMalformedVEXIsRefusedByName(t *testing.T) {
	set := func(key string, value any) []byte {
		return vexDocument(t, func(doc, _ object) { doc[key] = value })
	}
	setIn := func(key string, value any) []byte {
		return vexDocument(t, func(_, s object) { s[key] = value })
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, "unexpected end"},
		"truncated":         {vexDocument(t, nil)[:200], "unexpected end"},
		"not JSON":          {[]byte("@context: https://openvex.dev/ns"), "invalid character"},
		"another format":    {[]byte(`{"document": {"csaf_version": "2.0"}}`), "@context"},
		"another version":   {set("@context", "https://openvex.dev/ns/v9.9.9"), "@context"},
		"no version":        {set("@context", "https://openvex.dev/ns"), "@context"},
		"no author":         {set("author", ""), "no author"},
		"no time":           {set("timestamp", nil), "no timestamp"},
		"unknown status":    {setIn("status", "fine"), "statement 1"},
		"no status":         {setIn("status", ""), "statement 1"},
		"no reason why not": {setIn("justification", ""), "statement 1"},
		"made up reason":    {setIn("justification", "because"), "statement 1"},
		"no vulnerability":  {setIn("vulnerability", object{}), "statement 1 names no vulnerability"},
		"too large":         {make([]byte, finding.MaxVEX+1), "larger"},
	} {
		_, err := finding.ParseVEX("dir/app.openvex.json", test.data)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, want := range []string{"dir/app.openvex.json", test.want} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		if hint.Of(err) == "" {
			t.Errorf("%s: no hint", name)
		}
	}
}

func TestReadVEX(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.openvex.json")
	if _, err := finding.ReadVEX(path); err == nil || !strings.Contains(err.Error(), path) || hint.Of(err) == "" {
		t.Errorf("missing: %v", err)
	}
	if _, err := finding.ReadVEX(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("folder: %v", err)
	}
	if err := os.WriteFile(path, vexDocument(t, nil), 0o644); err != nil {
		t.Fatal(err)
	}
	if v, err := finding.ReadVEX(path); err != nil || v.File != path {
		t.Errorf("%+v, %v", v, err)
	}
}

func FuzzParseVEX(f *testing.F) {
	f.Add(vexDocument(f, nil))
	f.Add(vexDocument(f, func(_, s object) { s["products"] = []any{object{"@id": "pkg:oci/app@x?y=z#w"}} }))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := finding.ParseVEX("f", data)
		if err != nil {
			return
		}
		// Whatever a document says, it says nothing about an image that no
		// product can name.
		if s, ok := finding.Exploitability([]finding.VEX{v}, openssl(), hash("c"), "other.example/unnamed"); ok {
			t.Errorf("cleared an image it cannot know: %+v", s)
		}
	})
}
