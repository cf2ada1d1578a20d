// Package estate grows an estate of images out of real package lists, for
// measuring at sizes nobody publishes: services made of what real images hold,
// each built again and again while the versions under it move on.
//
// The lists are real; how they are put together and how versions drift is
// modelled: services take lists by Zipf's law, every package has a line of
// versions of its own length, and each service follows each package with a lag
// of its own. The same seed gives the same estate. Advisories are modelled
// too, over the estate's own names and versions.
package estate

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"

	"github.com/hallmark-sh/hallmark/internal/component"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

//go:embed lists.jsonl.zst
var compressed []byte

// Options say how large the estate is.
type Options struct {
	Seed   uint64
	Images int
	// Packages is the mean number in an image.
	Packages int
	// Versions is the mean number of versions a package goes through over the
	// estate's life.
	Versions int
	// Advisories is the number of records.
	Advisories int
}

// Image is one image of the estate; Packages are places in Estate.Packages,
// ascending.
type Image struct {
	Digest     v1.Hash
	Repository string
	Tag        string
	Built      time.Time
	Packages   []uint32
}

// Estate is what was grown. Images come from Each, in the order of their
// building: the whole of a large estate does not fit in memory beside what is
// measured.
type Estate struct {
	options    Options
	Packages   []component.Package
	Advisories []vulnerability.Record

	services []service
	ids      map[version]uint32
	lines    []line
}

// line is one package with the number of versions it goes through.
type line struct {
	first  component.Package
	length int
}

// version is one version of a line.
type version struct{ line, step int }

// service is one repository: what it is made of and how far behind it is.
type service struct {
	repository string
	lines      []int
	lag        []float64
}

// builds is how often a service is built over the estate's life.
const builds = 25

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Grow makes an estate.
func Grow(o Options) (*Estate, error) {
	lists, err := read()
	if err != nil {
		return nil, fmt.Errorf("reading package lists: %w", err)
	}
	e := &Estate{options: o, ids: map[version]uint32{}}
	r := rand.New(rand.NewPCG(o.Seed, 1))
	numbers := e.draw(r, lists)
	e.found(r, lists, numbers)
	e.Each(func(Image) error { return nil })
	e.advise(rand.New(rand.NewPCG(o.Seed, 2)))
	return e, nil
}

// read gives the lists, each package as its identity without a version twice.
func read() ([][]component.Package, error) {
	z, err := zstd.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var out [][]component.Package
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var l struct{ PURLs []string }
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, err
		}
		var list []component.Package
		for _, purl := range l.PURLs {
			if p, err := component.FromPURL(purl, "", ""); err == nil && p.Version != "" {
				list = append(list, p)
			}
		}
		out = append(out, list)
	}
	return out, lines.Err()
}

// draw gives every name a line of versions, and each list as numbers of lines.
func (e *Estate) draw(r *rand.Rand, lists [][]component.Package) [][]int {
	known := map[component.Package]int{}
	out := make([][]int, len(lists))
	for n, list := range lists {
		for _, p := range list {
			name := p
			name.Version = ""
			id, ok := known[name]
			if !ok {
				id = len(e.lines)
				known[name] = id
				// Most packages move little and a few all the time.
				length := 1 + int(r.ExpFloat64()*float64(e.options.Versions))
				if bump(p.Version, 1) == p.Version {
					length = 1 // (devel) and the like never move.
				}
				e.lines = append(e.lines, line{p, min(length, 20*e.options.Versions)})
			}
			out[n] = append(out[n], id)
		}
	}
	return out
}

// found makes the services: lists by Zipf's law until there are enough
// packages.
func (e *Estate) found(r *rand.Rand, lists [][]component.Package, numbers [][]int) {
	order := r.Perm(len(lists))
	zipf := rand.NewZipf(r, 1.1, 4, uint64(len(lists)-1))
	for n := range (e.options.Images + builds - 1) / builds {
		want := max(10, int(float64(e.options.Packages)*math.Exp(r.NormFloat64()*0.4)*0.92))
		s := service{repository: fmt.Sprintf("registry.example/team-%02d/service-%d", n%40, n)}
		seen := map[int]bool{}
		for range 60 {
			for _, id := range numbers[order[zipf.Uint64()]] {
				if !seen[id] && len(s.lines) < want {
					seen[id] = true
					s.lines = append(s.lines, id)
					s.lag = append(s.lag, r.ExpFloat64()*0.15)
				}
			}
			if len(s.lines) >= want {
				break
			}
		}
		e.services = append(e.services, s)
	}
}

// Each gives every image, in the order of building. An error ends it.
func (e *Estate) Each(visit func(Image) error) error {
	n := 0
	for build := range builds {
		for s := range e.services {
			if n == e.options.Images {
				return nil
			}
			if err := visit(e.image(n, build, s)); err != nil {
				return err
			}
			n++
		}
	}
	return nil
}

func (e *Estate) image(n, build, number int) Image {
	s := &e.services[number]
	at := (float64(build) + float64(number)/float64(len(e.services))) / builds
	i := Image{
		Digest:     v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%016x%048x", e.options.Seed, n+1)},
		Repository: s.repository, Tag: fmt.Sprintf("1.%d.0", build),
		Built: began.Add(time.Duration(at * float64(365*24*time.Hour))),
	}
	for k, id := range s.lines {
		l := &e.lines[id]
		v := version{id, min(l.length-1, max(0, int((at-s.lag[k])*float64(l.length))))}
		place, ok := e.ids[v]
		if !ok {
			place = uint32(len(e.Packages))
			e.ids[v] = place
			e.Packages = append(e.Packages, l.at(v.step))
		}
		i.Packages = append(i.Packages, place)
	}
	slices.Sort(i.Packages)
	i.Packages = slices.Compact(i.Packages)
	return i
}

var number = regexp.MustCompile(`[0-9]{1,6}`)

// at is a step of the line: the last short number of the version, before what
// follows a dash, goes up.
func (l *line) at(step int) component.Package {
	p := l.first
	p.Version = bump(p.Version, step)
	return p
}

func bump(v string, step int) string {
	head, tail, _ := strings.Cut(v, "-")
	if tail != "" {
		tail = "-" + tail
	}
	places := number.FindAllStringIndex(head, -1)
	if step == 0 || len(places) == 0 {
		return v
	}
	last := places[len(places)-1]
	n, _ := strconv.Atoi(head[last[0]:last[1]])
	return head[:last[0]] + strconv.Itoa(n+step) + head[last[1]:] + tail
}

var advised = map[string]string{"golang": "go", "deb": "dpkg", "apk": "apk", "maven": "maven", "rpm": "rpm", "gem": "gem", "pypi": "python"}

// advise writes advisories over packages that the estate holds: most name
// packages that are spread, as those that people report on are.
func (e *Estate) advise(r *rand.Rand) {
	seen := map[int]bool{}
	var order []int
	for _, s := range e.services {
		for _, id := range s.lines {
			if !seen[id] {
				seen[id] = true
				order = append(order, id)
			}
		}
	}
	zipf := rand.NewZipf(r, 1.05, 50, uint64(len(order)-1))
	for n := range e.options.Advisories {
		l := &e.lines[order[zipf.Uint64()]]
		to := 1 + r.IntN(l.length)
		from := max(0, to-1-int(r.ExpFloat64()*float64(l.length)/3))
		low, high := l.at(from), l.at(to)
		a := vulnerability.Row{Type: low.Type, Name: low.FullName(), Ranges: []vulnerability.Range{{
			Format: advised[low.Type], Constraint: ">=" + low.Version + ",<" + high.Version, FixedIn: high.Version, FixState: "fixed",
		}}}
		if component.OS(low.Type) {
			a.Distro = strings.Replace(low.Distro, "-", ":", 1)
			if low.Distro == "" {
				continue
			}
		}
		e.Advisories = append(e.Advisories, vulnerability.Record{
			Provider: "estate", ID: fmt.Sprintf("EST-%d", n+1), Aliases: []string{fmt.Sprintf("CVE-2099-%d", n+1)},
			Severity: finding.Severity(r.IntN(6)), SeveritySource: "vendor:estate", KEV: r.IntN(100) == 0,
			Summary: "a flaw in " + low.FullName(), Affected: []vulnerability.Row{a},
		})
	}
}
