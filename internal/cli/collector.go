package cli

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// spareMemory is how much a release may fill, in bytes, before the garbage
// collector starts. What is alive during the release of an ordinary image is
// less than half of it, so that every round before is work for nothing: an
// eighth of the release's CPU time. Together with the program itself it is
// what the largest of the programs takes that a release stands in for.
const spareMemory = 176 << 20

// collectLate keeps the garbage collector from starting before spareMemory is
// full. Once so much is alive that it would run again and again against that
// bound, it works as it always does, and the channel is closed. Whoever set
// GOGC or GOMEMLIMIT has the last word.
func (a *app) collectLate() <-chan struct{} {
	usual := make(chan struct{})
	if a.env.get("GOGC") != "" || a.env.get("GOMEMLIMIT") != "" {
		close(usual)
		return usual
	}
	percent := debug.SetGCPercent(-1)
	debug.SetMemoryLimit(spareMemory)
	afterCollection(func() (again bool) {
		if alive() < spareMemory/2 {
			return true
		}
		debug.SetMemoryLimit(math.MaxInt64)
		debug.SetGCPercent(percent)
		close(usual)
		return false
	})
	return usual
}

// afterCollection calls f after the next collection, and after each one that
// follows for as long as f wants that.
func afterCollection(f func() (again bool)) {
	sentinel := new([64]byte) // not a tiny one, which would share its block
	runtime.SetFinalizer(sentinel, func(*[64]byte) {
		if f() {
			afterCollection(f)
		}
	})
}

// alive is how much the last collection found in use, in bytes.
func alive() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
