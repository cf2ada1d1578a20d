package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// largeBOM is an SBOM with a component for every file, as of an image of
// Debian with Python: 8,000 components, 2.6 MB.
func largeBOM() string {
	var list []string
	for i := range 8000 {
		list = append(list, fmt.Sprintf(`{"bom-ref":"%016x","type":"file","name":"/usr/lib/python3/dist-packages/package/module%d.py","hashes":[{"alg":"SHA-1","content":"%040x"},{"alg":"SHA-256","content":"%064x"}],"properties":[{"name":"syft:id","value":"%016x"}]}`, i, i, i, i, i))
	}
	small := bom(subject, 160)
	return strings.Replace(small, `"components":[`, `"components":[`+strings.Join(list, ",")+",", 1)
}

// BenchmarkJudge judges the four bundles of a release.
func BenchmarkJudge(b *testing.B) {
	w := newWorld(b, nil)
	for _, size := range []string{"small", "large"} {
		statements := release(b, claims())
		if size == "large" {
			statements[sbomAt] = statement(b, evidence.CycloneDX, largeBOM())
		}
		whole := w.sign(b, claims(), statements...)
		b.Run(size, func(b *testing.B) {
			b.SetBytes(int64(len(whole[sbomAt].Bundle)))
			b.ReportAllocs()
			for b.Loop() {
				if v := verify.Judge(subject, whole, w.options()); !v.Passed() {
					b.Fatal(explain(v))
				}
			}
		})
	}
}
