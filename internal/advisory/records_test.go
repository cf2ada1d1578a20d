package advisory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hallmark-sh/hallmark/internal/finding"
	vuln "github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// What is read from records and what is read from the database made of them
// must be the same, or an answer would depend on the way an advisory came.
func TestReadOSVIsWhatTheDatabaseHolds(t *testing.T) {
	res := build(t, real()...)
	read, _, err := ReadOSV(t.Context(), real())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]vuln.Record{}
	if err := Records(t.Context(), res.Dir, func(r vuln.Record) error {
		want[r.Key()] = r
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	got := map[string]vuln.Record{}
	for _, r := range read {
		if !r.Withdrawn {
			got[r.Key()] = r
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-database +records):\n%s", diff)
	}
	if len(got) < 20 || len(got) != res.Written {
		t.Errorf("%d records were read, %d written", len(got), res.Written)
	}
	severities, kev := 0, 0
	for _, r := range got {
		if r.Severity != finding.Unknown {
			severities++
		}
		if r.KEV {
			kev++
		}
	}
	if severities == 0 || kev == 0 {
		t.Errorf("%d records have a severity, %d are known to be exploited", severities, kev)
	}
}

func TestReadOSVWithdrawn(t *testing.T) {
	got, _, err := ReadOSV(t.Context(), []Source{records(map[string]string{
		"a.json": `{"id":"PYSEC-1","modified":"2024-01-01T00:00:00Z","withdrawn":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"a"},"versions":["1"]}]}`,
	})})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !got[0].Withdrawn || got[0].Key() != "pypa/PYSEC-1" {
		t.Errorf("read %+v, want one withdrawn record", got)
	}
}
