package policy_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

func ptr[T any](v T) *T { return &v }

// A gate that no file made must be no weaker than the strictest one a file
// could make.
func TestGateReadersFailClosed(t *testing.T) {
	for _, test := range []struct {
		name                                string
		gate                                policy.Gate
		threshold                           finding.Severity
		kev                                 bool
		age                                 time.Duration
		unknownSeverity, uncovered, incompa string
	}{
		{"zero", policy.Gate{}, finding.Critical, true, 120 * time.Hour, "warn", "refuse", "warn"},
		{"set", policy.Gate{
			Severity: ptr(finding.Low), KEV: ptr(false), MaxDatabaseAge: ptr(policy.Duration(time.Hour)),
			UnknownSeverity: "allow", Uncovered: "warn", Uncomparable: "refuse",
		}, finding.Low, false, time.Hour, "allow", "warn", "refuse"},
		{"nonsense", policy.Gate{
			Severity: ptr(finding.Severity(9)), MaxDatabaseAge: ptr(policy.Duration(-time.Hour)),
			UnknownSeverity: "Allow", Uncovered: "no", Uncomparable: " warn",
		}, finding.Unknown, true, 0, "refuse", "refuse", "refuse"},
		{"below", policy.Gate{Severity: ptr(finding.Severity(-1))}, finding.Unknown, true, 120 * time.Hour, "warn", "refuse", "warn"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := test.gate
			if g.Threshold() != test.threshold || g.RefusesKEV() != test.kev || g.DatabaseAge() != test.age {
				t.Errorf("threshold %v, kev %v, age %v", g.Threshold(), g.RefusesKEV(), g.DatabaseAge())
			}
			if g.OnUnknownSeverity() != test.unknownSeverity || g.OnUncovered() != test.uncovered || g.OnUncomparable() != test.incompa {
				t.Errorf("unknown severity %s, uncovered %s, uncomparable %s", g.OnUnknownSeverity(), g.OnUncovered(), g.OnUncomparable())
			}
		})
	}
}

func TestDurationIsText(t *testing.T) {
	data, err := json.Marshal(policy.Duration(90 * time.Minute))
	if err != nil || string(data) != `"1h30m0s"` {
		t.Errorf("%s, %v", data, err)
	}
	var d policy.Duration
	if err := d.UnmarshalText([]byte("5 days")); err == nil {
		t.Error("read 5 days")
	}
}
