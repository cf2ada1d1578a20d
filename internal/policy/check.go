package policy

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/package-url/packageurl-go"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// checker judges the values of a policy whose keys and types are right. A
// path says where a value is, as in Keys.
type checker struct {
	report func(path, message string)
	// given says that the file has the key, as opposed to a default.
	given func(path string) bool
}

func (c checker) wrong(path, format string, args ...any) {
	c.report(path, fmt.Sprintf(format, args...))
}

func (c checker) policy(p Policy) {
	if p.Version != 1 {
		c.wrong("version", "must be 1, the only format there is")
	}
	c.repository("image", p.Image)
	c.build(p.Build)
	if p.Advisories.Signer != nil {
		if p.Advisories.From == "" {
			c.wrong("advisories.signer", "needs advisories.from: grype's own database is not signed")
		}
		c.identity("advisories.signer", *p.Advisories.Signer)
	}
	c.gate(p.Gate)
	c.identity("identity", p.Identity)
	c.trust(p.Trust)
	c.evidence(p.Evidence)
	c.admission(p.Admission, p.Trust)
}

// repository checks a place for images, written in full.
func (c checker) repository(path, image string) {
	last := image[strings.LastIndexByte(image, '/')+1:]
	switch {
	case image == "":
		c.wrong(path, "is missing: the repository of the image, such as ghcr.io/acme/app")
	case strings.Contains(image, "://"):
		c.wrong(path, "is a repository without https://, such as ghcr.io/acme/app")
	case strings.Contains(image, "@"):
		c.wrong(path, "has a digest; leave it off, a release gives the image its own")
	case strings.Contains(last, ":") && last != image:
		c.wrong(path, "has a tag; leave it off, a release tags the image with its commit")
	default:
		if _, err := name.NewRepository(image, name.StrictValidation); err != nil || !imageForm.MatchString(image) {
			c.wrong(path, "%q is not a repository with its registry, such as ghcr.io/acme/app", image)
		}
	}
}

var (
	// imageForm is a registry's host and a <name> of the OCI distribution
	// specification (1.1, "Pulling manifests").
	imageForm    = regexp.MustCompile(`^(localhost|[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9.-]+:[0-9]+)(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$`)
	platformForm = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$`)
	packageForm  = regexp.MustCompile(`^[^-\s]\S*$`)
	goTagForm    = regexp.MustCompile(`^[A-Za-z0-9_.]+$`)
	exactForm    = regexp.MustCompile(`^[^*\s]*$`)
	variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (c checker) build(b Build) {
	kinds := 0
	for path, set := range map[string]bool{"docker": b.Docker != nil, "go": b.Go != nil, "layout": b.Layout != nil} {
		if set || c.given("build."+path) {
			kinds++
		}
	}
	if kinds > 1 {
		c.wrong("build", "has %d kinds; an image is built in one way: docker, go or layout", kinds)
	}
	if b.Docker != nil {
		c.docker("build.docker", *b.Docker)
	}
	if b.Go != nil {
		c.goBuild("build.go", *b.Go)
	}
	if b.Layout != nil {
		c.layout("build.layout", *b.Layout)
	}
}

func (c checker) docker(path string, b DockerBuild) {
	c.inside(path+".file", b.File)
	c.inside(path+".context", b.Context)
	c.variables(path+".args", b.Args)
	if b.Platform != "" {
		c.platform(path+".platform", b.Platform)
	}
}

func (c checker) goBuild(path string, b GoBuild) {
	if b.Package != "" && !packageForm.MatchString(b.Package) {
		c.wrong(path+".package", "%q is not a Go package", b.Package)
	}
	for i, platform := range b.Platforms {
		at := fmt.Sprintf("%s.platforms[%d]", path, i)
		c.platform(at, platform)
		if slices.Contains(b.Platforms[:i], platform) {
			c.wrong(at, "%s is there twice", platform)
		}
	}
	if b.Base != "" {
		if !isPinned(b.Base) {
			c.wrong(path+".base", "must name the base image by digest, such as ghcr.io/acme/base@sha256:..., so that the same commit gives the same image")
		}
	}
	for i, tag := range b.Tags {
		if !goTagForm.MatchString(tag) {
			c.wrong(fmt.Sprintf("%s.tags[%d]", path, i), "%q is not a Go build tag", tag)
		}
	}
	c.variables(path+".env", b.Env)
}

// isPinned says that base names an image by digest: repository@digest in a
// registry, or oci:FOLDER@digest in an OCI layout.
func isPinned(base string) bool {
	if layout, ok := strings.CutPrefix(base, "oci:"); ok {
		folder, digest, _ := strings.Cut(layout, "@")
		_, err := v1.NewHash(digest)
		return folder != "" && err == nil
	}
	_, err := name.NewDigest(base)
	return err == nil
}

func (c checker) layout(path string, b LayoutBuild) {
	if b.Path == "" {
		c.wrong(path+".path", "is missing: the OCI layout or the docker archive")
	}
	if b.Digest == "" {
		c.wrong(path+".digest", "is missing: the digest that the image must have, sha256:...")
	} else if _, err := v1.NewHash(b.Digest); err != nil {
		c.wrong(path+".digest", "%q is not a digest, sha256: with 64 hexadecimal digits", b.Digest)
	}
}

func (c checker) platform(path, platform string) {
	if !platformForm.MatchString(platform) {
		c.wrong(path, "%q is not a platform like linux/amd64 or linux/arm/v7", platform)
	}
}

// inside checks a path that must stay within the source.
func (c checker) inside(path, file string) {
	if file != "" && (!filepath.IsLocal(file) || slices.Contains(strings.Split(file, "/"), "..")) {
		c.wrong(path, "%q leads out of the source; only the commit's own files are built", file)
	}
}

func (c checker) variables(path string, vars map[string]string) {
	for key := range vars {
		if !variableForm.MatchString(key) {
			c.wrong(join(path, key), "%q is not the name of a variable", key)
		}
	}
}

func (c checker) gate(g Gate) {
	if g.Threshold() == finding.Unknown {
		c.wrong("gate.severity", "unknown is not a threshold; use unknown-severity, with refuse, warn or allow")
	}
	for _, m := range []struct{ key, word string }{
		{"unknown-severity", g.UnknownSeverity}, {"uncovered", g.Uncovered}, {"uncomparable", g.Uncomparable},
	} {
		c.oneOf("gate."+m.key, m.word, Refuse, Warn, Allow)
	}
	if *g.MaxDatabaseAge <= 0 {
		c.wrong("gate.max-database-age", "must be longer than nothing; there is no way to say that any age will do")
	}
	for i, e := range g.Exceptions {
		c.exception(fmt.Sprintf("gate.exceptions[%d]", i), e)
	}
	for i, file := range g.VEX {
		if slices.Contains(g.VEX[:i], file) {
			c.wrong(fmt.Sprintf("gate.vex[%d]", i), "%s is there twice", file)
		}
	}
}

func (c checker) exception(path string, e Exception) {
	for _, f := range []struct{ key, value, want string }{
		{"id", e.ID, "the vulnerability, such as CVE-2024-1234"},
		{"package", e.Package, "the package by name or package URL"},
		{"reason", e.Reason, "why this finding may pass"},
		{"author", e.Author, "who answers for it"},
	} {
		if strings.TrimSpace(f.value) == "" {
			c.wrong(path+"."+f.key, "is missing: %s", f.want)
		}
	}
	if !exactForm.MatchString(e.ID + e.Package) {
		c.wrong(path, "id and package name one vulnerability in one package; there are no patterns")
	}
	if strings.HasPrefix(e.Package, "pkg:") {
		if _, err := packageurl.FromString(e.Package); err != nil {
			c.wrong(path+".package", "%q is not a package URL", e.Package)
		}
	}
	if e.Expires.IsZero() {
		c.wrong(path+".expires", "is missing: the day from which it no longer holds, such as 2027-01-31")
	}
	if e.Image != "" {
		c.repository(path+".image", e.Image)
	}
}

func (c checker) evidence(links []string) {
	if len(links) == 0 {
		c.wrong("evidence", "is empty: then nothing would be verified; leave the key out for all of it")
	}
	for i, link := range links {
		at := fmt.Sprintf("evidence[%d]", i)
		c.oneOf(at, link, AllEvidence()...)
		if slices.Contains(links[:i], link) {
			c.wrong(at, "%s is there twice", link)
		}
	}
}

func (c checker) oneOf(path, word string, words ...string) {
	if slices.Contains(words, word) {
		return
	}
	last := len(words) - 1
	message := fmt.Sprintf("must be %s or %s, not %q", strings.Join(words[:last], ", "), words[last], word)
	if near, ok := nearest(word, words); ok {
		message += fmt.Sprintf("; did you mean `%s`?", near)
	}
	c.report(path, message)
}
