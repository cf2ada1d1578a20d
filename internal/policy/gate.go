package policy

import (
	"time"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// What the gate does about something it cannot know.
const (
	// Refuse stops the release.
	Refuse = "refuse"
	// Warn shows it and goes on.
	Warn = "warn"
	// Allow goes on.
	Allow = "allow"
)

// DefaultDatabaseAge is how old a vulnerability database may be when the
// policy does not say.
const DefaultDatabaseAge = 120 * time.Hour

// The methods below give what g means, with the defaults of a key that is not
// set. They fail closed: a value that no policy file can hold reads as the
// strictest one.

// Threshold is the least severity that refuses. Unknown means every finding.
func (g Gate) Threshold() finding.Severity {
	switch {
	case g.Severity == nil:
		return finding.Critical
	case *g.Severity < finding.Unknown || *g.Severity > finding.Critical:
		return finding.Unknown
	default:
		return *g.Severity
	}
}

// RefusesKEV says that known exploited vulnerabilities refuse at any severity.
func (g Gate) RefusesKEV() bool { return g.KEV == nil || *g.KEV }

// DatabaseAge is the greatest age of a database that may be used; never
// negative.
func (g Gate) DatabaseAge() time.Duration {
	if g.MaxDatabaseAge == nil {
		return DefaultDatabaseAge
	}
	return max(time.Duration(*g.MaxDatabaseAge), 0)
}

// OnUnknownSeverity is Refuse, Warn or Allow.
func (g Gate) OnUnknownSeverity() string { return mode(g.UnknownSeverity, Warn) }

// OnUncovered is Refuse, Warn or Allow.
func (g Gate) OnUncovered() string { return mode(g.Uncovered, Refuse) }

// OnUncomparable is Refuse, Warn or Allow.
func (g Gate) OnUncomparable() string { return mode(g.Uncomparable, Warn) }

func mode(word, unset string) string {
	switch word {
	case "":
		return unset
	case Warn, Allow:
		return word
	default:
		return Refuse
	}
}
