package denial_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/denial"
	"github.com/hallmark-sh/hallmark/internal/kyverno"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

func line(d denial.Denial) string {
	words := append([]string{string(d.Kind), d.Policy}, strings.Fields(d.Link)...)
	said := strings.Join(append(words, d.Images...), " ")
	if d.Kind == denial.Undecided || d.Kind == denial.Unreachable {
		why, next := d.Cause()
		if next == "" {
			why += " and nothing to do"
		}
		said += " | " + why
	}
	return said
}

type example struct{ said, want string }

func examples(t testing.TB) []example {
	t.Helper()
	text, err := os.ReadFile("testdata/denials.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
	for i := 0; i+1 < len(lines); i += 2 {
		all = append(all, example{lines[i], strings.TrimSpace(strings.TrimPrefix(lines[i+1], "=>"))})
	}
	return all
}

// What a real API server and a real Kyverno said is read for what it is, by
// itself and inside of a listing of events.
func TestRead(t *testing.T) {
	for _, e := range examples(t) {
		escaped, err := json.Marshal(map[string]any{"kind": "Event", "message": e.said})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{e.said, string(escaped), "a line before\n" + e.said + "\n\nhint: and after", e.said + "\n" + e.said} {
			var got []string
			for _, d := range denial.Read(text) {
				got = append(got, line(d))
			}
			if diff := cmp.Diff(strings.Fields(e.want), strings.Fields(strings.Join(got, "\n"))); diff != "" {
				t.Errorf("%s\n%s", text, diff)
			}
		}
	}
	// All at once, in their order.
	var text, want []string
	seen := map[string]bool{}
	for _, e := range examples(t) {
		text = append(text, e.said)
		if e.want != "" && !seen[e.want] {
			seen[e.want] = true
			want = append(want, e.want)
		}
	}
	var got []string
	for _, d := range denial.Read(strings.Join(text, "\n\n")) {
		got = append(got, line(d))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Every message that the rendered policies can say is known here.
func TestRenderedMessages(t *testing.T) {
	p := policy.Policy{Version: 1, Image: "ghcr.io/acme/app", Evidence: policy.AllEvidence(),
		Identity: policy.Identity{Issuer: policy.GitHubIssuer, Repository: "acme/app", Workflow: ".github/workflows/release.yml", Ref: "refs/heads/main"},
		Trust:    policy.Trust{Root: policy.RootPublic}}
	files, err := kyverno.Render(kyverno.Input{Policy: p, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		for text := range strings.Lines(string(f.Data)) {
			_, expression, ok := strings.Cut(text, "messageExpression: '")
			if !ok {
				continue
			}
			said := say(strings.TrimSuffix(strings.TrimSpace(expression), "'"))
			got := denial.Read(`admission webhook "w" denied the request: Policy hallmark-x failed: ` + said)
			if len(got) != 1 || got[0].Kind != denial.Rule || len(got[0].Images) != 2 || got[0].Images[0] != "a/b:1" {
				t.Errorf("%s is read as %+v", said, got)
				continue
			}
			seen[got[0].Link] = true
		}
	}
	for _, link := range append(policy.AllEvidence(), "registry", "digest") {
		if !seen[link] {
			t.Errorf("no rendered message is about %s", link)
		}
	}
}

// say evaluates a message's expression, which adds up texts and variables, for
// two images.
func say(expression string) string {
	var b strings.Builder
	for _, term := range strings.Split(expression, " + ") {
		switch {
		case strings.HasPrefix(term, `"`):
			b.WriteString(strings.Trim(term, `"`))
		case strings.HasSuffix(term, `.join(", ")`):
			b.WriteString("a/b:1, c/d@sha256:0")
		default:
			b.WriteString("a/b:1")
		}
	}
	return b.String()
}

func FuzzRead(f *testing.F) {
	for _, e := range examples(f) {
		f.Add(e.said)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range denial.Read(text) {
			if (d.Kind == denial.Rule) != (d.Link != "" && len(d.Images) > 0) {
				t.Errorf("%q: %+v", text, d)
			}
			if why, next := d.Cause(); why == "" || next == "" {
				t.Errorf("%q: no cause", text)
			}
		}
	})
}
