package advisory

import (
	"fmt"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// mergeGo joins the Go database's records with GitHub's records of the same
// vulnerabilities, by the rule of grype's own builder: GitHub's row stays and
// takes the vulnerable symbols, and Go's row for the same module goes. Without
// it each such vulnerability would be found twice, once regardless of symbols.
// It returns what remains and how many records went altogether.
func mergeGo(vulns []*vulnerability) (kept []*vulnerability, merged int) {
	github := map[string][]*vulnerability{}
	for _, v := range vulns {
		if v.provider != "github" || !slices.ContainsFunc(v.rows, isGo) {
			continue
		}
		for _, name := range v.names() {
			github[strings.ToUpper(name)] = append(github[strings.ToUpper(name)], v)
		}
	}
	for _, v := range vulns {
		if v.provider != "govulndb" || len(github) == 0 {
			kept = append(kept, v)
			continue
		}
		twins := twinsOf(v, github)
		v.rows = slices.DeleteFunc(v.rows, func(r row) bool { return covered(v, r, twins) })
		if len(v.rows) == 0 {
			merged++
			continue
		}
		kept = append(kept, v)
	}
	return kept, merged
}

func isGo(r row) bool { return r.ecosystem == string(syftpkg.GoModulePkg) }

func twinsOf(v *vulnerability, github map[string][]*vulnerability) []*vulnerability {
	var twins []*vulnerability
	for _, name := range v.names() {
		for _, t := range github[strings.ToUpper(name)] {
			if !slices.Contains(twins, t) {
				twins = append(twins, t)
			}
		}
	}
	return twins
}

// covered gives the row's symbols to the twins' rows for the module or for its
// packages, and says whether one of them is for the module itself.
func covered(v *vulnerability, r row, twins []*vulnerability) bool {
	var imports []v6.GoImport
	if r.qualifiers != nil {
		imports = r.qualifiers.GoImports
	}
	module := false
	for _, twin := range twins {
		var changes []string
		for i := range twin.rows {
			mine := &twin.rows[i]
			if !isGo(*mine) {
				continue
			}
			same := strings.EqualFold(mine.name, r.name)
			module = module || same
			for _, imp := range imports {
				if (same || strings.EqualFold(mine.name, imp.Path)) && addImport(mine, imp) {
					changes = append(changes, fmt.Sprintf("added vulnerable symbols of %s to %s", imp.Path, mine.name))
				}
			}
		}
		if len(changes) > 0 {
			twin.modifications = append(twin.modifications, v6.Modification{URL: advisoryPages["govulndb"] + v.id, Changes: changes})
		}
	}
	return module
}

func addImport(r *row, imp v6.GoImport) bool {
	if r.qualifiers == nil {
		r.qualifiers = &v6.PackageQualifiers{}
	}
	for i, have := range r.qualifiers.GoImports {
		if have.Path != imp.Path {
			continue
		}
		if len(have.Symbols) == 0 || len(imp.Symbols) == 0 {
			r.qualifiers.GoImports[i].Symbols = nil
			return false
		}
		both := append(slices.Clone(have.Symbols), imp.Symbols...)
		slices.Sort(both)
		r.qualifiers.GoImports[i].Symbols = slices.Compact(both)
		return false
	}
	r.qualifiers.GoImports = append(r.qualifiers.GoImports, imp)
	return true
}
