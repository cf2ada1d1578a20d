// Package hint attaches the next step for a person to an error, beside what
// went wrong. Any package may add one; only the command line prints it.
package hint

import (
	"errors"
	"fmt"
)

type hinted struct {
	err  error
	text string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

// Add gives err a next step. The text is one sentence without a final stop,
// naming the flag, key or command that helps. A nil err stays nil.
func Add(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err: err, text: fmt.Sprintf(format, args...)}
}

// Of gives the outermost hint in err's chain, the one closest to the person;
// it is empty when there is none.
func Of(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.text
	}
	return ""
}
