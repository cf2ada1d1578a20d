package image

import (
	"bytes"
	"fmt"
)

// ending keeps the last bytes written to it, in whole lines.
type ending struct {
	limit int
	buf   []byte
	cut   int
}

func (e *ending) Write(p []byte) (int, error) {
	e.buf = append(e.buf, p...)
	if over := len(e.buf) - e.limit; over > 0 {
		if line := bytes.IndexByte(e.buf[over:], '\n'); line >= 0 {
			over += line + 1
		}
		e.cut += over
		e.buf = append(e.buf[:0], e.buf[over:]...)
	}
	return len(p), nil
}

func (e *ending) String() string {
	text := string(bytes.TrimRight(e.buf, "\n"))
	if e.cut > 0 {
		return fmt.Sprintf("(%d bytes before this left out)\n%s", e.cut, text)
	}
	return text
}
