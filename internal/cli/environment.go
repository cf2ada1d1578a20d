package cli

import (
	"math"
	"runtime/debug"
	"strings"
)

// environment is the process's environment, passed in rather than read, so
// that a test can run many command lines side by side.
type environment struct {
	values map[string]string
	list   []string
}

func newEnvironment(environ []string) environment {
	e := environment{values: make(map[string]string, len(environ)), list: environ}
	for _, pair := range environ {
		if key, value, ok := strings.Cut(pair, "="); ok {
			e.values[key] = value
		}
	}
	return e
}

func (e environment) get(key string) string { return e.values[key] }

func (e environment) has(key string) bool {
	_, ok := e.values[key]
	return ok
}

// tuneMemory trades memory for time where nobody has chosen: a release is a
// short process whose live heap is small beside the garbage that cataloguing
// makes, and collecting less often saves about a sixth of its wall time.
func tuneMemory(env environment) {
	if !env.has("GOGC") && !env.has("GOMEMLIMIT") {
		debug.SetGCPercent(200)
		debug.SetMemoryLimit(math.MaxInt64)
	}
}
