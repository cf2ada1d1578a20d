// Package sample holds a few real advisories, so that a demonstration or a test
// can build a true vulnerability database in a moment, without any network. It
// is far too small to judge an image by.
package sample

import (
	"embed"

	"github.com/hallmark-sh/hallmark/internal/advisory"
)

//go:embed data
var data embed.FS

// The advisory a demonstration can show: a critical one about a module that
// needs nothing but golang.org/x/sys. A program that imports
// golang.org/x/crypto/ssh is found at Vulnerable and clean of every advisory in
// the sample at Fixed. Its own record tells no severity: the CVSS table does,
// by the alias.
const (
	Module     = "golang.org/x/crypto"
	Vulnerable = "v0.30.0"
	Fixed      = "v0.57.0"
	Advisory   = "GO-2024-3321"
	CVE        = "CVE-2024-45337"
)

// Sources gives the sample's records, CVSS table and catalogue of known
// exploited vulnerabilities, ready for advisory.Build.
func Sources() []advisory.Source {
	return []advisory.Source{
		{Kind: advisory.OSV, Path: "data/osv", FS: data},
		{Kind: advisory.CVSS, Path: "data/cvss.tsv", FS: data},
		{Kind: advisory.KEV, Path: "data/kev.json", FS: data},
	}
}
