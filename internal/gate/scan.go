package gate

import (
	"fmt"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

const newDatabase = "take a newer one: hallmark advisories import, or --advisories"

// database judges whether the scan could have known.
func (j *judge) database(db finding.Database) {
	old, most := j.now.Sub(db.Built), j.gate.DatabaseAge()
	switch {
	case db.Built.IsZero():
		j.note(policy.Refuse, Refusal{Kind: DatabaseAge, Reason: "the vulnerability database does not say when it was built", Next: newDatabase})
	case old < -clockSkew:
		j.note(policy.Refuse, Refusal{
			Kind:   DatabaseFuture,
			Reason: fmt.Sprintf("the vulnerability database was built in the future, at %s", db.Built.UTC().Format(time.RFC3339)),
			Next:   "set this machine's clock, or take a database from somebody whose clock is right",
		})
	case old > most:
		j.note(policy.Refuse, Refusal{
			Kind:   DatabaseAge,
			Reason: fmt.Sprintf("the vulnerability database is %s old, and more than %s is refused", age(old), age(most)),
			Next:   newDatabase,
		})
	}
	if len(db.Providers) == 0 {
		j.note(policy.Refuse, Refusal{Kind: EmptyDatabase, Reason: "the vulnerability database holds no data set", Next: newDatabase})
	}
}

// coverage judges whether the scan could have found anything.
func (j *judge) coverage(ecosystems []finding.Coverage) {
	if len(ecosystems) == 0 {
		j.note(j.gate.OnUncovered(), Refusal{
			Kind: Uncovered, Reason: "the scan report does not say what it looked at",
			Next: "look at the SBOM: an image without packages cannot be scanned",
		})
	}
	for _, c := range ecosystems {
		if c.Covered {
			continue
		}
		j.note(j.gate.OnUncovered(), Refusal{
			Kind:   Uncovered,
			Reason: fmt.Sprintf("the vulnerability database has no advisories for %s, which %s of the image %s", c.Ecosystem, plural(c.Packages, "package"), are(c.Packages)),
			Next:   "take a database that has them, or set gate.uncovered to warn or allow",
		})
	}
}

// uncomparable judges packages that the scan could not place.
func (j *judge) uncomparable(packages []finding.Package) {
	if len(packages) == 0 {
		return
	}
	var names []string
	for i, p := range packages {
		if i == 3 {
			names = append(names, fmt.Sprintf("and %d more", len(packages)-i))
			break
		}
		names = append(names, strings.TrimSpace(p.Name+" "+p.Version))
	}
	j.note(j.gate.OnUncomparable(), Refusal{
		Kind:     Uncomparable,
		Reason:   fmt.Sprintf("%s cannot be compared with any version range: %s", plural(len(packages), "package"), strings.Join(names, ", ")),
		Next:     "give them versions, or look at their advisories by hand",
		Packages: packages,
	})
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
