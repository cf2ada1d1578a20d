package cli

import "strings"

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
