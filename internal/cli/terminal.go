package cli

// The rules of the terminal:
//
//   - The answer goes to standard output; progress, warnings and errors go to
//     standard error. With --json standard output holds one JSON document.
//   - Progress is one line that rewrites itself on a terminal, plain lines in
//     CI (CI=true) and with --verbose, and nothing at all on a pipe.
//   - Colour needs a terminal, no NO_COLOR, and a TERM that is not dumb. It
//     never carries meaning alone: the word is always there too.
//   - Text that comes from outside (package names, registry answers, build
//     output) is stripped of control characters before it is printed.
//   - An error is one line beginning "hallmark: ", then, where there is one, a
//     line beginning "hint: ".

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"
	"golang.org/x/time/rate"

	"github.com/hallmark-sh/hallmark/internal/release"
)

// Streams are the standard streams of one run.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// InTTY, OutTTY and ErrTTY say which of them are terminals.
	InTTY, OutTTY, ErrTTY bool
}

// Standard gives the process's own streams.
func Standard() Streams {
	is := func(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
	return Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTTY: is(os.Stdin), OutTTY: is(os.Stdout), ErrTTY: is(os.Stderr),
	}
}

type screen struct {
	Streams
	colourOut, colourErr bool
	lines                bool // progress as plain lines

	// counting lets through what a person can read of a count that grows.
	counting rate.Sometimes

	mu      sync.Mutex
	showing bool // an unfinished progress line stands on the terminal
}

func newScreen(std Streams, env environment) *screen {
	colour := !env.has("NO_COLOR") && env.get("TERM") != "dumb"
	return &screen{
		Streams:   std,
		colourOut: colour && std.OutTTY,
		colourErr: colour && std.ErrTTY,
		lines:     env.get("CI") == "true" && !std.ErrTTY,
		counting:  rate.Sometimes{Interval: pace(std.ErrTTY)},
	}
}

// pace is how long to wait between two signs of the same count: a terminal
// rewrites one line, a log keeps them all.
func pace(terminal bool) time.Duration {
	if terminal {
		return 100 * time.Millisecond
	}
	return 5 * time.Second
}

// paint is an SGR colour code.
type paint string

const (
	bold   paint = "1"
	dim    paint = "2"
	red    paint = "31"
	green  paint = "32"
	yellow paint = "33"
)

func (s *screen) out(p paint, text string) string { return colour(s.colourOut, p, text) }

func colour(on bool, p paint, text string) string {
	if !on || p == "" {
		return text
	}
	return "\x1b[" + string(p) + "m" + text + "\x1b[0m"
}

// printf writes a piece of the answer. Arguments from outside go through
// clean first.
func (s *screen) printf(format string, args ...any) {
	s.endProgress()
	fmt.Fprintf(s.Out, format, args...)
}

// note writes a line to standard error that is neither answer nor error.
func (s *screen) note(format string, args ...any) {
	s.endProgress()
	fmt.Fprintf(s.Err, format+"\n", args...)
}

// problem prints an error and its hint.
func (s *screen) problem(err error, hint string) {
	s.endProgress()
	fmt.Fprintf(s.Err, "%s %s\n", colour(s.colourErr, red, "hallmark:"), cleanLines(err.Error()))
	if hint != "" {
		fmt.Fprintf(s.Err, "%s %s\n", colour(s.colourErr, yellow, "hint:"), cleanLines(hint))
	}
}

// json writes v as the whole answer.
func (s *screen) json(v any) error {
	s.endProgress()
	enc := json.NewEncoder(s.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table writes rows in columns; the first is the heading.
func (s *screen) table(rows [][]string) {
	s.endProgress()
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
		}
		fmt.Fprintln(w, strings.TrimRight("  "+strings.Join(row, "\t"), "\t "))
	}
	w.Flush()
}

// progress shows what is being done now, after elapsed.
func (s *screen) progress(stage, text string, elapsed time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("%-9s %s", stage, clean(text))
	switch {
	case s.lines:
		fmt.Fprintf(s.Err, "%6.1fs  %s\n", elapsed.Seconds(), line)
	case s.ErrTTY:
		width, _, err := term.GetSize(int(os.Stderr.Fd()))
		if err != nil || width < 20 {
			width = 80
		}
		if r := []rune(line); len(r) > width-10 {
			line = string(r[:width-10])
		}
		fmt.Fprintf(s.Err, "\r\x1b[2K%s", colour(s.colourErr, dim, fmt.Sprintf("%6.1fs  %s", elapsed.Seconds(), line)))
		s.showing = true
	}
}

// count shows a count that grows: the first, and then one now and again.
func (s *screen) count(stage, text string, elapsed time.Duration) {
	s.counting.Do(func() { s.progress(stage, text, elapsed) })
}

// step shows what a release says of itself.
func (s *screen) step(told release.Step, elapsed time.Duration) {
	if told.Counting {
		s.count(told.Stage, told.Text, elapsed)
		return
	}
	s.progress(told.Stage, told.Text, elapsed)
}

func (s *screen) endProgress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.showing {
		fmt.Fprint(s.Err, "\r\x1b[2K")
		s.showing = false
	}
}

// clean removes control characters, so that nothing from outside can move the
// cursor, colour the screen or forge a line.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, text)
}

// cleanLines is clean for text that may have several lines.
func cleanLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = clean(strings.ReplaceAll(lines[i], "\t", "  "))
	}
	return strings.Join(lines, "\n  ")
}
