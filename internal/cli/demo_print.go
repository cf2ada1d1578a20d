package cli

import (
	"os"
	"path/filepath"

	"github.com/hallmark-sh/hallmark/internal/demo"
	"github.com/hallmark-sh/hallmark/internal/release"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

func (a *app) showRefused(r release.Result, requests int) {
	if a.flags.json {
		return
	}
	s := a.screen
	s.printf("   %s  commit %.12s was not released\n", s.out(red, "REFUSED"), r.Source.Commit)
	a.printRefusals(r.Decision)
	s.printf("   The registry has seen %d requests: the image never came near it.\n", requests)
}

func (a *app) showReleased(r release.Result) {
	if a.flags.json {
		return
	}
	s := a.screen
	s.printf("   %s  %s\n", s.out(green, "RELEASED"), r.Image)
	s.printf("   commit %s, %s, findings: %s\n", r.Source.Commit, countsText(packageCounts(r)), severityText(r.Report.Counts()))
	s.printf("   %d bundles of evidence attached and verified before the tag was set\n", r.Added)
}

func (a *app) showVerified(v verdict.Verdict) {
	if !a.flags.json {
		a.printChecks(v)
	}
}

func (a *app) showAttempt(t demo.Attempt) {
	if a.flags.json {
		return
	}
	word := a.screen.out(green, "refused")
	if !t.Refused() {
		word = a.screen.out(red, "ACCEPTED")
	}
	a.screen.printf("   %s  %s\n            %s\n", word, t.Title, clean(t.Reason()))
}

func (a *app) printDemo(s demo.Summary) {
	refused := 0
	for _, f := range s.Forgery {
		if f.Refused() {
			refused++
		}
	}
	a.screen.printf(`
%[1]s
  The vulnerable commit was stopped before anything left this machine.
  The fixed commit is in the registry, signed, with its parts list, its scan and
  its provenance, each checked again from there: %[2]d of %[3]d checks pass.
  %[4]d of %[13]d forgeries were refused. It took %.0[5]f seconds.

To go on (everything is in %[6]s):
  %[7]s local serve --state %[8]s --registry-dir %[9]s --listen %[10]s &
  %[7]s verify --config %[11]s %[12]s
`, a.screen.out(bold, "In short"), len(s.Verdict.Checks)-len(s.Verdict.Failing()), len(s.Verdict.Checks),
		refused, s.Took.Seconds(), s.Dir, program(),
		filepath.Join(s.Dir, "trust"), filepath.Join(s.Dir, "registry"), s.Address, s.Policy, s.Released.Image, len(s.Forgery))
}

// demoAnswer is the stable JSON answer of hallmark demo.
type demoAnswer struct {
	Schema           string         `json:"schema"`
	Holds            bool           `json:"holds"`
	RefusedCommit    string         `json:"refusedCommit"`
	RegistryRequests int            `json:"registryRequestsAtRefusal"`
	Image            string         `json:"image"`
	Checks           int            `json:"checksPassed"`
	Forgeries        []forgeryEntry `json:"forgeries"`
	Seconds          float64        `json:"seconds"`
	Dir              string         `json:"dir"`
}

type forgeryEntry struct {
	Title   string `json:"title"`
	Image   string `json:"image"`
	Refused bool   `json:"refused"`
	Reason  string `json:"reason"`
}

func newDemoAnswer(s demo.Summary) demoAnswer {
	d := demoAnswer{
		Schema: "hallmark.demo/v1", Holds: s.Holds(),
		RefusedCommit: s.Refused.Source.Commit, RegistryRequests: s.Requests,
		Image: s.Released.Image.String(), Checks: len(s.Verdict.Checks) - len(s.Verdict.Failing()),
		Seconds: s.Took.Seconds(), Dir: s.Dir,
	}
	for _, f := range s.Forgery {
		d.Forgeries = append(d.Forgeries, forgeryEntry{f.Title, f.Image, f.Refused(), f.Reason()})
	}
	return d
}

// program is how a person calls this program again.
func program() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return "hallmark"
}
