package index

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/anchore/grype/grype/version"
	"github.com/package-url/packageurl-go"

	"github.com/hallmark-sh/hallmark/internal/component"
)

// maxVersions bounds the lists of versions in an answer; the totals count all.
const maxVersions = 50

// page is what Options ask for, checked.
type page struct {
	limit int
	below uint32 // images before this one, newest first
	at    int64
	there set
}

func (ix *Index) page(o Options) (page, error) {
	p := page{limit: o.Limit, below: maxID + 1, at: nanos(o.AsOf), there: ix.at(o.AsOf)}
	if p.limit <= 0 {
		p.limit = DefaultLimit
	}
	p.limit = min(p.limit, MaxLimit)
	if o.Cursor != "" {
		n, err := strconv.ParseUint(o.Cursor, 36, 32)
		if err != nil || n == 0 || n > maxID {
			return p, fmt.Errorf("%q is %w", o.Cursor, ErrCursor)
		}
		p.below = uint32(n)
	}
	return p, nil
}

// take gives the page's images, and the cursor of the next page if there are
// more.
func (p page) take(images set) (ids []uint32, next string) {
	ids = images.newest(p.below, p.limit+1)
	if len(ids) > p.limit {
		ids = ids[:p.limit]
		next = strconv.FormatUint(uint64(ids[p.limit-1]), 36)
	}
	return ids, next
}

// holders joins the images that hold any of the packages, of those there.
func (ix *Index) holders(packages []uint32, there set) set {
	images := make(set, len(there))
	for _, id := range packages {
		images.join(&ix.packages[id].images)
	}
	images.intersect(there)
	return images
}

// holdersOf counts the images that hold one package, of those there.
func (ix *Index) holdersOf(id uint32, there set) int {
	p := &ix.packages[id].images
	if &there[0] == &ix.live[0] && ix.liveCount == ix.everCount {
		return p.size() // Nothing was ever taken out.
	}
	n := 0
	p.each(func(images []uint32) {
		for _, image := range images {
			if there.has(image) {
				n++
			}
		}
	})
	return n
}

// versions counts packages by images, the most spread first, without those
// that no image holds.
func (ix *Index) versions(packages []uint32, there set) (out []VersionCount, total int) {
	type counted struct {
		id uint32
		n  int
	}
	var all []counted
	for _, id := range packages {
		if n := ix.holdersOf(id, there); n > 0 {
			all = append(all, counted{id, n})
		}
	}
	slices.SortFunc(all, func(a, b counted) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.id, b.id)) })
	out = []VersionCount{}
	for _, c := range all[:min(len(all), maxVersions)] {
		out = append(out, VersionCount{ix.packageOf(c.id), c.n})
	}
	return out, len(all)
}

// held gives, for each of images, those of packages (ascending) that it holds.
func (ix *Index) held(images, packages []uint32) [][]uint32 {
	out := make([][]uint32, len(images))
	if len(packages) > 8 { // Then an image's list is the shorter one.
		var list []uint32
		for n, image := range images {
			list = ix.packagesOf(image, list[:0])
			out[n] = shared(list, packages)
		}
		return out
	}
	wanted, places := make(set, len(ix.live)), make(map[uint32]int, len(images))
	for n, image := range images {
		wanted.add(image)
		places[image] = n
	}
	for _, id := range packages {
		ix.packages[id].images.each(func(run []uint32) {
			for _, image := range run {
				if wanted.has(image) {
					n := places[image]
					out[n] = append(out[n], id)
				}
			}
		})
	}
	return out
}

// shared is what two ascending lists have in common.
func shared(a, b []uint32) (out []uint32) {
	n := 0
	for _, id := range a {
		for n < len(b) && b[n] < id {
			n++
		}
		if n < len(b) && b[n] == id {
			out = append(out, id)
		}
	}
	return out
}

// WhoHas answers which images hold the packages that are meant. Packages that
// were never seen are ErrUnknownPackage: nobody having it, and nobody having
// heard of it, are different answers.
func (ix *Index) WhoHas(q PackageQuery, o Options) (WhoHas, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p, err := ix.page(o)
	if err != nil {
		return WhoHas{}, err
	}
	packages, doubts, err := ix.meant(q)
	if err != nil {
		return WhoHas{}, fmt.Errorf("looking for %s: %w", q.Text, err)
	}
	var a WhoHas
	a.Versions, a.VersionsTotal = ix.versions(packages, p.there)
	images := ix.holders(packages, p.there)
	a.Total = images.count()
	a.Doubts = ix.doubtsAt(p)
	a.Doubts.Unverified = images.countBoth(ix.unverified)
	for _, id := range doubts {
		if n := ix.holdersOf(id, p.there); n > 0 {
			a.Doubts.uncomparable(Uncomparable{ix.packageOf(id), "", "its version can't be compared with the range asked for", n})
		}
	}
	ids, next := p.take(images)
	a.Next = next
	a.Images = make([]ImageHas, 0, len(ids))
	held := ix.held(ids, packages)
	for n, image := range ids {
		hit := ImageHas{ImageRef: ix.ref(image)}
		for _, id := range held[n] {
			hit.Packages = append(hit.Packages, ix.packageOf(id))
		}
		a.Images = append(a.Images, hit)
	}
	return a, nil
}

// meant are the packages a query means, ascending, and those that it may mean:
// their versions can't be compared.
func (ix *Index) meant(q PackageQuery) (packages, unsure []uint32, err error) {
	text := strings.TrimSpace(q.Text)
	if strings.HasPrefix(text, "pkg:") {
		return ix.meantByPURL(text, q)
	}
	full, wanted := text, ""
	if at := strings.LastIndex(text, "@"); at > 0 {
		full, wanted = strings.TrimSpace(text[:at]), strings.TrimSpace(text[at+1:])
		if wanted == "" {
			return nil, nil, fmt.Errorf("after @ comes a version or a range, such as <2.17.1")
		}
	}
	if full == "" {
		return nil, nil, fmt.Errorf("a name or a package URL is needed")
	}
	names := ix.namesMeant(full, component.Type(q.Type))
	if len(names) == 0 {
		return nil, nil, ErrUnknownPackage
	}
	match := newMatcher(wanted)
	for _, n := range names {
		for _, id := range ix.names[n-1].packages {
			if !onRelease(ix.ecos[ix.packages[id].eco].distro, q.Distro) {
				continue
			}
			in, err := match.holds(ix.names[n-1].typ, ix.packages[id].version)
			switch {
			case err != nil && match.bad != nil:
				return nil, nil, match.bad
			case err != nil:
				unsure = append(unsure, id)
			case in:
				packages = append(packages, id)
			}
		}
	}
	slices.Sort(packages)
	return packages, unsure, nil
}

// namesMeant are the names that a word means: the full name or its last part.
func (ix *Index) namesMeant(word, typ string) []uint32 {
	var out []uint32
	lower := strings.ToLower(word)
	for _, spelling := range slices.Compact([]string{lower, component.SearchName("pypi", word)}) {
		for _, n := range ix.words[lastPart(spelling)] {
			e := &ix.names[n-1]
			c := component.Package{Type: e.typ, Namespace: e.namespace, Name: e.name}
			full := component.SearchName(e.typ, c.FullName())
			if (typ == "" || typ == e.typ) && (full == spelling || lastPart(full) == spelling) && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

func (ix *Index) meantByPURL(text string, q PackageQuery) (packages, unsure []uint32, err error) {
	c, err := component.FromPURL(text, "", "")
	if err != nil {
		return nil, nil, err
	}
	u, err := packageurl.FromString(text)
	if err != nil {
		return nil, nil, err
	}
	asks := u.Qualifiers.Map()
	found := false
	for _, n := range ix.bySearchKey[searchKey(c.Type, c.FullName())] {
		e := &ix.names[n-1]
		// A search name leaves out the namespace of a distribution, and case.
		if e.typ != c.Type || c.Namespace != "" && !strings.EqualFold(e.namespace, c.Namespace) {
			continue
		}
		found = true
		for _, id := range e.packages {
			own := ix.packageOf(id)
			if c.Version != "" && own.Version != c.Version ||
				c.Distro != "" && !onRelease(own.Distro, c.Distro) || !onRelease(own.Distro, q.Distro) ||
				asks["upstream"] != "" && own.Upstream != c.Upstream || q.Type != "" && component.Type(q.Type) != own.Type {
				continue
			}
			packages = append(packages, id)
		}
	}
	if !found {
		return nil, nil, ErrUnknownPackage
	}
	slices.Sort(packages)
	return packages, nil, nil
}

// onRelease says that a package's distribution is the wanted one: a release,
// or every release of a name.
func onRelease(distro, wanted string) bool {
	if wanted == "" {
		return true
	}
	if distro == "" {
		return false
	}
	d, w := parseRelease(distro), parseRelease(wanted)
	return d.name == w.name && (w.major == "" && w.label == "" || w.label != "" && d.label == w.label ||
		w.major != "" && d.major == w.major && (w.minor == "" || d.minor == w.minor))
}

// matcher holds versions against a range or an exact version.
type matcher struct {
	text  string
	exact bool
	ready map[string]constraint
	bad   error
}

func newMatcher(text string) *matcher {
	return &matcher{text: text, exact: !strings.ContainsAny(text, "<>=!~^|,"), ready: map[string]constraint{}}
}

func (m *matcher) holds(typ, v string) (bool, error) {
	switch {
	case m.text == "":
		return true, nil
	case m.exact:
		return v == m.text || typ == "golang" && strings.TrimPrefix(v, "v") == strings.TrimPrefix(m.text, "v"), nil
	case v == "":
		return false, errNoVersion
	}
	c, ok := m.ready[typ]
	if !ok {
		c.Constraint, c.err = version.GetConstraint(m.text, formats[typ])
		m.ready[typ] = c
	}
	if c.err != nil {
		m.bad = fmt.Errorf("reading range %q: %w", m.text, c.err)
		return false, m.bad
	}
	return c.satisfied(parsed(typ, v, false))
}
