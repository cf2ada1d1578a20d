package gate

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// finding files one finding: not at all, excused, as a warning or as a refusal.
func (j *judge) finding(f finding.Finding) {
	kind, how, why := j.weigh(f)
	if how == policy.Allow {
		return
	}
	if s, ok := finding.Exploitability(j.vex, f, j.subject, j.image); ok && s.Clears() && !s.At.After(j.now.Add(clockSkew)) {
		j.decision.Excepted = append(j.decision.Excepted, Excused{Finding: f, Kind: kind, VEX: &s})
		return
	}
	held, expired := j.excuse(f)
	if held != nil {
		j.decision.Excepted = append(j.decision.Excepted, Excused{Finding: f, Kind: kind, Exception: held})
		return
	}
	r := Refusal{Kind: kind, Finding: &f, Reason: why, Next: next(f)}
	if expired != nil {
		j.decision.Expired = append(j.decision.Expired, Excused{Finding: f, Kind: kind, Exception: expired})
		r.Reason += fmt.Sprintf("; the exception of %s for it expired on %s", expired.Author, day(expired.Expires))
		r.Next += ", or renew the exception"
	}
	j.note(how, r)
}

// weigh says what the policy thinks of a finding, before anything excuses it.
func (j *judge) weigh(f finding.Finding) (kind Kind, how, why string) {
	threshold := j.gate.Threshold()
	switch {
	case f.KEV && j.gate.RefusesKEV():
		return KEV, policy.Refuse, "it is known to be exploited (CISA KEV)"
	case f.Severity >= threshold:
		kind, how = Severity, policy.Refuse
		why = fmt.Sprintf("its severity is %s, and %s or worse is refused", f.Severity, threshold)
	case f.Severity == finding.Unknown:
		kind, how = UnknownSeverity, j.gate.OnUnknownSeverity()
		why = "no source gives its severity"
	default:
		return "", policy.Allow, ""
	}
	if j.gate.OnlyFixable && !f.Fixable() && how == policy.Refuse {
		return Unfixed, policy.Warn, why + "; no fix is known, and only-fixable lets it through"
	}
	return kind, how, why
}

// excuse gives the exception that holds for f, or else the one that no longer
// does; of several, the one that lasts longest.
func (j *judge) excuse(f finding.Finding) (held, expired *policy.Exception) {
	var last *policy.Exception
	for i := range j.gate.Exceptions {
		e := &j.gate.Exceptions[i]
		if !complete(*e) || !f.Is(e.ID) || !f.Package.Is(e.Package) || !sameRepository(e.Image, j.image) {
			continue
		}
		j.used[i] = true
		if last == nil || e.Expires.After(last.Expires) {
			last = e
		}
	}
	if last != nil && j.now.Before(last.Expires) {
		return last, nil
	}
	return nil, last
}

// complete says that an exception has all that makes it one. Policy files have
// been checked for it; gates made otherwise have not.
func complete(e policy.Exception) bool {
	return e.ID != "" && e.Package != "" && strings.TrimSpace(e.Reason) != "" && strings.TrimSpace(e.Author) != "" && !e.Expires.IsZero()
}

// sameRepository says that an exception for the repository only, if any, holds
// for image.
func sameRepository(only, image string) bool {
	if only == "" {
		return true
	}
	a, err := name.NewRepository(only)
	if err != nil {
		return false
	}
	b, err := name.NewRepository(image)
	return err == nil && a.Name() == b.Name()
}

// exceptions warns of those that do nothing.
func (j *judge) exceptions() {
	for i, e := range j.gate.Exceptions {
		what := fmt.Sprintf("the exception for %s in %s", e.ID, e.Package)
		switch {
		case !complete(e):
			j.note(policy.Warn, Refusal{Kind: InvalidException, Reason: what + " does not hold: it needs id, package, reason, author and expires"})
		case !j.used[i] && sameRepository(e.Image, j.image):
			j.note(policy.Warn, Refusal{
				Kind: UnusedException, Reason: what + " was not needed",
				Next: "take it out of gate.exceptions, so that it does not hide a finding to come",
			})
		}
	}
}

func next(f finding.Finding) string {
	switch {
	case len(f.FixedIn) > 0:
		return fmt.Sprintf("upgrade %s to %s", f.Package.Name, strings.Join(f.FixedIn, " or "))
	case f.Fixable():
		return "upgrade " + f.Package.Name
	default:
		return fmt.Sprintf("remove %s, or excuse the finding with a VEX statement or an exception", f.Package.Name)
	}
}

// age writes a duration as a person would, in whole hours or days.
func age(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}
