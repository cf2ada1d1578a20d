package oidc_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/oidc"
)

// jwt makes a token of the claims, which nobody signed.
func jwt(t testing.TB, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"none"}`)) + "." + enc(payload) + "." + enc([]byte("signature"))
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func claims(change map[string]any) map[string]any {
	c := map[string]any{"iss": "https://issuer.test", "sub": "ann", "aud": "sigstore", "exp": noon.Unix()}
	for k, v := range change {
		c[k] = v
		if v == nil {
			delete(c, k)
		}
	}
	return c
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		raw  string
		err  string
	}{
		{"good", jwt(t, claims(nil)), ""},
		{"with space around", " " + jwt(t, claims(nil)) + "\n", ""},
		{"a fraction of a second", jwt(t, claims(map[string]any{"exp": 1772366400.5})), ""},
		{"far future", jwt(t, claims(map[string]any{"exp": 1e300})), ""},
		{"list of audiences", jwt(t, claims(map[string]any{"aud": []string{"a", "b"}})), ""},
		{"text truth", jwt(t, claims(map[string]any{"email_verified": "true"})), ""},
		{"empty", "", "three parts"},
		{"two parts", "e30.e30", "three parts"},
		{"four parts", "e30.e30.e30.e30", "three parts"},
		{"not base64", "e30.%%.e30", "base64url"},
		{"padded", "e30.e30=.e30", "base64url"},
		{"not JSON", "e30.AAAA.e30", "JSON object"},
		{"list", "e30.W10.e30", "JSON object"},
		{"no issuer", jwt(t, claims(map[string]any{"iss": nil})), "no iss"},
		{"no subject", jwt(t, claims(map[string]any{"sub": nil})), "no sub"},
		{"no expiry", jwt(t, claims(map[string]any{"exp": nil})), "no exp"},
		{"text expiry", jwt(t, claims(map[string]any{"exp": "soon"})), "JSON object"},
		{"strange truth", jwt(t, claims(map[string]any{"email_verified": "yes"})), "email_verified"},
		{"too long", strings.Repeat("a", 1<<20), "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, err := oidc.Parse(tt.raw)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if token.Raw() != strings.TrimSpace(tt.raw) {
				t.Error("Raw is not what was parsed")
			}
		})
	}
}

func TestClaims(t *testing.T) {
	token, err := oidc.Parse(jwt(t, claims(map[string]any{
		"repository": "acme/app", "ref": "refs/heads/main", "sha": "abc", "run_id": "7", "run_attempt": "1",
		"job_workflow_ref": "acme/ci/.github/workflows/r.yml@refs/tags/v1",
	})))
	if err != nil {
		t.Fatal(err)
	}
	want := oidc.Claims{
		Issuer: "https://issuer.test", Subject: "ann", Repository: "acme/app", Ref: "refs/heads/main", SHA: "abc",
		RunID: "7", RunAttempt: "1", JobWorkflowRef: "acme/ci/.github/workflows/r.yml@refs/tags/v1",
	}
	if diff := cmp.Diff(want, token.Claims()); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if !token.Expiry().Equal(noon) {
		t.Errorf("expiry %s, want %s", token.Expiry(), noon)
	}
	for _, tt := range []struct {
		claims oidc.Claims
		want   string
	}{
		{want, "https://github.com/acme/ci/.github/workflows/r.yml@refs/tags/v1"},
		{oidc.Claims{Subject: "ann", Email: "ann@acme.test"}, "ann@acme.test"},
		{oidc.Claims{Subject: "ann"}, "ann"},
	} {
		if got := tt.claims.Identity(); got != tt.want {
			t.Errorf("identity %s, want %s", got, tt.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change map[string]any
		now    time.Time
		want   []string // in the error; empty for none
	}{
		{"good", nil, noon.Add(-time.Second), nil},
		{"one of its audiences", map[string]any{"aud": []string{"x", "sigstore"}}, noon.Add(-time.Second), nil},
		{"clock a little behind", map[string]any{"nbf": noon.Unix()}, noon.Add(-20 * time.Second), nil},
		{"at its expiry", nil, noon, []string{"expired at 2026-03-01T12:00:00Z", "0s ago"}},
		{"expired", nil, noon.Add(90 * time.Second), []string{"expired", "1m30s ago", "https://issuer.test"}},
		{"not yet", map[string]any{"nbf": noon.Unix()}, noon.Add(-time.Minute), []string{"not valid before 2026-03-01T12:00:00Z"}},
		{"other audience", map[string]any{"aud": "sts.amazonaws.com"}, noon.Add(-time.Minute), []string{`"sts.amazonaws.com"`, `wanted "sigstore"`}},
		{"no audience", map[string]any{"aud": nil}, noon.Add(-time.Minute), []string{`wanted "sigstore"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, err := oidc.Parse(jwt(t, claims(tt.change)))
			if err != nil {
				t.Fatal(err)
			}
			err = token.Check(oidc.Audience, tt.now)
			if len(tt.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || hint.Of(err) == "" {
				t.Fatalf("error %v with hint %q, want both", err, hint.Of(err))
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %v, want one with %q", err, w)
				}
			}
		})
	}
	if (oidc.Token{}).Check(oidc.Audience, noon) == nil {
		t.Error("the zero token is good")
	}
}

// TestTokenHides prints a token in every way there is and looks for it.
func TestTokenHides(t *testing.T) {
	raw := jwt(t, claims(nil))
	token, err := oidc.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	type exported struct{ Token oidc.Token }
	type unexported struct{ token oidc.Token }
	type pointer struct{ token *oidc.Token }
	values := map[string]any{
		"token": token, "pointer": &token, "exported field": exported{token}, "unexported field": unexported{token},
		"pointer to a struct": &unexported{token}, "pointer field": pointer{&token}, "list": []oidc.Token{token},
		"map": map[string]oidc.Token{"t": token}, "error": fmt.Errorf("with %v: %w", token, errors.New("x")),
	}
	var printed []string
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%e", "%10.3v", "%U"} {
			printed = append(printed, name+" "+verb+": "+fmt.Sprintf(verb, v))
		}
		printed = append(printed, fmt.Sprint(v), fmt.Sprintln(v))
		for kind, h := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(h(&b)).Info("x", "v", v)
			printed = append(printed, name+" slog "+kind+": "+b.String())
		}
		if b, err := json.Marshal(v); err == nil {
			printed = append(printed, name+" json: "+string(b))
		}
	}
	parts := strings.Split(raw, ".")
	hexed := fmt.Sprintf("%x", raw)
	for _, p := range printed {
		for _, secret := range []string{raw, parts[1], parts[2], hexed[:40], strings.ToUpper(hexed[:40]), "[101 121 74"} {
			if strings.Contains(p, secret) {
				t.Errorf("the token is shown: %s", p)
			}
		}
	}
	if want := "identity token of https://issuer.test for ann until 2026-03-01T12:00:00Z (redacted)"; fmt.Sprint(token) != want {
		t.Errorf("it prints %q, want %q", fmt.Sprint(token), want)
	}
	if (oidc.Token{}).Raw() != "" || (oidc.Token{}).String() == "" {
		t.Error("the zero token has a content, or no words")
	}
}

// FuzzParse asserts that a token is never in an error or in its own words, and
// that what is parsed comes out again.
func FuzzParse(f *testing.F) {
	f.Add(jwt(f, claims(nil)))
	f.Add(jwt(f, claims(map[string]any{"aud": []string{"a", "b"}, "nbf": -1, "exp": 1e308, "email_verified": "true"})))
	f.Add("e30.e30.e30")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := oidc.Parse(raw)
		trimmed := strings.TrimSpace(raw)
		if err != nil {
			if len(trimmed) > 40 && strings.Contains(err.Error(), trimmed) {
				t.Errorf("the error holds the token: %v", err)
			}
			return
		}
		if token.Raw() != trimmed {
			t.Error("Raw is not what was parsed")
		}
		if strings.Contains(token.String(), trimmed) {
			t.Errorf("it prints itself: %s", token)
		}
		if token.Check("an audience", token.Expiry()) == nil {
			t.Error("it is good at its expiry")
		}
	})
}
