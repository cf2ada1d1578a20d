package policy_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

func TestSubjectRegexp(t *testing.T) {
	const own = "https://github.com/acme/app/.github/workflows/release.yml@"
	const shared = "https://github.com/acme/pipelines/.github/workflows/hallmark.yml@"
	for _, test := range []struct {
		name    string
		who     policy.Identity
		matches []string
		refuses []string
	}{{
		name:    "any ref",
		who:     policy.Identity{Repository: "acme/app", Workflow: ".github/workflows/release.yml"},
		matches: []string{own + "refs/heads/main", own + "refs/tags/v1", own + "refs/heads/a@b"},
		refuses: []string{
			own, own + "refs/", own + "main", own + commit,
			"x" + own + "refs/heads/main", own + "refs/heads/main\n", "\n" + own + "refs/heads/main",
			strings.Replace(own, "release.yml", "releaseXyml", 1) + "refs/heads/main",
			strings.Replace(own, "release.yml", "evil.yml", 1) + "refs/heads/main",
			strings.Replace(own, "acme/app", "acme/app-evil", 1) + "refs/heads/main",
			strings.Replace(own, "acme/app", "evil/acme/app", 1) + "refs/heads/main",
			strings.Replace(own, "github.com", "github.com.evil.example", 1) + "refs/heads/main",
			strings.Replace(own, "github.com", "githubxcom", 1) + "refs/heads/main",
		},
	}, {
		name:    "one ref",
		who:     policy.Identity{Repository: "acme/app", Workflow: ".github/workflows/release.yml", Ref: "refs/heads/main"},
		matches: []string{own + "refs/heads/main"},
		refuses: []string{own + "refs/heads/main2", own + "refs/heads/mai", own + "refs/tags/main", own + "refs/heads/x@refs/heads/main"},
	}, {
		name:    "refs that begin so",
		who:     policy.Identity{Repository: "acme/app", Workflow: ".github/workflows/release.yml", Ref: "refs/tags/v1.*"},
		matches: []string{own + "refs/tags/v1.0", own + "refs/tags/v1.2.3"},
		refuses: []string{own + "refs/tags/v10", own + "refs/tags/v2.0", own + "refs/heads/v1.0"},
	}, {
		name:    "reusable workflow: the source's ref is not the workflow's",
		who:     policy.Identity{Repository: "acme/app", Workflow: "acme/pipelines/.github/workflows/hallmark.yml", Ref: "refs/heads/main"},
		matches: []string{shared + "refs/heads/dev", shared + "refs/tags/v3", shared + commit},
		refuses: []string{own + "refs/heads/main", shared + commit[1:], shared + "v3", shared + "x" + commit},
	}, {
		name:    "reusable workflow at one tag",
		who:     policy.Identity{Repository: "acme/app", Workflow: "acme/pipelines/.github/workflows/hallmark.yml@refs/tags/v3"},
		matches: []string{shared + "refs/tags/v3"},
		refuses: []string{shared + "refs/tags/v3.1", shared + commit, shared + "refs/heads/v3"},
	}, {
		name:    "reusable workflow at one commit",
		who:     policy.Identity{Repository: "acme/app", Workflow: "acme/pipelines/.github/workflows/hallmark.yml@" + commit},
		matches: []string{shared + commit},
		refuses: []string{shared + "refs/tags/v3", shared + strings.Replace(commit, "0", "1", 1)},
	}, {
		name:    "another server",
		who:     policy.Identity{Repository: "https://git.acme.example/acme/app", Workflow: "acme/pipelines/.github/workflows/hallmark.yml"},
		matches: []string{"https://git.acme.example/acme/pipelines/.github/workflows/hallmark.yml@refs/heads/main"},
		refuses: []string{shared + "refs/heads/main"},
	}, {
		name:    "subject",
		who:     policy.Identity{Subject: "a.b@acme.example"},
		matches: []string{"a.b@acme.example"},
		refuses: []string{"aXb@acme.example", "a.b@acme.example.evil", "xa.b@acme.example", "a.b@acme.example\n", ""},
	}, {
		name:    "nobody",
		who:     policy.Identity{Issuer: policy.GitHubIssuer},
		refuses: []string{"", "x", "\n", own + "refs/heads/main"},
	}, {
		name:    "half of somebody",
		who:     policy.Identity{Repository: "acme/app"},
		refuses: []string{"", own + "refs/heads/main", "https://github.com/@refs/heads/main", "https://github.com/acme/app/@refs/heads/main"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			pattern := test.who.SubjectRegexp()
			re := regexp.MustCompile(pattern)
			if !strings.HasPrefix(pattern, "^") || !strings.HasSuffix(pattern, "$") {
				t.Errorf("not anchored: %s", pattern)
			}
			for _, s := range test.matches {
				if !re.MatchString(s) {
					t.Errorf("%s does not match %q", pattern, s)
				}
			}
			for _, s := range test.refuses {
				if re.MatchString(s) {
					t.Errorf("%s matches %q", pattern, s)
				}
			}
		})
	}
}

func TestSource(t *testing.T) {
	for _, test := range []struct {
		who      policy.Identity
		uri, ref string
	}{
		{policy.Identity{Subject: "a@b.example"}, "", ""},
		{policy.Identity{Repository: "acme/app"}, "https://github.com/acme/app", ""},
		{policy.Identity{Repository: "https://github.com/acme/app", Ref: "refs/tags/v1.0"}, "https://github.com/acme/app", `^refs/tags/v1\.0$`},
		{policy.Identity{Repository: "https://git.acme.example:8443/acme/app", Ref: "refs/tags/*"}, "https://git.acme.example:8443/acme/app", "^refs/tags/.*$"},
	} {
		if got := test.who.SourceRepositoryURI(); got != test.uri {
			t.Errorf("%+v: repository %q, want %q", test.who, got, test.uri)
		}
		if got := test.who.SourceRefRegexp(); got != test.ref {
			t.Errorf("%+v: ref %q, want %q", test.who, got, test.ref)
		}
	}
}

func TestValidateIdentityFromFlags(t *testing.T) {
	good := policy.Identity{Issuer: policy.GitHubIssuer, Repository: "acme/app", Workflow: ".github/workflows/release.yml"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []policy.Identity{
		{},
		{Issuer: policy.GitHubIssuer},
		{Subject: "a@b.example"},
		{Issuer: policy.GitHubIssuer, Subject: "*"},
		{Issuer: policy.GitHubIssuer, Repository: "acme/app"},
		{Issuer: "token.actions.githubusercontent.com", Repository: "acme/app", Workflow: ".github/workflows/release.yml"},
		{Issuer: "https://user:secret@issuer.example", Subject: "a@b.example"},
	} {
		err := bad.Validate()
		if err == nil {
			t.Errorf("accepted %+v", bad)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("prints a password: %v", err)
		}
	}
}
