package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Problem is one thing a cataloguer could not read.
type Problem struct {
	// Cataloger is syft's name for it; empty when syft itself gave up.
	Cataloger string
	// File is the path in the image; empty when the problem has none.
	File string
	// Reason is the cataloguer's own.
	Reason string
}

func (p Problem) String() string {
	s := p.Reason
	if p.File != "" {
		s = p.File + ": " + s
	}
	if p.Cataloger != "" {
		s = p.Cataloger + ": " + s
	}
	return s
}

// CatalogerError says that the image holds something a cataloguer recognised
// and could not read, so that any document would be short without saying so.
type CatalogerError struct {
	// Problems is never empty; it is sorted by file, then cataloguer.
	Problems []Problem
}

func (e *CatalogerError) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0].String()
	}
	return fmt.Sprintf("%s (and %d more)", e.Problems[0], len(e.Problems)-1)
}

// refusal is the error for problems, with what a person can do about it.
func refusal(problems []Problem) error {
	err := &CatalogerError{Problems: problems}
	if f := problems[0].File; f != "" {
		return hint.Add(err, "repair or remove %s in the image, then build again", f)
	}
	return hint.Add(err, "the image could not be catalogued; build it again, and report this if it stays")
}

// harmless lists what a cataloguer may report although no installed package
// has been missed. Everything else refuses. An empty reason stands for any.
var harmless = []struct{ cataloger, reason string }{
	// Package notes inside an executable only add to what the package
	// database says, and these two look into every file that resembles one.
	{"elf-binary-package-cataloger", ""},
	{"pe-binary-package-cataloger", ""},
	// An archive of classes without Maven's metadata is no known package.
	{"java-archive-cataloger", "no package identified in archive"},
	// These two look into every executable, and every .exe and .dll. What is
	// none, whatever its name says, cannot be run or loaded either.
	{"cargo-auditable-binary-cataloger", "rust cataloger: unable to read dependency information: unknown file format"},
	{"dotnet-deps-binary-cataloger", "unable to parse PE file: "},
	// The modules of the program have been read; only details are missing.
	{"go-module-binary-cataloger", "unable to read golang version info"},
	{"go-module-binary-cataloger", "unable to read golang arch info"},
	{"go-module-binary-cataloger", "unable to read golang symbol info"},
}

// nothingInside is what syft says of a file of the right name that lists
// nothing, such as the empty dpkg status beside the status.d of small images.
const nothingInside = "unable to determine packages"

// judge splits what the cataloguers could not read. A problem is passed over,
// and written into the document instead, when it is harmless as listed above,
// when the file lists nothing and the same cataloguer found packages elsewhere,
// or when the file is part of a package that is listed: the broken package.json
// among the test data of an npm package is such a one.
func judge(found *syftsbom.SBOM) (refused, passed []Problem) {
	if len(found.Artifacts.Unknowns) == 0 {
		return nil, nil
	}
	in := ownersOf(found)
	for at, reasons := range found.Artifacts.Unknowns {
		for _, text := range reasons {
			cataloger, reason, ok := strings.Cut(text, ": ")
			if !ok {
				cataloger, reason = "", text
			}
			p := Problem{Cataloger: cataloger, File: at.RealPath, Reason: strings.Join(strings.Fields(reason), " ")}
			if p.isHarmless() || in.owns(p.File) || strings.HasPrefix(p.Reason, nothingInside) && in.foundBy[p.Cataloger] {
				passed = append(passed, p)
			} else {
				refused = append(refused, p)
			}
		}
	}
	slices.SortFunc(refused, byFile)
	slices.SortFunc(passed, byFile)
	return refused, passed
}

func (p Problem) isHarmless() bool {
	for _, h := range harmless {
		if p.Cataloger == h.cataloger && strings.HasPrefix(p.Reason, h.reason) {
			return true
		}
	}
	return false
}

func byFile(a, b Problem) int {
	return strings.Compare(a.File+"\x00"+a.String(), b.File+"\x00"+b.String())
}

// owners knows which files belong to packages that are listed.
type owners struct {
	foundBy map[string]bool
	files   map[string]bool
	// folders hold npm packages, whose files no record lists.
	folders []string
}

func ownersOf(found *syftsbom.SBOM) owners {
	o := owners{foundBy: map[string]bool{}, files: map[string]bool{}}
	for p := range found.Artifacts.Packages.Enumerate() {
		o.foundBy[p.FoundBy] = true
		if owner, ok := p.Metadata.(pkg.FileOwner); ok {
			for _, f := range owner.OwnedFiles() {
				o.files[mergedUsr(f)] = true
			}
		}
		if p.Type == pkg.NpmPkg {
			for _, l := range p.Locations.ToUnorderedSlice() {
				if dir, ok := strings.CutSuffix(l.RealPath, "/package.json"); ok && strings.Contains(dir, "/node_modules/") {
					o.folders = append(o.folders, dir+"/")
				}
			}
		}
	}
	return o
}

func (o owners) owns(file string) bool {
	if o.files[mergedUsr(file)] {
		return true
	}
	for _, dir := range o.folders {
		// What another package installs below this one is that package's.
		if rest, ok := strings.CutPrefix(file, dir); ok && !strings.Contains(rest, "node_modules/") {
			return true
		}
	}
	return false
}

// mergedUsr gives /lib/x and /usr/lib/x one name, as Debian's packages still
// list the first and its images hold the second.
func mergedUsr(file string) string {
	for _, top := range []string{"/bin/", "/lib/", "/lib32/", "/lib64/", "/sbin/"} {
		if strings.HasPrefix(file, top) {
			return "/usr" + file
		}
	}
	return file
}
