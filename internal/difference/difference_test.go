package difference_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/difference"
	"github.com/hallmark-sh/hallmark/internal/finding"
)

var update = flag.Bool("update", false, "write the golden files anew")

func listed(typ, name, version string, licences ...string) component.Listed {
	return component.Listed{Package: component.Package{Type: typ, Name: name, Version: version}, Licences: licences}
}

func found(id, name, version string, severity finding.Severity, aliases ...string) finding.Finding {
	return finding.Finding{ID: id, Aliases: aliases, Severity: severity, Package: finding.Package{Type: "deb", Name: name, Version: version}}
}

func report(day int, findings ...finding.Finding) finding.Report {
	return finding.Report{Database: finding.Database{Built: time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)}, Findings: findings}
}

func sides() (base, head difference.Side) {
	base = difference.Side{Name: "app@sha256:aa", Report: report(1,
		found("CVE-2026-1", "openssl", "3.0", finding.High),
		found("CVE-2026-2", "zlib", "1.2", finding.Low),
		found("GHSA-x", "curl", "8.0", finding.Medium, "CVE-2026-3")),
		Packages: []component.Listed{
			listed("deb", "openssl", "3.0"), listed("deb", "zlib", "1.2"), listed("deb", "curl", "8.0"), listed("deb", "gone", "1"),
			listed("golang", "two", "1"), listed("golang", "two", "2"), listed("deb", "same", "1", "MIT"), listed("deb", "quiet", "1"),
		}}
	head = difference.Side{Name: "app@sha256:bb", Report: report(2,
		found("CVE-2026-1", "openssl", "3.1", finding.High),
		found("CVE-2026-3", "curl", "8.0", finding.Medium),
		found("CVE-2026-4", "new|pkg", "1", finding.Critical),
		found("CVE-2026-5", "quiet", "1", finding.Unknown)),
		Packages: []component.Listed{
			listed("deb", "openssl", "3.1"), listed("deb", "curl", "8.0"), listed("deb", "new|pkg", "1", "GPL-3.0-only"),
			listed("golang", "two", "2"), listed("golang", "two", "3"), listed("golang", "two", "4"), listed("deb", "same", "1", "BUSL-1.1"), listed("deb", "quiet", "1"),
		}}
	return base, head
}

func TestOf(t *testing.T) {
	base, head := sides()
	d := difference.Of(base, head)
	want := difference.Difference{
		Base: "app@sha256:aa", Head: "app@sha256:bb",
		BaseAdvisories: base.Report.Database.Built, HeadAdvisories: head.Report.Database.Built,
		Added:      []difference.Package{{Type: "deb", Name: "new|pkg", Version: "1", Licences: []string{"GPL-3.0-only"}}, {Type: "golang", Name: "two", Version: "3"}, {Type: "golang", Name: "two", Version: "4"}},
		Removed:    []difference.Package{{Type: "deb", Name: "gone", Version: "1"}, {Type: "deb", Name: "zlib", Version: "1.2"}, {Type: "golang", Name: "two", Version: "1"}},
		Changed:    []difference.Change{{Type: "deb", Name: "openssl", From: "3.0", To: "3.1"}},
		Relicensed: []difference.Relicence{{Type: "deb", Name: "same", Version: "1", From: []string{"MIT"}, To: []string{"BUSL-1.1"}}},
		Introduced: []finding.Finding{head.Report.Findings[2]},
		Learnt:     []finding.Finding{head.Report.Findings[3]},
		Resolved:   []finding.Finding{base.Report.Findings[1]},
		Remaining:  2, // one by another of its names, one on another version
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if same := difference.Of(head, head); !same.Empty() || same.Remaining != 4 {
		t.Errorf("an image against itself: %+v", same)
	}
	back := difference.Of(head, base)
	if len(back.Added) != len(d.Removed) || len(back.Removed) != len(d.Added) || len(back.Changed) != 1 || back.Changed[0].From != "3.1" {
		t.Errorf("the other way round: %+v", back)
	}
}

func TestMarkdown(t *testing.T) {
	base, head := sides()
	for name, got := range map[string]string{
		"changes.md": difference.Of(base, head).Markdown(), "nothing.md": difference.Of(base, base).Markdown(),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What an image says of itself cannot break out of the comment.
func TestMarkdownEscapes(t *testing.T) {
	base, head := sides()
	head.Packages = append(head.Packages, listed("deb", "</details> @everyone [x](http://evil) | `a`", "1\n# big", "<img src=x>"))
	text := difference.Of(base, head).Markdown()
	for _, evil := range []string{"@everyone", "](http", "<img", "\n# big", "`a`"} {
		if strings.Contains(text, evil) {
			t.Errorf("the comment holds %q", evil)
		}
	}
}
