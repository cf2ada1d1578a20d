package cli

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
)

// A release that keeps much alive is collected as every program is.
func TestCollectLate(t *testing.T) {
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(math.MaxInt64)
	})
	a := &app{env: newEnvironment(nil)}
	usual := a.collectLate()
	if limit := debug.SetMemoryLimit(-1); limit != spareMemory {
		t.Errorf("the limit is %d, wanted %d", limit, spareMemory)
	}
	much := make([]byte, spareMemory/2)
	for range 3 { // the finalizer is set anew after a collection that found little
		runtime.GC()
	}
	<-usual
	runtime.KeepAlive(much)
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("GOGC is %d, wanted 100", got)
	}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		t.Errorf("the limit is %d, wanted none", limit)
	}
}

func TestCollectAsTold(t *testing.T) {
	for _, told := range []string{"GOGC=50", "GOMEMLIMIT=1GiB"} {
		a := &app{env: newEnvironment([]string{told})}
		<-a.collectLate()
		if limit := debug.SetMemoryLimit(-1); limit == spareMemory {
			t.Errorf("with %s the limit is %d", told, limit)
		}
	}
}
