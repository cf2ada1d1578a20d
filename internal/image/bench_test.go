package image

import (
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// benchLayers are four layers of 218 MB in all that gzip to about 45 %, as
// those of a Debian image with Python do: 130, 80, 7 and 1 MB.
func benchLayers() [][]byte {
	var layers [][]byte
	random := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = make([]byte, 2+random.IntN(14))
		for j := range words[i] {
			words[i][j] = byte(random.IntN(256))
		}
	}
	for _, size := range []int{130 << 20, 80 << 20, 7 << 20, 1 << 20} {
		b := make([]byte, 0, size+64)
		for len(b) < size {
			b = append(b, words[int(random.ExpFloat64()*512)%len(words)]...)
			if random.IntN(4) == 0 {
				b = append(b, byte(random.IntN(256)), byte(random.IntN(256)), byte(random.IntN(256)))
			}
		}
		layers = append(layers, b)
	}
	return layers
}

func BenchmarkLayout(b *testing.B) {
	layers := benchLayers()
	oci := tree{}
	oci.finish(oci.image(linux, types.OCILayer, layers...))
	folder := oci.writeTo(b.TempDir())
	plainTar := writeFile(b, tarOf(docker(layers...), nil))
	ociTar := writeFile(b, tarOf(oci, nil))
	var packed int64
	for name := range oci {
		packed += int64(len(oci[name]))
	}
	oci, layers = nil, nil
	for _, c := range []struct{ name, path string }{
		{"oci folder", folder}, {"oci tar", ociTar}, {"docker archive", plainTar},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu()
			for i := 0; b.Loop(); i++ {
				dir := filepath.Join(b.TempDir(), string(rune('a'+i%26)), "image")
				_, err := Build(b.Context(), source.Source{}, policy.Build{Layout: &policy.LayoutBuild{Path: c.path}}, Options{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(packed)/1e6, "packed-MB")
			b.ReportMetric((cpu()-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}

// cpu is the processor time this process has used: unlike wall time it says
// the same on a busy machine.
func cpu() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
