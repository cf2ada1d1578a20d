package image

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode"

	buildkit "github.com/moby/buildkit/client"
	digest "github.com/opencontainers/go-digest"
)

// watch follows a BuildKit build by its status: it tells the caller what goes
// on, keeps the last output of each step for the case that it fails, and notes
// the images the build starts from. One goroutine uses it.
type watch struct {
	opts  Options
	steps map[digest.Digest]*step
	order []*step
}

// step is one vertex of the build.
type step struct {
	name      string
	announced bool
	err       string
	said      ending
	line      bytes.Buffer
}

// stepOutputLimit bounds what is kept of one step's output, in bytes.
const stepOutputLimit = 4 << 10

func newWatch(opts Options) *watch {
	return &watch{opts: opts, steps: make(map[digest.Digest]*step)}
}

func (w *watch) see(s *buildkit.SolveStatus) {
	for _, v := range s.Vertexes {
		at := w.step(v.Digest)
		at.name = clean(v.Name)
		if v.Error != "" {
			at.err = clean(v.Error)
		}
		if v.Started != nil && !at.announced {
			at.announced = true
			if v.Cached {
				w.opts.say("%s (cached)", at.name)
			} else {
				w.opts.say("%s", at.name)
			}
		}
	}
	for _, l := range s.Logs {
		at := w.step(l.Vertex)
		at.said.Write(l.Data)
		at.line.Write(l.Data)
		for {
			line, rest, whole := bytes.Cut(at.line.Bytes(), []byte("\n"))
			if !whole && at.line.Len() < stepOutputLimit {
				break
			}
			w.opts.say("  %s", clean(string(line)))
			at.line = *bytes.NewBuffer(bytes.Clone(rest))
		}
	}
}

func (w *watch) step(d digest.Digest) *step {
	at, ok := w.steps[d]
	if !ok {
		at = &step{said: ending{limit: stepOutputLimit}}
		w.steps[d] = at
		w.order = append(w.order, at)
	}
	return at
}

// failed names the step that failed and gives the last of its output. A step
// that was cancelled because another failed is not it.
func (w *watch) failed() (name, said string) {
	for _, s := range w.order {
		if s.err != "" && !strings.Contains(s.err, "context canceled") {
			return s.name, clean(s.said.String())
		}
	}
	return "", ""
}

// fromStep is the name of a step that fetches a base image, as BuildKit's
// Dockerfile frontend writes it, and of the one that fetches a frontend named
// by a syntax line.
var fromStep = regexp.MustCompile(`^(?:\[[^\]]*\] FROM |(?:resolve image config for )?docker-image://|resolve image config for )(\S+)`)

// bases lists the images the build read, as BuildKit names them: with their
// digest when it resolved one. A name that stands with its digest elsewhere is
// not listed without it.
func (w *watch) bases() []string {
	var out []string
	resolved := make(map[string]bool)
	for _, s := range w.order {
		if m := fromStep.FindStringSubmatch(s.name); m != nil && !slices.Contains(out, m[1]) {
			out = append(out, m[1])
			if name, _, ok := strings.Cut(m[1], "@"); ok {
				resolved[name] = true
			}
		}
	}
	return slices.DeleteFunc(out, func(ref string) bool { return resolved[ref] })
}

// clean takes out of a program's output what could steer a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			return r
		}
		return -1
	}, s)
}
