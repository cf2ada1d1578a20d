package policy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

func jsonOf(t testing.TB, p policy.Policy) string {
	t.Helper()
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// FuzzParse holds that Parse never panics, that what it refuses it explains,
// and that what it accepts, written as JSON, it accepts again as the same
// policy: nothing that was read depends on how it was spelt. The published
// schema accepts it too.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, data := range files(f, folder) {
			f.Add(string(data))
		}
	}
	published := schema(f)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Parse("f", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("error without the file: %v", err)
			}
			return
		}
		if err := p.Identity.Validate(); err != nil {
			t.Errorf("accepted an identity that names nobody: %v", err)
		}
		written := jsonOf(t, p)
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(written))
		if err != nil {
			t.Fatal(err)
		}
		if err := published.Validate(doc); err != nil {
			t.Errorf("schema refuses what Parse accepts: %v\n%s", err, written)
		}
		again, err := policy.Parse("f", []byte(written))
		if err != nil {
			t.Fatalf("refused what it accepted: %v\n%s", err, written)
		}
		same := cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(policy.Policy{}, "Digest")}
		if diff := cmp.Diff(p, again, same); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}
