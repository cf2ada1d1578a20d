package index

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/component"
)

// Index is what the memory knows, arranged for questions. The zero value is
// not usable; see New.
type Index struct {
	// writing is held by the one writer for as long as it works; mu is held
	// by readers, and by the writer only while it changes what they see.
	writing sync.Mutex
	mu      sync.RWMutex

	seed        maphash.Seed
	texts       texts
	packages    []pkg // by id; 0 is nobody
	known       int   // packages that were added
	byKey       map[uint64]uint32
	clashes     map[component.Package]uint32
	names       []name
	nameIDs     map[string]uint32
	words       map[string][]uint32 // last part of a name, lower case -> names
	bySearchKey map[string][]uint32 // search key -> names
	upstreams   map[string][]uint32 // type and source package -> packages
	ecos        []eco
	ecoIDs      map[[2]uint32]uint32

	images       []image // by id; 0 is nobody
	lists        arena
	byDigest     map[[32]byte]uint32
	replaced     map[[32]byte][]uint32 // images that are gone, by digest
	live         set
	unverified   set
	liveCount    int
	everCount    int  // images that were ever taken in
	loading      bool // between StartLoad and EndLoad
	occurrences  int
	byRepository map[uint32][]uint32
	refusals     []refusal

	records  []*record          // every revision
	current  map[string]*record // by Record.Key
	byName   map[string][]*record
	rows     map[string][]row    // type and search name
	coverage map[string]span     // type, or type and distribution
	distros  map[string]int      // names of releases that rows have, with their number
	resolved map[string][]string // distribution of packages -> names of releases
	hits     map[uint32][]hit    // package -> findings
	findings int                 // current ones
	doubtful []*record           // those with doubts
	ready    ready               // the writer's
	advised  time.Time

	vex      map[string]*VEX
	vexNames map[string][]*VEX

	epoch  uint64
	doubts atomic.Pointer[Doubts]
}

// New returns an empty index.
func New() *Index {
	return &Index{
		seed:  maphash.MakeSeed(),
		texts: newTexts(), packages: make([]pkg, 1), byKey: map[uint64]uint32{}, clashes: map[component.Package]uint32{},
		nameIDs: map[string]uint32{}, words: map[string][]uint32{}, bySearchKey: map[string][]uint32{}, upstreams: map[string][]uint32{}, ecoIDs: map[[2]uint32]uint32{},
		images: make([]image, 1), byDigest: map[[32]byte]uint32{}, replaced: map[[32]byte][]uint32{}, live: make(set, 1), unverified: make(set, 1), byRepository: map[uint32][]uint32{},
		current: map[string]*record{}, byName: map[string][]*record{}, rows: map[string][]row{}, coverage: map[string]span{},
		distros: map[string]int{}, resolved: map[string][]string{}, hits: map[uint32][]hit{}, vex: map[string]*VEX{}, vexNames: map[string][]*VEX{}, ready: ready{},
	}
}

// pkg is one interned package, as small as it gets: there are a million.
type pkg struct {
	version  string
	images   posting
	name     uint32 // of names
	eco      uint32 // of ecos; holds type and distribution
	upstream uint32 // of texts, and so are the others
	module   uint32
	licences uint32 // separated by licenceSeparator
	supplier uint32
}

// name is what packages of all versions share.
type name struct {
	typ, namespace, name string
	packages             []uint32
}

// eco is an ecosystem: a type and, for packages of a distribution, its release.
type eco struct {
	typ, distro string
	packages    int
	images      posting
}

// texts interns strings that repeat; 0 is the empty one.
type texts struct {
	list []string
	ids  map[string]uint32
}

func newTexts() texts { return texts{list: []string{""}, ids: map[string]uint32{"": 0}} }

func (t *texts) id(s string) uint32 {
	if id, ok := t.ids[s]; ok {
		return id
	}
	id := uint32(len(t.list))
	s = strings.Clone(s)
	t.list, t.ids[s] = append(t.list, s), id
	return id
}

// arena holds the package lists of images in few large blocks, which the
// garbage collector need not look into.
type arena struct{ blocks [][]byte }

const arenaBlock = 1 << 20

// span names a run of bytes of the arena.
type place struct{ block, from, to uint32 }

func (a *arena) put(data []byte) place {
	last := len(a.blocks) - 1
	if last < 0 || cap(a.blocks[last])-len(a.blocks[last]) < len(data) {
		a.blocks = append(a.blocks, make([]byte, 0, max(arenaBlock, len(data))))
		last++
	}
	from := len(a.blocks[last])
	a.blocks[last] = append(a.blocks[last], data...)
	return place{uint32(last), uint32(from), uint32(from + len(data))}
}

func (a *arena) get(p place) []byte {
	if p.to == p.from {
		return nil
	}
	return a.blocks[p.block][p.from:p.to]
}

// licenceSeparator cannot occur in a licence: control characters are removed.
const licenceSeparator = "\x1f"

// AddPackages interns packages under the identifiers their store gave them and
// compares each that is new with the advisories. A row whose identifier is
// there already only adds licences and supplier, where there were none; one
// that says something else than the identifier or the package is known by is
// an error, and nothing of rows is taken.
func (ix *Index) AddPackages(rows []PackageRow) error {
	ix.writing.Lock()
	defer ix.writing.Unlock()
	fresh := map[component.Package]uint32{}
	for _, r := range rows {
		if err := ix.fits(r, fresh); err != nil {
			return err
		}
		fresh[r.Package] = r.ID
	}
	found := make([]matches, len(rows))
	for n, r := range rows {
		if _, known := ix.lookup(r.Package); !known && len(ix.rows) > 0 {
			found[n] = ix.evaluate(r.Package, nil, ix.ready)
		}
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for n, r := range rows {
		ix.addPackage(r)
		ix.keep(r.ID, found[n])
	}
	ix.doubts.Store(nil)
	return nil
}

// maxID bounds the identifiers, so that a damaged row does not take all memory.
const maxID = 1 << 28

func (ix *Index) fits(r PackageRow, fresh map[component.Package]uint32) error {
	if r.ID == 0 || r.ID > maxID {
		return fmt.Errorf("adding package %s: identifier %d is out of bounds", r.Package, r.ID)
	}
	if int(r.ID) < len(ix.packages) && ix.packages[r.ID].name != 0 && ix.packageOf(r.ID) != r.Package {
		return fmt.Errorf("adding package %s: identifier %d is that of %s", r.Package, r.ID, ix.packageOf(r.ID))
	}
	id, ok := ix.lookup(r.Package)
	if !ok {
		id, ok = fresh[r.Package]
	}
	if ok && id != r.ID {
		return fmt.Errorf("adding package %s: it has the identifier %d, not %d", r.Package, id, r.ID)
	}
	return nil
}

func (ix *Index) addPackage(r PackageRow) {
	for int(r.ID) >= len(ix.packages) {
		ix.packages = append(ix.packages, pkg{})
	}
	p := &ix.packages[r.ID]
	if p.licences == 0 && len(r.Licences) > 0 {
		p.licences = ix.texts.id(strings.Join(r.Licences, licenceSeparator))
	}
	if p.supplier == 0 {
		p.supplier = ix.texts.id(r.Supplier)
	}
	if p.name != 0 {
		return
	}
	c := r.Package
	p.version, p.name, p.eco = strings.Clone(c.Version), ix.nameOf(c), ix.ecoOf(c)
	p.upstream, p.module = ix.texts.id(c.Upstream), ix.texts.id(c.Module)
	ix.names[p.name-1].packages = append(ix.names[p.name-1].packages, r.ID)
	ix.ecos[p.eco].packages++
	for _, source := range sources(c.Upstream) {
		key := searchKey(c.Type, source.name)
		ix.upstreams[key] = append(ix.upstreams[key], r.ID)
	}
	sum := ix.sum(c)
	if _, taken := ix.byKey[sum]; taken {
		ix.clashes[c] = r.ID
	} else {
		ix.byKey[sum] = r.ID
	}
	ix.known++
}

// nameOf gives the number of a package's name, from 1.
func (ix *Index) nameOf(c component.Package) uint32 {
	key := c.Type + licenceSeparator + c.Namespace + licenceSeparator + c.Name
	if id, ok := ix.nameIDs[key]; ok {
		return id
	}
	key = strings.Clone(key)
	namespace, _, _ := strings.Cut(key[len(c.Type)+1:], licenceSeparator)
	ix.names = append(ix.names, name{typ: ix.texts.list[ix.texts.id(c.Type)], namespace: namespace, name: key[len(key)-len(c.Name):]})
	id := uint32(len(ix.names))
	ix.nameIDs[key] = id
	search := searchKey(c.Type, c.FullName())
	ix.bySearchKey[search] = append(ix.bySearchKey[search], id)
	word := lastPart(search[len(c.Type)+1:])
	ix.words[word] = append(ix.words[word], id)
	return id
}

func (ix *Index) ecoOf(c component.Package) uint32 {
	key := [2]uint32{ix.texts.id(c.Type), ix.texts.id(c.Distro)}
	if id, ok := ix.ecoIDs[key]; ok {
		return id
	}
	id := uint32(len(ix.ecos))
	ix.ecos = append(ix.ecos, eco{typ: ix.texts.list[key[0]], distro: ix.texts.list[key[1]]})
	ix.ecoIDs[key] = id
	if c.Distro != "" {
		ix.resolved[c.Distro] = ix.resolve(c.Distro)
	}
	return id
}

// sum is a hash of a package that nobody outside can aim at.
func (ix *Index) sum(c component.Package) uint64 {
	var h maphash.Hash
	h.SetSeed(ix.seed)
	for _, s := range [...]string{c.Type, c.Namespace, c.Name, c.Version, c.Distro, c.Upstream, c.Module} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	return h.Sum64()
}

// Lookup gives the identifier of a package that is known.
func (ix *Index) Lookup(c component.Package) (id uint32, ok bool) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.lookup(c)
}

func (ix *Index) lookup(c component.Package) (uint32, bool) {
	id, ok := ix.byKey[ix.sum(c)]
	if !ok {
		return 0, false
	}
	if ix.packageOf(id) == c {
		return id, true
	}
	id, ok = ix.clashes[c]
	return id, ok
}

// packageOf is the package of an identifier, as it was added.
func (ix *Index) packageOf(id uint32) component.Package {
	p := &ix.packages[id]
	n := &ix.names[p.name-1]
	return component.Package{
		Type: n.typ, Namespace: n.namespace, Name: n.name, Version: p.version,
		Distro: ix.ecos[p.eco].distro, Upstream: ix.texts.list[p.upstream], Module: ix.texts.list[p.module],
	}
}

// Has gives the identifier of the live image of a digest.
func (ix *Index) Has(digest v1.Hash) (id uint32, ok bool) {
	key, err := rawDigest(digest)
	if err != nil {
		return 0, false
	}
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	id, ok = ix.byDigest[key]
	return id, ok && ix.live.has(id)
}

// SetEpoch says up to which entry of the store's log the index has followed.
func (ix *Index) SetEpoch(seq uint64) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.epoch = seq
}

// Stats are the sizes of the index.
func (ix *Index) Stats() Stats {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	s := Stats{
		Images: ix.liveCount, Unverified: ix.unverified.countBoth(ix.live), Packages: ix.known, Occurrences: ix.occurrences,
		Advisories: len(ix.current), Findings: ix.findings, VEX: len(ix.vex), Advised: ix.advised, Epoch: ix.epoch,
	}
	for _, r := range ix.refusals {
		if r.ended.IsZero() {
			s.Refused++
		}
	}
	return s
}

// lastPart is what follows the last slash or colon of a name.
func lastPart(s string) string {
	if i := strings.LastIndexAny(s, "/:"); i >= 0 && i < len(s)-1 {
		return s[i+1:]
	}
	return s
}

// source is a source package a binary package was built from.
type source struct{ name, version string }

func sources(upstream string) []source {
	if upstream == "" {
		return nil
	}
	var out []source
	for _, one := range strings.Split(upstream, ",") {
		n, v, _ := strings.Cut(one, "@")
		out = append(out, source{n, v})
	}
	return slices.Clip(out)
}

func searchKey(typ, fullName string) string {
	return typ + licenceSeparator + component.SearchName(typ, fullName)
}
