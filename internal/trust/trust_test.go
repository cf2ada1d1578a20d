package trust_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// instance makes a Sigstore for the test and gives its trusted root and its
// signing config.
func instance(t *testing.T, dir string) (trustedRoot, signingConfig []byte) {
	t.Helper()
	l, err := localtrust.Open(t.Context(), dir, localtrust.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	config, err := l.SigningConfig("https://sigstore.acme.test")
	if err != nil {
		t.Fatal(err)
	}
	return l.TrustedRoot(), config
}

// edit changes the top level of a JSON object.
func edit(t *testing.T, data []byte, change func(map[string]any)) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	good, _ := instance(t, filepath.Join(dir, "state"))
	for _, tt := range []struct {
		name    string
		content []byte
		want    string // in the error; empty for none
	}{
		{"good", good, ""},
		{"no JSON", []byte("hello"), "root.json"},
		{"empty", nil, "root.json"},
		{"unknown field", edit(t, good, func(m map[string]any) { m["tlogz"] = m["tlogs"] }), "tlogz"},
		{"other kind of file", edit(t, good, func(m map[string]any) { m["mediaType"] = "application/json" }), "media type"},
		{"no authority", edit(t, good, func(m map[string]any) { delete(m, "certificateAuthorities") }), "certificateAuthorities is empty"},
		{"no time", edit(t, good, func(m map[string]any) { delete(m, "tlogs"); delete(m, "timestampAuthorities") }), "no signature has a time"},
		{"too long", bytes.Repeat([]byte(" "), 5<<20), "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			put(t, filepath.Join(dir, "root.json"), tt.content)
			a, err := trust.Load(t.Context(), policy.Trust{Root: policy.RootPrivate, TrustedRoot: "root.json"}, trust.Options{PolicyDir: dir})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error %v, want one with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Material.FulcioCertificateAuthorities()) != 1 || !bytes.Equal(a.JSON, tt.content) {
				t.Errorf("the anchor is not what the file says")
			}
			if a.Source != filepath.Join(dir, "root.json") || !a.Checked.IsZero() || a.Age(time.Now()) != 0 {
				t.Errorf("source %s, checked %s, age %s", a.Source, a.Checked, a.Age(time.Now()))
			}
		})
	}
}

func TestLoadLocal(t *testing.T) {
	dir := t.TempDir()
	opts := trust.Options{PolicyDir: dir}
	local := policy.Trust{Root: policy.RootLocal, State: "state"}
	_, err := trust.Load(t.Context(), local, opts)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(hint.Of(err), "no local trust") {
		t.Errorf("error %v with hint %q, want one that says there is no local trust yet", err, hint.Of(err))
	}
	want, _ := instance(t, filepath.Join(dir, "state"))
	a, err := trust.Load(t.Context(), local, opts)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.JSON, want) {
		t.Error("the anchor is not the local trust's")
	}
	if _, err := trust.LoadServices(t.Context(), local, opts); err == nil {
		t.Error("LoadServices finds services of a local trust, which only its opener has")
	}
}

func TestLoadNothing(t *testing.T) {
	for _, p := range []policy.Trust{{}, {Root: "mine"}, {Root: policy.RootPrivate}} {
		if _, err := trust.Load(t.Context(), p, trust.Options{}); err == nil {
			t.Errorf("Load(%+v) gives an anchor", p)
		}
		if _, err := trust.LoadServices(t.Context(), p, trust.Options{}); err == nil {
			t.Errorf("LoadServices(%+v) gives services", p)
		}
	}
}

func TestLoadServicesFile(t *testing.T) {
	dir := t.TempDir()
	_, good := instance(t, filepath.Join(dir, "state"))
	const base = "https://sigstore.acme.test"
	want := trust.Services{
		Fulcio: trust.Service{URL: base, Version: 1},
		Rekor:  []trust.Service{{URL: base, Version: 2}},
		TSA:    []trust.Service{{URL: base + "/api/v1/timestamp", Version: 1}},
		Issuer: base,
	}
	old := want
	old.Rekor, old.TSA = []trust.Service{{URL: base, Version: 1}}, nil
	ended := map[string]any{"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"}
	each := func(key, field string, value any) func(map[string]any) {
		return func(m map[string]any) {
			for _, s := range m[key].([]any) {
				s.(map[string]any)[field] = value
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(map[string]any)
		want   trust.Services
		err    string
	}{
		{name: "good", change: func(map[string]any) {}, want: want},
		{name: "old log, which gives a time", change: func(m map[string]any) {
			each("rekorTlogUrls", "majorApiVersion", 1)(m)
			delete(m, "tsaUrls")
		}, want: old},
		{name: "new log beside an old one", change: func(m map[string]any) {
			m["rekorTlogUrls"] = append(m["rekorTlogUrls"].([]any), map[string]any{
				"url": "https://old.acme.test", "majorApiVersion": 1, "validFor": map[string]any{"start": "2020-01-01T00:00:00Z"},
			})
		}, want: want},
		{name: "ended authority", change: each("caUrls", "validFor", ended), err: "caUrls"},
		{name: "ended log", change: each("rekorTlogUrls", "validFor", ended), err: "rekorTlogUrls"},
		{name: "unknown log version", change: each("rekorTlogUrls", "majorApiVersion", 3), err: "rekorTlogUrls"},
		{name: "no log", change: func(m map[string]any) { delete(m, "rekorTlogUrls") }, err: "rekorTlogUrls"},
		{name: "no timestamps", change: func(m map[string]any) { delete(m, "tsaUrls") }, err: "tsaUrls"},
		{name: "other kind", change: func(m map[string]any) { m["mediaType"] = "x" }, err: "media type"},
		{name: "unknown field", change: func(m map[string]any) { m["fulcio"] = "x" }, err: "fulcio"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			put(t, filepath.Join(dir, "config.json"), edit(t, good, tt.change))
			got, err := trust.LoadServices(t.Context(), policy.Trust{Root: policy.RootPrivate, SigningConfig: "config.json"}, trust.Options{PolicyDir: dir})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("services (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPublicUnreachable loads the public root with no network at all.
func TestPublicUnreachable(t *testing.T) {
	asked := 0
	down := transport(func(r *http.Request) (*http.Response, error) {
		asked++
		return nil, errors.New("no route to " + r.URL.Host)
	})
	for name, load := range map[string]func(trust.Options) error{
		"root":     func(o trust.Options) error { _, err := trust.Load(t.Context(), public(), o); return err },
		"services": func(o trust.Options) error { _, err := trust.LoadServices(t.Context(), public(), o); return err },
	} {
		t.Run(name, func(t *testing.T) {
			asked = 0
			err := load(trust.Options{CacheDir: t.TempDir(), Transport: down})
			if !errors.Is(err, trust.ErrUnreachable) || !strings.Contains(err.Error(), "tuf-repo-cdn.sigstore.dev") || hint.Of(err) == "" {
				t.Errorf("error %v with hint %q, want ErrUnreachable that names the repository, and a hint", err, hint.Of(err))
			}
			if asked < 3 {
				t.Errorf("asked %d times, want at least 3", asked)
			}
			asked = 0
			if err := load(trust.Options{CacheDir: t.TempDir(), Transport: down, Offline: true}); !errors.Is(err, trust.ErrUnreachable) {
				t.Errorf("offline: error %v, want ErrUnreachable", err)
			}
			if asked != 0 {
				t.Errorf("offline, and asked %d times", asked)
			}
		})
	}
}

func TestLoadCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stuck := transport(func(r *http.Request) (*http.Response, error) {
		cancel()
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	_, err := trust.Load(ctx, public(), trust.Options{CacheDir: t.TempDir(), Transport: stuck})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func public() policy.Trust { return policy.Trust{Root: policy.RootPublic} }

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
